//! From one row of the file to the specification of one identity, with the help of the files that the
//! row names.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use batch_file::{PemSource, Problem, Row, RowAuth, Severity};
use cert_tool::{Certificate, RowCheck};
use cli_support::causes::with_causes;
use hub_types::twin::{Nulls, Section, TwinRuleError, check_section};
use hub_types::{Thumbprint, Timestamp};
use time::OffsetDateTime;

use super::enrollable::EnrollmentRules;
use super::issued::{key_source, profile_row};
use super::load::LoadOptions;
use super::twin_template::{RenderedTwin, TwinTemplates};
use crate::ledger::Credential;
use crate::model::overlay::overlay;
use crate::model::spec::{AuthSpec, CertificateProfile, GivenPem, IdentitySpec, StateSpec};

/// The source of the rows' certificates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum CertificateSource {
    /// Each row that needs one names it, or its thumbprint.
    #[default]
    Given,
    /// Those that name none get one, or have got it.
    Issued,
    /// Nobody asks: the files that rows name are not looked at.
    Ignored,
}

impl CertificateSource {
    /// The source of a batch whose certificates are issued by a CA, or else named by its rows.
    pub(crate) fn of(is_issued: bool) -> Self {
        if is_issued { Self::Issued } else { Self::Given }
    }
}

/// Reads rows.
pub(super) struct RowReader {
    templates: TwinTemplates,
    certificates: CertificateSource,
    /// The profile of rows that name none.
    profile: Option<String>,
    /// The CA that will issue certificates, where rows that it would refuse are bad.
    issuer: Option<RowCheck>,
    /// The rules of a DPS, if the batch is for one.
    enrollment_rules: Option<EnrollmentRules>,
    /// The time by which certificates are valid or not.
    now: OffsetDateTime,
    /// Of the row that was read last.
    credentials: Vec<Credential>,
    /// The templates of which it was said already that a number is written in another way.
    respelling: HashSet<PathBuf>,
}

/// The problems of one row as they are found.
struct Findings<'a> {
    row: &'a Row,
    file: &'a str,
    problems: &'a mut Vec<Problem>,
}

impl RowReader {
    pub(super) fn new(options: &LoadOptions, now: OffsetDateTime) -> Self {
        Self {
            templates: TwinTemplates::new(),
            certificates: options.certificates,
            profile: options.profile.clone(),
            issuer: options.issuer.clone(),
            enrollment_rules: (!options.service.is_hub())
                .then(|| EnrollmentRules::new(options.group_ca.clone())),
            now,
            credentials: Vec::new(),
            respelling: HashSet::new(),
        }
    }

    /// The credentials of the last row, which must be unique.
    pub(super) fn credentials(&self) -> &[Credential] {
        &self.credentials
    }

    /// The spec of the row; `None` if the row is invalid, with the reasons in `problems`.
    pub(super) fn read(
        &mut self,
        row: &Row,
        file: &str,
        problems: &mut Vec<Problem>,
    ) -> Option<IdentitySpec> {
        self.credentials.clear();
        let mut findings = Findings { row, file, problems };
        // Both are read before either stops the row, so that all that is wrong is said at once.
        let auth = self.auth(&mut findings);
        let rendered = self.rendered_twin(&mut findings);
        let is_enrollable = self.is_enrollable(auth.as_ref(), &mut findings);
        let (auth, rendered) = (auth?, rendered?);
        if !is_enrollable {
            return None;
        }
        let (tags, desired) = match rendered {
            Some(twin) => (twin.tags.into(), twin.desired.into()),
            // What the row itself gives was checked when it was read. Taking it out would make an empty one.
            None => (row.tags.clone(), row.desired.clone()),
        };
        if let AuthSpec::Thumbprint { primary, secondary } = &auth {
            let slots = [primary, secondary].into_iter().flatten();
            self.credentials.extend(slots.map(Credential::thumbprint));
        }
        let state = StateSpec {
            auth,
            status: row.status.unwrap_or_default(),
            status_reason: row.status_reason.clone(),
            hold: None,
            edge: row.edge.unwrap_or_default(),
            parent: row.parent.clone(),
            tags,
            desired,
        };
        Some(IdentitySpec { identity: row.identity.clone(), state })
    }

