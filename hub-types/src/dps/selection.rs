//! The entry by which a device registers, and everything that refuses the device.
//!
//! The rule is pure: it decides over facts about what the device presents, and over the entries of
//! the DPS. The individual enrolment of the registration id counts before groups. Of the groups, the
//! one counts whose certificate is nearest to the device's own: its issuer first, the root last. An
//! entry that is disabled or asks for a different proof blocks the device; it is not skipped.
//! Sources: "Azure IoT Hub Device Provisioning Service terminology", "Understand how DPS uses X.509
//! certificates to verify the identity of devices".

use std::fmt;

use serde::{Serialize, Serializer};

use crate::dps::attestation::{Attestation, CaReferences, X509Attestation};
use crate::dps::certificate::CertificateInfo;
use crate::dps::device_token::device_key;
use crate::dps::enrollment::{EnrollmentGroup, EnrollmentSettings, IndividualEnrollment};
use crate::dps::id::{EnrollmentGroupId, RegistrationId, RegistrationIdError};
use crate::limits::MAX_COMMON_NAME_CHARS;
use crate::sas::SasToken;
use crate::symmetric_key::SymmetricKeys;
use crate::thumbprint::Thumbprint;
use crate::timestamp::Timestamp;

#[cfg(test)]
mod tests;

/// The facts about one certificate that a device presents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresentedCertificate {
    /// Its names, thumbprints and dates.
    pub info: CertificateInfo,
    /// The common name of its subject, if there is exactly one.
    pub common_name: Option<String>,
    /// True for the certificate of a CA that may sign certificates: `CA:TRUE`, and `keyCertSign` if
    /// it has a key usage.
    pub may_sign: bool,
    /// False if it has extended key usages, and TLS clients are not among them.
    pub for_tls_clients: bool,
    /// True if the certificate that is presented next has signed it.
    pub signed_by_next: bool,
    /// The SHA-256 thumbprints of the certificates of entries, and of verified CAs, that have signed
    /// it.
    pub signed_by: Vec<Thumbprint>,
}

impl PresentedCertificate {
    /// The certificate among `known` that has signed this one.
    fn signer_among<'k>(&self, known: &[&'k CertificateInfo]) -> Option<&'k CertificateInfo> {
        known.iter().copied().find(|known| self.signed_by.contains(&known.sha256_thumbprint))
    }
}

/// The proof that a device gives.
#[derive(Debug, Clone, Copy)]
pub enum Proof<'a> {
    /// A chain of certificates, the device's own first. It may be empty.
    Certificates(&'a [PresentedCertificate]),
    /// A token that a symmetric key has signed.
    Token(&'a SasToken),
}

/// A CA certificate of a DPS whose key its owner has proven to possess.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedCa {
    /// The name that enrolments refer to.
    pub name: String,
    /// Its names, thumbprints and dates.
    pub info: CertificateInfo,
}

/// The entries of a DPS that concern a device.
#[derive(Debug, Clone, Copy)]
pub struct Entries<'a> {
    /// The individual enrolment of the registration id.
    pub individual: Option<&'a IndividualEnrollment>,
    /// The groups. Their certificates have their facts.
    pub groups: &'a [EnrollmentGroup],
    /// The verified CAs.
    pub cas: &'a [VerifiedCa],
}

/// The entry that counts for a device.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Entry<'a> {
    /// The device's own entry.
    Individual(&'a IndividualEnrollment),
    /// A group, with the thumbprint of the certificate that the device's chain leads to, if the
    /// group has certificates.
    Group(&'a EnrollmentGroup, Option<Thumbprint>),
}

impl<'a> Entry<'a> {
    /// The settings of the entry.
    pub fn settings(self) -> &'a EnrollmentSettings {
        match self {
            Self::Individual(entry) => &entry.settings,
            Self::Group(group, _) => &group.settings,
        }
    }

    /// The proof that the entry asks for.
    pub fn attestation(self) -> &'a Attestation {
        match self {
            Self::Individual(entry) => &entry.attestation,
            Self::Group(group, _) => &group.attestation,
        }
    }
}

