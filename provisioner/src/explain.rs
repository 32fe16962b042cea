//! The explanation of a registration: the entry of a DPS that counts for a device with a certificate, and
//! everything that would refuse the device.
//!
//! The rule and its words are those of `hub-types`, which the local DPS uses too. A DPS does not return the
//! certificates of its entries, only facts about them. A signature by such a certificate can be checked if the
//! certificate is at hand: in the chain, or in a file of a CA.

use std::path::PathBuf;

use cert_tool::{
    Certificate, CheckName, Purpose, Verification, presented_chain, read_certificates, verify_certificate,
};
use hub_types::Thumbprint;
use hub_types::dps::attestation::{Attestation, X509Attestation};
use hub_types::dps::certificate::CertificateInfo;
use hub_types::dps::registration::RegistrationStatus;
use hub_types::dps::selection::{
    Entries, Entry, FindingKind, PresentedCertificate, Proof, Selection, VerifiedCa, refuse_id, select,
};
use hub_types::dps::{EnrollmentGroup, IndividualEnrollment, RegistrationId, RegistrationState};
use hub_types::shown::ShownPath;
use serde::Serialize;
use serde_json::Value;

use crate::clock::now;
use crate::dps::{Dps, DpsClient};
use crate::hub::HubError;
use crate::model::observer::RunObserver;
use crate::target::{DpsChoice, DpsTarget, HubLabel, TargetError};

/// The question: would a DPS let a device with these certificates register?
pub(crate) struct ExplainRequest {
    /// The file with the certificates that the device presents, its own first.
    pub(crate) chain: PathBuf,
    /// The registration id; `None` for the common name of the certificate.
    pub(crate) id: Option<String>,
    /// Files with certificates of CAs, by the names of which entries may refer to them.
    pub(crate) cas: Vec<PathBuf>,
    /// The DPS.
    pub(crate) dps: DpsChoice,
}

/// The answer.
#[derive(Debug, Serialize)]
pub(crate) struct Explanation {
    /// The registration id.
    pub(crate) registration_id: String,
    /// True if nothing is known that would refuse the device.
    pub(crate) accepted: bool,
    /// The choice of the entry and all reasons to refuse the device, in one line.
    pub(crate) text: String,
    /// The choice, with the entry, and the reasons one by one.
    #[serde(flatten)]
    pub(crate) selection: Value,
    /// What is not known, and what else is.
    pub(crate) notes: Vec<String>,
}