    /// Returns true if the row can be on the service that the batch is for.
    fn is_enrollable(&mut self, auth: Option<&AuthSpec>, findings: &mut Findings<'_>) -> bool {
        let Some(rules) = &mut self.enrollment_rules else { return true };
        let reasons = rules.check(findings.row, auth);
        for reason in &reasons {
            findings.error(reason.column, reason.value.as_deref(), &*reason.message, reason.remedy);
        }
        reasons.is_empty()
    }

    /// The requested authentication of the identity. Records the unique values of its certificate,
    /// or of the key to certify.
    fn auth(&mut self, findings: &mut Findings<'_>) -> Option<AuthSpec> {
        if self.certificates == CertificateSource::Ignored {
            return self.auth_with(None, findings);
        }
        let certificate = findings.certificate()?;
        if let Some(certificate) = &certificate {
            if self.enrollment_rules.is_some() {
                findings.refuse_expired(certificate, self.now)?;
            }
            findings.warn_of(certificate, self.now);
            self.credentials.extend(of_certificate(certificate));
        }
        let thumbprint = certificate.map(|certificate| certificate.sha256().into());
        let auth = self.auth_with(thumbprint, findings)?;
        if let Some(issuer) = &self.issuer {
            findings.check_profile(issuer, &auth)?;
        }
        let key = findings.key_to_certify(&auth)?;
        self.credentials.extend(key.map(|info| Credential::public_key(&info)));
        Some(auth)
    }

    fn auth_with(&self, thumbprint: Option<Thumbprint>, findings: &mut Findings<'_>) -> Option<AuthSpec> {
        let row = findings.row;
        match (&row.auth, thumbprint) {
            (RowAuth::Sas { keys }, _) => Some(AuthSpec::Sas { given: keys.is_some() }),
            // Any certificate of the CA will do; where certificates are issued, this row gets one too.
            (RowAuth::X509Ca, None) if self.certificates == CertificateSource::Issued => {
                Some(to_issue(row, true, self.profile.as_ref()))
            }
            (RowAuth::X509Ca, _) => Some(AuthSpec::X509Ca),
            (RowAuth::X509Thumbprint { secondary, .. }, Some(primary)) => {
                Some(AuthSpec::Thumbprint { primary: Some(primary), secondary: *secondary })
            }
            (RowAuth::X509Thumbprint { primary: None, secondary: None }, None) => self.to_be_issued(findings),
            (RowAuth::X509Thumbprint { primary, secondary }, None) => {
                Some(AuthSpec::Thumbprint { primary: *primary, secondary: *secondary })
            }
        }
    }

    fn to_be_issued(&self, findings: &mut Findings<'_>) -> Option<AuthSpec> {
        let row = findings.row;
        if self.certificates == CertificateSource::Given {
            findings.error(
                "primary_thumbprint",
                None,
                "the row has neither a thumbprint nor a certificate",
                "fill in `primary_thumbprint` or `certificate`, or let one be issued with `--issue CA_DIR`",
            );
            return None;
        }
        Some(to_issue(row, false, self.profile.as_ref()))
    }

    /// The twin that the row's template makes, if it names one: the outer `None` is a problem.
    fn rendered_twin(&mut self, findings: &mut Findings<'_>) -> Option<Option<RenderedTwin>> {
        let row = findings.row;
        let Some(path) = &row.twin_template else { return Some(None) };
        let cells: Vec<_> = row.cells.iter().collect();
        let cells = cells.iter().map(|(name, text)| (*name, text.as_ref()));
        let mut twin = match self.templates.render(path, cells) {
            Ok(twin) => twin,
            Err(error) => {
                findings.error("twin", Some(&path.to_string_lossy()), error.to_string(), error.remedy());
                return None;
            }
        };
        if let Some((read, written)) = twin.respelled.take()
            && self.respelling.insert(path.clone())
        {
            findings.warn_of_respelling(path, &read, &written);
        }
        overlay(&mut twin.tags, &row.tags);
        overlay(&mut twin.desired, &row.desired);
        let tags = check_section(Section::Tags, &twin.tags, Nulls::Refuse);
        let desired = check_section(Section::Desired, &twin.desired, Nulls::Refuse);
        let broken: Vec<TwinRuleError> = [tags, desired].into_iter().filter_map(Result::err).collect();
        for error in &broken {
            findings.error(
                "twin",
                None,
                error.to_string(),
                "a hub would refuse this twin: make it smaller or simpler",
            );
        }
        broken.is_empty().then_some(Some(twin))
    }
}

