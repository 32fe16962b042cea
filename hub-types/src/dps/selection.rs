//! The entry by which a device registers, and everything that refuses the device.
//!
//! The rule is pure: it decides over facts about what the device presents, and over the entries of
//! the DPS. The individual enrolment of the registration id counts before groups. Of the groups, the
//! one counts whose certificate is nearest to the device's own: its issuer first, the root last. An
//! entry that is disabled or asks for a different proof blocks the device; it is not skipped.
//! Sources: "Azure IoT Hub Device Provisioning Service terminology", "Understand how DPS uses X.509
//! certificates to verify the identity of devices".

use std::fmt;

use crate::dps::attestation::{Attestation, CaReferences, X509Attestation};
use crate::dps::certificate::CertificateInfo;
use crate::dps::device_token::device_key;
use crate::dps::enrollment::{EnrollmentGroup, EnrollmentSettings, IndividualEnrollment};
use crate::dps::id::RegistrationId;
use crate::sas::SasToken;
use crate::symmetric_key::SymmetricKeys;
use crate::thumbprint::Thumbprint;
use crate::timestamp::Timestamp;

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

impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Individual(entry) => write!(f, "the individual enrolment `{}`", entry.registration_id),
            Self::Group(group, _) => write!(f, "the enrolment group `{}`", group.enrollment_group_id),
        }
    }
}

/// The kind of a reason to refuse a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    /// The entry asks for a proof of a Trusted Platform Module.
    Tpm,
    /// The entry refers to a CA that the DPS does not have.
    UnknownCa,
    /// The entry asks for a different kind of proof.
    WrongProof,
}

/// One reason to refuse a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its kind.
    pub kind: FindingKind,
    /// One sentence for people.
    pub text: String,
}

/// The result: the entry that counts, and the reasons to refuse the device. Without a reason the
/// device may register.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection<'a> {
    /// The entry that counts, if there is one.
    pub entry: Option<Entry<'a>>,
    /// The reasons to refuse the device.
    pub findings: Vec<Finding>,
}

impl<'a> Selection<'a> {
    /// The entry, if nothing refuses the device.
    pub fn accepted(&self) -> Option<Entry<'a>> {
        self.entry.filter(|_| self.findings.is_empty())
    }

    /// Adds a reason to refuse the device.
    pub fn refuse(&mut self, kind: FindingKind, text: impl Into<String>) {
        self.findings.push(Finding { kind, text: text.into() });
    }
}