/// The reason why a registration can't be explained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ExplainError {
    /// A file can't be read.
    #[error(transparent)]
    Certificate(#[from] cert_tool::Error),
    /// The DPS can't be read.
    #[error(transparent)]
    Dps(#[from] HubError),
    /// The file has no certificate of a device.
    #[error("`{}` has no certificate", ShownPath(path))]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The registration id is not known.
    #[error("the certificate in `{}` has not exactly one common name", ShownPath(path))]
    NoCommonName {
        /// The file.
        path: PathBuf,
    },
    /// There is no DPS.
    #[error(transparent)]
    Target(#[from] TargetError),
}

/// Reads the entries of the DPS that concern the device, and decides as the DPS would.
pub(crate) async fn explain(
    request: ExplainRequest,
    observer: &dyn RunObserver,
) -> Result<(HubLabel, Explanation), ExplainError> {
    let ExplainRequest { chain: path, id, cas, dps } = request;
    let chain = read_certificates(&path)?;
    let id = id_of(id, &chain, path)?;
    let cas = cas.into_iter().map(Ca::read).collect::<Result<Vec<_>, _>>()?;
    let target = DpsTarget::resolve(dps, ".".as_ref()).await?;
    target.announce(observer);
    let dps = target.open(observer.status_listener())?;
    let explanation = match id.parse::<RegistrationId>() {
        Ok(id) => KnownEntries::read(&dps.client, &id, cas).await?.explain(&id, &chain),
        Err(error) => Explanation::new(id.clone(), &refuse_id(&id, &error), Vec::new()),
    };
    Ok((dps.label, explanation))
}

/// The registration id: the given one, or the common name of the device's certificate.
fn id_of(given: Option<String>, chain: &[Certificate], path: PathBuf) -> Result<String, ExplainError> {
    match (given, chain.first()) {
        (_, None) => Err(ExplainError::Empty { path }),
        (Some(id), Some(_)) => Ok(id),
        (None, Some(own)) => match own.common_name() {
            Some(name) => Ok(name.to_owned()),
            None => Err(ExplainError::NoCommonName { path }),
        },
    }
}

impl Explanation {
    fn new(registration_id: String, selection: &Selection<'_>, notes: Vec<String>) -> Self {
        let accepted = selection.accepted().is_some();
        let text = selection.to_string();
        let selection = serde_json::to_value(selection).unwrap_or_default();
        Self { registration_id, accepted, text, selection, notes }
    }

    /// The reason of the choice.
    pub(crate) fn choice(&self) -> &str {
        self.selection.get("choice").and_then(Value::as_str).unwrap_or_default()
    }

    /// The reasons to refuse the device, each with its kind.
    pub(crate) fn findings(&self) -> impl Iterator<Item = (&str, &str)> {
        let findings = self.selection.get("findings").and_then(Value::as_array).into_iter().flatten();
        findings.filter_map(|finding| Some((finding.get("kind")?.as_str()?, finding.get("text")?.as_str()?)))
    }
}

/// A CA whose certificate is in a file.
struct Ca {
    /// The name of the file without its ending, by which entries may refer to the CA.
    name: String,
    certificate: Certificate,
}

impl Ca {
    fn read(path: PathBuf) -> Result<Self, ExplainError> {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let certificate = read_certificates(&path)?.into_iter().next();
        Ok(Self { name, certificate: certificate.ok_or(ExplainError::Empty { path })? })
    }
}

/// Everything that is known about the registration of a device.
struct KnownEntries {
    individual: Option<IndividualEnrollment>,
    groups: Vec<EnrollmentGroup>,
    registration: Option<RegistrationState>,
    cas: Vec<Ca>,
}

impl KnownEntries {
    async fn read(dps: &DpsClient, id: &RegistrationId, cas: Vec<Ca>) -> Result<Self, HubError> {
        let individual = dps.enrollment(id).await?;
        // With an individual enrolment, groups do not count.
        let groups = if individual.is_some() { Vec::new() } else { dps.enrollment_groups().await? };
        Ok(Self { individual, groups, registration: dps.registration(id).await?, cas })
    }

    fn explain(&self, id: &RegistrationId, chain: &[Certificate]) -> Explanation {
        let issuers: Vec<Certificate> = self.cas.iter().map(|ca| ca.certificate.clone()).collect();
        let mut presented = presented_chain(chain, &issuers);
        let mut notes = self.assume_signatures(&mut presented);
        let verified: Vec<VerifiedCa> = self.cas.iter().map(Ca::verified).collect();
        let entries = Entries { individual: self.individual.as_ref(), groups: &self.groups, cas: &verified };
        let mut selection = select(id, Proof::Certificates(&presented), entries, now().into());
        if let Some(Entry::Group(_, Some(issuer))) = selection.accepted() {
            notes.extend(check_path(&mut selection, chain, &issuers, issuer));
        }
        notes.extend(self.unknown_names());
        notes.extend(self.registration.as_ref().and_then(told_registration));
        Explanation::new(id.to_string(), &selection, notes)
    }

    /// The certificates of the entries, as far as the entries hold certificates themselves.
    fn signers(&self) -> impl Iterator<Item = &CertificateInfo> {
        let individual = self.individual.iter().map(|entry| &entry.attestation);
        let attestations = individual.chain(self.groups.iter().map(|group| &group.attestation));
        attestations.flat_map(|attestation| match attestation {
            Attestation::X509(X509Attestation::SigningCertificates(pair)) => pair.infos().collect(),
            _ => Vec::new(),
        })
    }

    /// Takes a certificate whose issuer is not at hand for signed by the certificate of an entry with the name
    /// of the issuer, and says so.
    fn assume_signatures(&self, presented: &mut [PresentedCertificate]) -> Vec<String> {
        let mut notes = Vec::new();
        for certificate in presented.iter_mut().filter(|certificate| certificate.signed_by.is_empty()) {
            let issuer = &certificate.info.issuer_name;
            let assumed: Vec<Thumbprint> = self
                .signers()
                .filter(|signer| signer.subject_name == *issuer)
                .map(|signer| signer.sha256_thumbprint)
                .collect();
            if !assumed.is_empty() {
                notes.push(format!(
                    "the signature of `{issuer}` on the certificate of `{}` is not checked, because a DPS does not \
                     return the certificates of its entries: name that certificate with `--ca FILE`",
                    certificate.info.subject_name
                ));
            }
            certificate.signed_by = assumed;
        }
        notes
    }

    /// The names of CAs that entries refer to, and that are not known here.
    fn unknown_names(&self) -> Vec<String> {
        let individual = self.individual.iter().map(|entry| &entry.attestation);
        let attestations = individual.chain(self.groups.iter().map(|group| &group.attestation));
        let names = attestations.flat_map(|attestation| match attestation {
            Attestation::X509(X509Attestation::CaReferences(names)) => names.iter().collect(),
            _ => Vec::new(),
        });
        let mut unknown: Vec<&str> =
            names.filter(|name| !self.cas.iter().any(|ca| ca.name == *name)).collect();
        unknown.sort_unstable();
        unknown.dedup();
        let told = unknown.iter().map(|name| {
            format!(
                "an entry refers to the CA `{name}`: whether the DPS has it, and whether its owner has proven to \
                 possess it, can't be read with these rights; name its certificate with `--ca {name}.pem`"
            )
        });
        told.collect()
    }
}

impl Ca {
    fn verified(&self) -> VerifiedCa {
        VerifiedCa { name: self.name.clone(), info: cert_tool::certificate_info(&self.certificate) }
    }
}

/// Verifies the path up to the certificate of a group by RFC 5280, if that certificate is at hand. Returns notes
/// about other faults of the certificate, for which not every DPS refuses it.
fn check_path(
    selection: &mut Selection<'_>,
    chain: &[Certificate],
    issuers: &[Certificate],
    issuer: Thumbprint,
) -> Vec<String> {
    let is_issuer = |certificate: &&Certificate| issuer.matches_der(certificate.der());
    let (Some((own, between)), Some(issuer)) =
        (chain.split_first(), chain.iter().chain(issuers).find(is_issuer))
    else {
        return Vec::new();
    };
    let by = Verification {
        purpose: Purpose::Dps,
        trusted: std::slice::from_ref(issuer),
        between,
        crls: &[],
        expected: None,
        host: None,
        thumbprints: &[],
        key: None,
        at: now(),
    };
    let mut notes = Vec::new();
    for check in verify_certificate(own, &by) {
        let Some(fault) = check.fault else { continue };
        let text = format!("{}: {fault}", check.name.as_str());
        match check.name {
            CheckName::Chain | CheckName::Extensions | CheckName::NameConstraints | CheckName::NotACa => {
                selection.refuse(FindingKind::Path, text);
            }
            _ => notes.push(format!("the certificate should be different ({text})")),
        }
    }
    notes
}

/// The earlier registration of the device, in words.
fn told_registration(state: &RegistrationState) -> Option<String> {
    let at = state.last_updated_date_time_utc.map(|at| format!(", at {at}")).unwrap_or_default();
    match state.status {
        RegistrationStatus::Assigned => {
            let hub = state.assigned_hub.as_ref().map(|hub| format!(" to the hub `{hub}`"));
            let device = state.device_id.as_ref().map(|device| format!(" as `{device}`"));
            let (hub, device) = (hub.unwrap_or_default(), device.unwrap_or_default());
            Some(format!("it has registered before: the DPS assigned it{hub}{device}{at}"))
        }
        RegistrationStatus::Failed => {
            let code = state.error_code.map(|code| format!(" ({code})")).unwrap_or_default();
            let message = state.error_message.as_deref().unwrap_or("no reason is given");
            Some(format!("its last registration failed{code}{at}: {message}"))
        }
        _ => None,
    }
}