impl Findings<'_> {
    /// The certificate that the row names, if it names one: the outer `None` is a problem.
    fn certificate(&mut self) -> Option<Option<Certificate>> {
        let row = self.row;
        let Some(path) = &row.certificate else { return Some(None) };
        let shown = path.to_string_lossy().into_owned();
        let certificate = match cert_tool::read_certificate(path) {
            Ok(certificate) => certificate,
            Err(error) => {
                let remedy = "name a file that holds one certificate, PEM or DER, relative to the batch";
                self.error("certificate", Some(&shown), with_causes(&error), remedy);
                return None;
            }
        };
        let common_name = row.identity.common_name();
        if certificate.common_name() != Some(common_name.as_str()) {
            let found = certificate.common_name().unwrap_or("no common name");
            let message = format!("the certificate is for `{found}`, not for `{common_name}`");
            self.error("certificate", Some(&shown), message, "name the certificate of this identity");
            return None;
        }
        if let RowAuth::X509Thumbprint { primary: Some(given), .. } = &row.auth
            && !given.matches_der(certificate.der())
        {
            let message = format!("the certificate's thumbprint is {}", certificate.sha256());
            let remedy = "leave `primary_thumbprint` empty, or name the certificate it belongs to";
            self.error("primary_thumbprint", Some(&given.to_string()), message, remedy);
            return None;
        }
        Some(Some(certificate))
    }

    /// Warns of what a hub would refuse the device for, although the row can be applied.
    /// Refuses a certificate that no device could register with any more.
    fn refuse_expired(&mut self, certificate: &Certificate, now: OffsetDateTime) -> Option<()> {
        let until = certificate.not_after();
        if now <= until {
            return Some(());
        }
        let path = self.row.certificate.as_ref().map(|path| path.to_string_lossy().into_owned());
        let until = Timestamp::from(until);
        let message =
            format!("the certificate has expired at {until}: its device can't register through a DPS");
        self.error("certificate", path.as_deref(), message, "have a new one issued");
        None
    }

    fn warn_of(&mut self, certificate: &Certificate, now: OffsetDateTime) {
        let (from, until) = (certificate.not_before(), certificate.not_after());
        if now > until {
            let message = format!("the certificate has expired at {}", Timestamp::from(until));
            self.warn(message, "have a new one issued: a hub lets no device in with this one");
        } else if now < from {
            let message = format!("the certificate is not valid before {}", Timestamp::from(from));
            self.warn(message, "a hub lets no device in with it until then");
        }
        if certificate.is_ca() {
            let message = "the certificate is that of a CA (CA:TRUE)";
            self.warn(
                message,
                "have one issued with CA:FALSE: who holds the key of this one can issue others",
            );
        }
    }

    fn warn(&mut self, message: impl Into<String>, remedy: &str) {
        let path = self.row.certificate.as_ref().map(|path| path.to_string_lossy().into_owned());
        let warning = problem(self.file, self.row.line, "certificate", path.as_deref(), message, remedy);
        self.problems.push(Problem { severity: Severity::Warning, ..warning });
    }

    /// The public key that the row brings for its certificate, if it brings one: the outer `None` is a problem.
    fn key_to_certify(&mut self, auth: &AuthSpec) -> Option<Option<Vec<u8>>> {
        let refusal = match key_source(auth).read(&self.row.identity) {
            Ok(key) => return Some(key),
            Err(refusal) => refusal,
        };
        let (column, given) = match &self.row.csr {
            Some(csr) => ("csr", Some(csr)),
            None => ("public_key", self.row.public_key.as_ref()),
        };
        let path = match given {
            Some(PemSource::Path(path)) => Some(path.to_string_lossy().into_owned()),
            Some(PemSource::Pem(_)) | None => None,
        };
        let remedy = refusal
            .hint()
            .unwrap_or("give the whole text that the device sent, or the name of a file with it");
        self.error(column, path.as_deref(), with_causes(&refusal), remedy);
        None
    }

    /// Refuses a row that the CA would refuse because of its profile or its policy.
    fn check_profile(&mut self, issuer: &RowCheck, auth: &AuthSpec) -> Option<()> {
        if !auth.is_to_be_issued() {
            return Some(());
        }
        let row = profile_row(auth);
        let Err(refusal) = issuer.check(&self.row.identity, &row) else { return Some(()) };
        let remedy = refusal.hint().unwrap_or("correct the row, or the CA's `profile.toml` or policy");
        self.error("profile", row.profile.as_deref(), with_causes(&refusal), remedy);
        None
    }

    fn warn_of_respelling(&mut self, template: &Path, read: &str, written: &str) {
        let message = format!(
            "a hub keeps the value of a number, not its digits: `{read}` in this twin comes back as `{written}`"
        );
        let remedy = "nothing is to be done for an amount; put a version or a serial number into quotes";
        let value = template.to_string_lossy().into_owned();
        let problem = problem(self.file, self.row.line, "twin", Some(&value), message, remedy);
        self.problems.push(Problem { severity: Severity::Warning, ..problem });
    }

    fn error(&mut self, column: &str, value: Option<&str>, message: impl Into<String>, remedy: &str) {
        self.problems.push(problem(self.file, self.row.line, column, value, message, remedy));
    }
}