/// Chooses the entry for a device, and collects everything that refuses it at a time.
pub fn select<'a>(
    id: &RegistrationId,
    proof: Proof<'_>,
    entries: Entries<'a>,
    now: Timestamp,
) -> Selection<'a> {
    let mut selection = Selection { entry: None, findings: Vec::new() };
    match proof {
        Proof::Certificates([]) => {
            selection.refuse(FindingKind::NoProof, "the device presents neither a certificate nor a token");
            selection.entry = entries.individual.map(Entry::Individual);
        }
        Proof::Certificates(chain) => selection.by_certificates(id, chain, entries, now),
        Proof::Token(token) => selection.by_token(id, token, entries),
    }
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
                    return (place + 1, Some(signer));
                }
            }
            if !certificate.signed_by_next {
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
                return (self.end_of_chain(chain, place, wanted), None);
            }
        }
        (chain.len(), None)
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
            Some(group) => self.entry = Some(Entry::Group(group, None)),
            None => {
                let text = format!(
                    "there is no individual enrolment `{id}`, and the token is signed by a key that follows from no group's key"
                );
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dps::certificate::{CertificatePair, EnrollmentCertificate};
    use crate::dps::device_token;
    use crate::dps::enrollment::ProvisioningStatus;
    use crate::symmetric_key::SymmetricKey;

    /// A thumbprint of 64 equal digits.
    fn thumbprint(digit: char) -> Thumbprint {
        digit.to_string().repeat(64).parse().unwrap()
    }

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn now() -> Timestamp {
        time("2026-12-01T00:00:00Z")
    }

    fn id() -> RegistrationId {
        "Pump-0001".parse().unwrap()
    }

    fn info(name: &str, issuer: &str, digit: char) -> CertificateInfo {
        CertificateInfo {
            subject_name: format!("CN={name}"),
            sha1_thumbprint: "0".repeat(40).parse().unwrap(),
            sha256_thumbprint: thumbprint(digit),
            issuer_name: format!("CN={issuer}"),
            not_before_utc: time("2026-01-01T00:00:00Z"),
            not_after_utc: time("2027-01-01T00:00:00Z"),
            serial_number: "01".to_owned(),
            version: 3,
        }
    }

    /// A certificate without a known issuer.
    fn certificate(name: &str, issuer: &str, digit: char) -> PresentedCertificate {
        PresentedCertificate {
            info: info(name, issuer, digit),
            common_name: Some(name.to_owned()),
            may_sign: name.starts_with("ca"),
            for_tls_clients: true,
            signed_by_next: false,
            signed_by: Vec::new(),
        }
    }

    /// A device's certificate, its intermediate, and a root with the thumbprint of `9` that the
    /// device does not present. The thumbprints are of `1` and `2`.
    fn chain() -> Vec<PresentedCertificate> {
        let mut chain = vec![certificate("pump-0001", "ca-2", '1'), certificate("ca-2", "ca-9", '2')];
        chain[0].signed_by_next = true;
        chain[0].signed_by = vec![thumbprint('2')];
        chain[1].signed_by = vec![thumbprint('9')];
        chain
    }

    fn pair(digit: char) -> CertificatePair {
        let info = info("signer", "signer", digit);
        let primary = EnrollmentCertificate { certificate: None, info: Some(Box::new(info)) };
        CertificatePair { primary, secondary: None }
    }

    fn individual(attestation: Attestation) -> IndividualEnrollment {
        IndividualEnrollment::new("pump-0001".parse().unwrap(), attestation)
    }

    fn of_client(digit: char) -> IndividualEnrollment {
        individual(Attestation::X509(X509Attestation::ClientCertificates(pair(digit))))
    }

    fn group(name: &str, attestation: Attestation) -> EnrollmentGroup {
        EnrollmentGroup::new(name.parse().unwrap(), attestation)
    }

    fn of_signer(name: &str, digit: char) -> EnrollmentGroup {
        group(name, Attestation::X509(X509Attestation::SigningCertificates(pair(digit))))
    }

    fn of_ca(primary: &str) -> Attestation {
        let names = CaReferences { primary: primary.to_owned(), secondary: None };
        Attestation::X509(X509Attestation::CaReferences(names))
    }

    fn keys(byte: u8) -> SymmetricKeys {
        let key = |byte| SymmetricKey::from_bytes(&[byte; 32]);
        SymmetricKeys { primary: key(byte), secondary: key(byte + 1) }
    }

    fn of_key(byte: u8) -> Attestation {
        Attestation::SymmetricKey(Some(keys(byte)))
    }

    fn token(key: &SymmetricKey) -> SasToken {
        device_token::sign(&"0ne1".parse().unwrap(), &id(), key, u64::MAX)
    }

    /// The name of the entry that counts, and the kinds of the findings.
    fn selected(
        proof: Proof<'_>,
        individual: Option<&IndividualEnrollment>,
        groups: &[&EnrollmentGroup],
    ) -> (Option<String>, Vec<FindingKind>) {
        let cas = [VerifiedCa { name: "factory".to_owned(), info: info("ca-9", "ca-9", '9') }];
        let groups: Vec<EnrollmentGroup> = groups.iter().copied().cloned().collect();
        let selection = select(&id(), proof, Entries { individual, groups: &groups, cas: &cas }, now());
        assert_eq!(
            selection.accepted().is_some(),
            selection.findings.is_empty() && selection.entry.is_some()
        );
        let name = selection.entry.map(|entry| match entry {
            Entry::Individual(_) => "individual".to_owned(),
            Entry::Group(group, _) => group.enrollment_group_id.to_string(),
        });
        (name, selection.findings.iter().map(|finding| finding.kind).collect())
    }

    fn accepted(name: &str) -> (Option<String>, Vec<FindingKind>) {
        (Some(name.to_owned()), Vec::new())
    }

    #[test]
    fn the_most_specific_entry_counts() {
        let (chain, own) = (chain(), of_client('1'));
        let (near, far) = (of_signer("intermediate", '2'), of_signer("root", '9'));
        let proof = Proof::Certificates(&chain);
        assert_eq!(selected(proof, Some(&own), &[&far, &near]), accepted("individual"));
        assert_eq!(selected(proof, None, &[&far, &near]), accepted("intermediate"));
        assert_eq!(selected(proof, None, &[&far]), accepted("root"));
        assert_eq!(selected(proof, None, &[&group("by-name", of_ca("factory"))]), accepted("by-name"));
    }

    #[test]
    fn a_disabled_entry_blocks_and_is_not_skipped() {
        let chain = chain();
        let proof = Proof::Certificates(&chain);
        let (mut own, mut near, far) =
            (of_client('1'), of_signer("intermediate", '2'), of_signer("root", '9'));
        near.settings.provisioning_status = Some(ProvisioningStatus::Disabled);
        let blocked = (Some("intermediate".to_owned()), vec![FindingKind::Disabled]);
        assert_eq!(selected(proof, None, &[&far, &near]), blocked);
        own.settings.provisioning_status = Some(ProvisioningStatus::Disabled);
        let blocked = (Some("individual".to_owned()), vec![FindingKind::Disabled]);
        assert_eq!(selected(proof, Some(&own), &[&far]), blocked);
    }

    #[test]
    fn everything_that_refuses_a_device_is_told_at_once() {
        let mut chain = chain();
        chain[0].common_name = Some("pump-0002".to_owned());
        chain[0].info.not_after_utc = time("2026-11-30T00:00:00Z");
        chain[0].for_tls_clients = false;
        chain[1].may_sign = false;
        chain[1].info.not_before_utc = time("2026-12-24T00:00:00Z");
        let far = of_signer("root", '9');
        let (entry, mut kinds) = selected(Proof::Certificates(&chain), None, &[&far]);
        kinds.sort_by_key(|kind| format!("{kind:?}"));
        let expected = [
            FindingKind::CommonName,
            FindingKind::Expired,
            FindingKind::KeyUsage,
            FindingKind::KeyUsage,
            FindingKind::NotYetValid,
        ];
        assert_eq!((entry.as_deref(), kinds.as_slice()), (Some("root"), expected.as_slice()));
        // With the intermediate's own group the intermediate is not a part of the path.
        let near = of_signer("intermediate", '2');
        let (_, kinds) = selected(Proof::Certificates(&chain), None, &[&near]);
        assert!(!kinds.contains(&FindingKind::NotYetValid), "{kinds:?}");
    }

    #[test]
    fn the_certificate_of_the_entry_must_be_valid_too() {
        let (chain, mut far) = (chain(), of_signer("root", '9'));
        let Attestation::X509(X509Attestation::SigningCertificates(pair)) = &mut far.attestation else {
            panic!("{far:?}");
        };
        pair.primary.info.as_mut().unwrap().not_after_utc = time("2026-11-30T00:00:00Z");
        let expired = (Some("root".to_owned()), vec![FindingKind::Expired]);
        assert_eq!(selected(Proof::Certificates(&chain), None, &[&far]), expired);
    }

    #[test]
    fn a_chain_that_ends_too_early_is_told_with_the_missing_certificate() {
        let (mut chain, far) = (chain(), of_signer("root", '9'));
        chain.truncate(1);
        chain[0].signed_by_next = false;
        chain[0].signed_by.clear();
        let entries = Entries { individual: None, groups: std::slice::from_ref(&far), cas: &[] };
        let selection = select(&id(), Proof::Certificates(&chain), entries, now());
        let [finding] = selection.findings.as_slice() else { panic!("{:?}", selection.findings) };
        assert_eq!(finding.kind, FindingKind::ChainIncomplete);
        assert!(finding.text.contains("`CN=ca-2`"), "{}", finding.text);
        chain[0].info.issuer_name = chain[0].info.subject_name.clone();
        let proof = Proof::Certificates(&chain);
        assert_eq!(selected(proof, None, &[&far]), (None, vec![FindingKind::NoEntry]));
        chain.push(certificate("ca-3", "ca-9", '3'));
        let proof = Proof::Certificates(&chain);
        assert_eq!(selected(proof, None, &[&far]), (None, vec![FindingKind::ChainIncomplete]));
    }

    #[test]
    fn an_entry_asks_for_its_own_proof() {
        let chain = chain();
        let presented = Proof::Certificates(&chain);
        let refused = |kind| (Some("individual".to_owned()), vec![kind]);
        let far = of_signer("root", '9');
        let other = of_client('7');
        assert_eq!(selected(presented, Some(&other), &[&far]), refused(FindingKind::DifferentCertificate));
        let by_key = individual(of_key(1));
        assert_eq!(selected(presented, Some(&by_key), &[]), refused(FindingKind::WrongProof));
        let by_name = individual(of_ca("factory"));
        assert_eq!(selected(presented, Some(&by_name), &[]), accepted("individual"));
        let (_, kinds) = selected(presented, Some(&individual(of_ca("sold"))), &[]);
        assert_eq!(kinds, [FindingKind::UnknownCa, FindingKind::ChainIncomplete]);
        let own = token(&keys(1).primary);
        assert_eq!(selected(Proof::Token(&own), Some(&by_name), &[]), refused(FindingKind::WrongProof));
        assert_eq!(selected(Proof::Certificates(&[]), None, &[&far]), (None, vec![FindingKind::NoProof]));
    }

    #[test]
    fn either_key_of_an_entry_or_a_key_that_follows_from_a_groups_lets_in() {
        let own = individual(of_key(1));
        for key in [keys(1).primary, keys(1).secondary] {
            assert_eq!(selected(Proof::Token(&token(&key)), Some(&own), &[]), accepted("individual"));
        }
        let stranger = token(&keys(5).primary);
        let refused = (Some("individual".to_owned()), vec![FindingKind::DifferentKey]);
        assert_eq!(selected(Proof::Token(&stranger), Some(&own), &[]), refused);
        let (first, second) = (group("first", of_key(10)), group("second", of_key(20)));
        let derived = token(&device_keys(&keys(20), &id()).secondary);
        assert_eq!(selected(Proof::Token(&derived), None, &[&first, &second]), accepted("second"));
        let group_key = token(&keys(20).primary);
        assert_eq!(selected(Proof::Token(&group_key), None, &[&second]), (None, vec![FindingKind::NoEntry]));
        // The device's own entry counts even if a group would let it in.
        let refused = (Some("individual".to_owned()), vec![FindingKind::DifferentKey]);
        assert_eq!(selected(Proof::Token(&derived), Some(&own), &[&second]), refused);
    }
}