impl Serialize for Entry<'_> {
    /// Writes the kind and the id.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        enum Named<'a> {
            RegistrationId(&'a RegistrationId),
            EnrollmentGroupId(&'a EnrollmentGroupId),
        }
        match self {
            Self::Individual(entry) => Named::RegistrationId(&entry.registration_id),
            Self::Group(group, _) => Named::EnrollmentGroupId(&group.enrollment_group_id),
        }
        .serialize(serializer)
    }
}

impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Individual(entry) => write!(f, "the individual enrolment `{}`", entry.registration_id),
            Self::Group(group, _) => write!(f, "the enrolment group `{}`", group.enrollment_group_id),
        }
    }
}

/// The kind of a reason to refuse a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum FindingKind {
    /// The chain ends before any certificate that the DPS knows.
    ChainIncomplete,
    /// The common name is not the registration id.
    CommonName,
    /// The device presents a different certificate than its entry holds.
    DifferentCertificate,
    /// A different key than the entry's has signed the token.
    DifferentKey,
    /// The entry is disabled.
    Disabled,
    /// A certificate has expired.
    Expired,
    /// The id breaks a rule of registration ids.
    Id,
    /// A certificate of the chain may not sign certificates, or the device's may not identify a
    /// client.
    KeyUsage,
    /// No entry is meant for the device.
    NoEntry,
    /// The device presents neither a certificate nor a token.
    NoProof,
    /// A certificate is not valid yet.
    NotYetValid,
    /// The chain breaks a rule of RFC 5280.
    Path,
    /// An entry has a certificate of the right name, whose key has not signed the chain.
    OtherCa,
    /// The entry asks for a proof of a Trusted Platform Module.
    Tpm,
    /// The entry refers to a CA that the DPS does not have.
    UnknownCa,
    /// The entry asks for a different kind of proof.
    WrongProof,
}

/// One reason to refuse a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its kind.
    pub kind: FindingKind,
    /// One sentence for people.
    pub text: String,
}

/// The result: the entry that counts, and the reasons to refuse the device. Without a reason the
/// device may register.
///
/// As text: the choice, and all reasons to refuse the device, on one line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Selection<'a> {
    /// The entry that counts, if there is one.
    pub entry: Option<Entry<'a>>,
    /// The reason why this entry counts, or why there is none: one sentence for people.
    pub choice: String,
    /// The reasons to refuse the device.
    pub findings: Vec<Finding>,
}

impl<'a> Selection<'a> {
    /// The entry, if nothing refuses the device.
    pub fn accepted(&self) -> Option<Entry<'a>> {
        self.entry.filter(|_| self.findings.is_empty())
    }

    /// Adds a reason to refuse the device. The same reason is told once: a DPS shows an only certificate as
    /// the secondary one too.
    pub fn refuse(&mut self, kind: FindingKind, text: impl Into<String>) {
        let finding = Finding { kind, text: text.into() };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }
}

impl fmt::Display for Selection<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.choice)?;
        self.findings.iter().try_for_each(|finding| write!(f, "; {}", finding.text))
    }
}

/// The refusal of an id by which no device can register.
pub fn refuse_id(id: &str, error: &RegistrationIdError) -> Selection<'static> {
    let mut selection = Selection { entry: None, choice: "no entry counts".to_owned(), findings: Vec::new() };
    selection.refuse(FindingKind::Id, format!("no device can register as `{id}`: {error}"));
    selection
}

/// Chooses the entry for a device, and collects everything that refuses it at a time.
pub fn select<'a>(
    id: &RegistrationId,
    proof: Proof<'_>,
    entries: Entries<'a>,
    now: Timestamp,
) -> Selection<'a> {
    let mut selection = Selection { entry: None, choice: String::new(), findings: Vec::new() };
    match proof {
        Proof::Certificates([]) => {
            selection.refuse(FindingKind::NoProof, "the device presents neither a certificate nor a token");
            selection.entry = entries.individual.map(Entry::Individual);
        }
        Proof::Certificates(chain) => selection.by_certificates(id, chain, entries, now),
        Proof::Token(token) => selection.by_token(id, token, entries),
    }
    selection.choice = match selection.entry {
        Some(entry @ Entry::Individual(_)) => format!("{entry} counts, before all groups"),
        Some(entry @ Entry::Group(..)) => {
            format!(
                "{entry} counts, because {}, and there is no individual enrolment `{id}`",
                selection.choice
            )
        }
        None => format!("no entry counts: there is no individual enrolment `{id}`, and no group is chosen"),
    };
    if let Some(entry) = selection.entry
        && !entry.settings().is_enabled()
    {
        selection.refuse(FindingKind::Disabled, format!("{entry} is disabled"));
    }
    selection
}