fn of_certificate(certificate: &Certificate) -> [Credential; 2] {
    [
        Credential::public_key(certificate.public_key_info()),
        Credential::serial(certificate.issuer(), &certificate.serial()),
    ]
}

/// The certificate of a row that gets one; `profile` is for rows that name none.
fn to_issue(row: &Row, by_ca: bool, profile: Option<&String>) -> AuthSpec {
    let given = |source: &PemSource| match source {
        PemSource::Path(path) => GivenPem::Path(path.clone()),
        PemSource::Pem(pem) => GivenPem::Pem(pem.clone()),
    };
    let (csr, public_key) = (row.csr.as_ref().map(given), row.public_key.as_ref().map(given));
    let profile = row.profile.as_ref().or(profile).map(|name| CertificateProfile {
        name: name.clone(),
        columns: row.cells.iter().map(|(name, text)| (name.to_owned(), text.into_owned())).collect(),
    });
    AuthSpec::IssuedCertificate { by_ca, csr, public_key, profile }
}

/// An error in a cell, without what may be a secret: a key may stand in a column for file names.
pub(super) fn problem(
    file: &str,
    line: u64,
    column: &str,
    value: Option<&str>,
    message: impl Into<String>,
    remedy: &str,
) -> Problem {
    Problem {
        severity: Severity::Error,
        file: file.to_owned(),
        line: Some(line),
        column: Some(column.to_owned()),
        value: value.map(str::to_owned),
        message: message.into(),
        remedy: remedy.to_owned(),
    }
    .redacted()
}

#[cfg(test)]
mod tests {
    use batch_file::{BatchReader, ReadOptions};
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
    use time::Duration;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-30 12:00 UTC);

    /// The warnings about a row that names a certificate; it must be good.
    fn warnings(change: impl FnOnce(&mut CertificateParams)) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "d");
        (params.not_before, params.not_after) = (NOW - Duration::DAY, NOW + Duration::DAY);
        change(&mut params);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        std::fs::write(folder.path().join("d.pem"), certificate.pem()).unwrap();
        let batch = &b"device_id,certificate\nd,d.pem\n"[..];
        let mut reader =
            BatchReader::from_read(batch, "b.csv", folder.path(), &ReadOptions::default()).unwrap();
        let row = reader.next().unwrap().unwrap();
        let mut problems = Vec::new();
        let spec = RowReader::new(&LoadOptions::default(), NOW).read(&row, "b.csv", &mut problems);
        assert!(spec.is_some());
        for problem in &problems {
            assert_eq!((problem.severity, problem.line), (Severity::Warning, Some(2)), "{problem:?}");
            assert_eq!(problem.column.as_deref(), Some("certificate"));
        }
        problems.into_iter().map(|problem| problem.message).collect()
    }

    #[test]
    fn a_certificate_with_which_no_device_gets_in_is_warned_of() {
        assert_eq!(warnings(|_| {}), [""; 0]);
        let expired = warnings(|params| params.not_after = NOW - Duration::SECOND);
        assert_eq!(expired, ["the certificate has expired at 2026-11-30T11:59:59Z"]);
        let early = warnings(|params| params.not_before = NOW + Duration::SECOND);
        assert_eq!(early, ["the certificate is not valid before 2026-11-30T12:00:01Z"]);
        let of_a_ca = warnings(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
        assert_eq!(of_a_ca, ["the certificate is that of a CA (CA:TRUE)"]);
    }
}