impl<'a> Selection<'a> {
    fn by_certificates(
        &mut self,
        id: &RegistrationId,
        chain: &[PresentedCertificate],
        entries: Entries<'a>,
        now: Timestamp,
    ) {
        self.check_common_name(id, chain);
        if !id.fits_common_name() {
            let text = format!(
                "`{id}` has more than {MAX_COMMON_NAME_CHARS} characters, so that no certificate can have it as its \
                 common name"
            );
            self.refuse(FindingKind::Id, text);
        }
        let (used, signer) = match entries.individual {
            Some(individual) => self.by_individual(individual, chain, entries.cas),
            None => self.by_group(chain, entries),
        };
        for certificate in chain.iter().take(used) {
            self.check_dates(&certificate.info, now);
        }
        if let Some(signer) = signer {
            self.check_dates(signer, now);
        }
        for issuer in chain.iter().take(used).skip(1).filter(|issuer| !issuer.may_sign) {
            let text = format!(
                "the certificate of `{}` may not sign certificates (it is not that of a CA, or lacks keyCertSign)",
                issuer.info.subject_name
            );
            self.refuse(FindingKind::KeyUsage, text);
        }
        for issuer in chain.iter().take(used).skip(1).filter(|issuer| !issuer.for_tls_clients) {
            let text = format!(
                "the certificate of `{}` is not for the issuers of TLS clients: its extended key usages lack clientAuth",
                issuer.info.subject_name
            );
            self.refuse(FindingKind::KeyUsage, text);
        }
        if let [own, ..] = chain
            && !own.for_tls_clients
        {
            let text = "the certificate is not for TLS clients: its extended key usages lack clientAuth";
            self.refuse(FindingKind::KeyUsage, text);
        }
    }

    /// Compares the chain with the device's own entry. Returns the number of certificates of the
    /// chain that count, and the known certificate that they lead to.
    fn by_individual(
        &mut self,
        individual: &'a IndividualEnrollment,
        chain: &[PresentedCertificate],
        cas: &'a [VerifiedCa],
    ) -> (usize, Option<&'a CertificateInfo>) {
        let entry = Entry::Individual(individual);
        self.entry = Some(entry);
        match &individual.attestation {
            Attestation::X509(X509Attestation::ClientCertificates(pair)) => {
                if let [own, ..] = chain
                    && !pair.has_thumbprint(own.info.sha256_thumbprint)
                {
                    let text = format!(
                        "{entry} holds a different certificate than the device presents, whose SHA-256 thumbprint is {}",
                        own.info.sha256_thumbprint
                    );
                    self.refuse(FindingKind::DifferentCertificate, text);
                }
                (1, None)
            }
            Attestation::X509(X509Attestation::SigningCertificates(pair)) => {
                let signers: Vec<_> = pair.infos().collect();
                self.leading_to(&signers, chain, &format!("the certificates of {entry}"))
            }
            Attestation::X509(X509Attestation::CaReferences(names)) => {
                let signers = self.referenced(entry, names, cas);
                self.leading_to(&signers, chain, &format!("the CAs that {entry} refers to"))
            }
            Attestation::SymmetricKey(_) => {
                let text =
                    format!("{entry} asks for a token by a symmetric key, the device presents a certificate");
                self.refuse(FindingKind::WrongProof, text);
                (1, None)
            }
            Attestation::Tpm(_) => {
                self.refuse_tpm(entry);
                (1, None)
            }
        }
    }

    /// Finds the group nearest to the device's own certificate. Returns the number of certificates
    /// of the chain that count, and the certificate of the group that they lead to.
    fn by_group(
        &mut self,
        chain: &[PresentedCertificate],
        entries: Entries<'a>,
    ) -> (usize, Option<&'a CertificateInfo>) {
        for (place, certificate) in chain.iter().enumerate() {
            for group in entries.groups {
                if let Some(signer) = certificate.signer_among(&signers_of(group, entries.cas)) {
                    self.entry = Some(Entry::Group(group, Some(signer.sha256_thumbprint)));
                    self.choice = format!(
                        "its certificate, of `{}`, has signed that of `{}`",
                        signer.subject_name, certificate.info.subject_name
                    );
                    return (place + 1, Some(signer));
                }
            }
            if !certificate.signed_by_next {
                let groups = entries.groups.iter().flat_map(|group| {
                    let signers = signers_of(group, entries.cas).into_iter();
                    signers.map(move |signer| (Entry::Group(group, None), signer))
                });
                self.refuse_namesakes(certificate, groups);
                return (self.end_of_chain(chain, place, "a certificate of a group"), None);
            }
        }
        (chain.len(), None)
    }

    /// Requires that the chain leads to one of the signers. Returns the number of certificates of
    /// the chain that count, and the signer.
    fn leading_to(
        &mut self,
        signers: &[&'a CertificateInfo],
        chain: &[PresentedCertificate],
        wanted: &str,
    ) -> (usize, Option<&'a CertificateInfo>) {
        for (place, certificate) in chain.iter().enumerate() {
            if let Some(signer) = certificate.signer_among(signers) {
                return (place + 1, Some(signer));
            }
            if !certificate.signed_by_next {
                if let Some(entry) = self.entry {
                    self.refuse_namesakes(certificate, signers.iter().map(|signer| (entry, *signer)));
                }
                return (self.end_of_chain(chain, place, wanted), None);
            }
        }
        (chain.len(), None)
    }

    /// Tells of entries with a certificate that has the name of a certificate's issuer, and has not signed it.
    fn refuse_namesakes<'e>(
        &mut self,
        certificate: &PresentedCertificate,
        known: impl Iterator<Item = (Entry<'e>, &'e CertificateInfo)>,
    ) {
        let issuer = &certificate.info.issuer_name;
        for (entry, namesake) in known.filter(|(_, known)| known.subject_name == *issuer) {
            let text = format!(
                "{entry} has a certificate of `{issuer}`, but a different one, whose key has not signed the certificate \
                 of `{}`; its SHA-256 thumbprint is {}",
                certificate.info.subject_name, namesake.sha256_thumbprint
            );
            self.refuse(FindingKind::OtherCa, text);
        }
    }

    /// Refuses a chain that ends at a place without having reached a known certificate.
    fn end_of_chain(&mut self, chain: &[PresentedCertificate], place: usize, wanted: &str) -> usize {
        let Some(last) = chain.get(place) else { return place };
        let (kind, reason) = match chain.get(place + 1) {
            Some(next) => (
                FindingKind::ChainIncomplete,
                format!("the next certificate, of `{}`, has not signed it", next.info.subject_name),
            ),
            None if last.info.subject_name == last.info.issuer_name => {
                (FindingKind::NoEntry, "it is self-signed, and no entry knows it".to_owned())
            }
            None => (
                FindingKind::ChainIncomplete,
                format!("no certificate of `{}` follows, and no entry has it", last.info.issuer_name),
            ),
        };
        let text = format!(
            "the chain does not lead to {wanted}: it ends with the certificate of `{}`; {reason}",
            last.info.subject_name
        );
        self.refuse(kind, text);
        place + 1
    }

    /// The CAs that an entry refers to.
    fn referenced(
        &mut self,
        entry: Entry<'_>,
        names: &CaReferences,
        cas: &'a [VerifiedCa],
    ) -> Vec<&'a CertificateInfo> {
        let missing = names.iter().filter(|name| !cas.iter().any(|ca| ca.name == **name));
        for name in missing {
            let text = format!("{entry} refers to the CA `{name}`, which the DPS does not have");
            self.refuse(FindingKind::UnknownCa, text);
        }
        referenced(names, cas)
    }

    fn by_token(&mut self, id: &RegistrationId, token: &SasToken, entries: Entries<'a>) {
        let Some(individual) = entries.individual else {
            return self.by_group_key(id, token, entries.groups);
        };
        let entry = Entry::Individual(individual);
        self.entry = Some(entry);
        match &individual.attestation {
            Attestation::SymmetricKey(keys) => {
                if !keys.as_ref().is_some_and(|keys| is_signed(token, keys)) {
                    let text = format!("the token is signed by a different key than those of {entry}");
                    self.refuse(FindingKind::DifferentKey, text);
                }
            }
            Attestation::X509(_) => {
                let text = format!("{entry} asks for a certificate, the device presents a token");
                self.refuse(FindingKind::WrongProof, text);
            }
            Attestation::Tpm(_) => self.refuse_tpm(entry),
        }
    }

    /// Finds the group whose key the device's key follows from.
    fn by_group_key(&mut self, id: &RegistrationId, token: &SasToken, groups: &'a [EnrollmentGroup]) {
        let found = groups.iter().find(|group| match &group.attestation {
            Attestation::SymmetricKey(Some(keys)) => is_signed(token, &device_keys(keys, id)),
            _ => false,
        });
        match found {
            Some(group) => {
                self.entry = Some(Entry::Group(group, None));
                self.choice = "the key of the token follows from its key".to_owned();
            }
            None => {
                let text = format!("the token of `{id}` is signed by a key that follows from no group's key");
                self.refuse(FindingKind::NoEntry, text);
            }
        }
    }

    fn check_common_name(&mut self, id: &RegistrationId, chain: &[PresentedCertificate]) {
        let Some(own) = chain.first() else { return };
        let text = match &own.common_name {
            Some(name) if name.eq_ignore_ascii_case(id.as_str()) => return,
            Some(name) => format!("the certificate's common name `{name}` is not the registration id `{id}`"),
            None => format!("the certificate has not exactly one common name, which must be `{id}`"),
        };
        self.refuse(FindingKind::CommonName, text);
    }

    fn check_dates(&mut self, certificate: &CertificateInfo, now: Timestamp) {
        let CertificateInfo { subject_name, not_before_utc, not_after_utc, .. } = certificate;
        if now < *not_before_utc {
            let text = format!("the certificate of `{subject_name}` is not valid before {not_before_utc}");
            self.refuse(FindingKind::NotYetValid, text);
        }
        if now > *not_after_utc {
            let text = format!("the certificate of `{subject_name}` has expired at {not_after_utc}");
            self.refuse(FindingKind::Expired, text);
        }
    }

    fn refuse_tpm(&mut self, entry: Entry<'_>) {
        let text = format!("{entry} asks for a proof by a Trusted Platform Module");
        self.refuse(FindingKind::Tpm, text);
    }
}

/// The keys of a device of a group.
pub fn device_keys(group: &SymmetricKeys, id: &RegistrationId) -> SymmetricKeys {
    SymmetricKeys { primary: device_key(&group.primary, id), secondary: device_key(&group.secondary, id) }
}

/// The certificates that sign for a group.
fn signers_of<'a>(group: &'a EnrollmentGroup, cas: &'a [VerifiedCa]) -> Vec<&'a CertificateInfo> {
    match &group.attestation {
        Attestation::X509(X509Attestation::SigningCertificates(pair)) => pair.infos().collect(),
        Attestation::X509(X509Attestation::CaReferences(names)) => referenced(names, cas),
        _ => Vec::new(),
    }
}

fn referenced<'a>(names: &CaReferences, cas: &'a [VerifiedCa]) -> Vec<&'a CertificateInfo> {
    let known = names.iter().filter_map(|name| cas.iter().find(|ca| ca.name == name));
    known.map(|ca| &ca.info).collect()
}

/// Both keys are tried whatever the first gives, so that time does not tell which one it was.
fn is_signed(token: &SasToken, keys: &SymmetricKeys) -> bool {
    [&keys.primary, &keys.secondary].map(|key| token.is_signed_by(key)).contains(&true)
}
