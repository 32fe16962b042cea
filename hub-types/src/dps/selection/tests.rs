//! The choice among entries, and its reasons.

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
    assert_eq!(selection.accepted().is_some(), selection.findings.is_empty() && selection.entry.is_some());
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
    let (mut own, mut near, far) = (of_client('1'), of_signer("intermediate", '2'), of_signer("root", '9'));
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

#[test]
fn the_choice_and_all_reasons_are_told_in_one_line() {
    let mut chain = chain();
    let (near, far) = (of_signer("intermediate", '2'), of_signer("root", '9'));
    let groups = [far, near];
    let entries = Entries { individual: None, groups: &groups, cas: &[] };
    let selection = select(&id(), Proof::Certificates(&chain), entries, now());
    assert_eq!(
        selection.to_string(),
        "the enrolment group `intermediate` counts, because its certificate, of `CN=signer`, has signed that of \
         `CN=pump-0001`, and there is no individual enrolment `Pump-0001`"
    );
    let own = of_client('1');
    chain[0].for_tls_clients = false;
    chain[0].common_name = None;
    let entries = Entries { individual: Some(&own), groups: &[], cas: &[] };
    let selection = select(&id(), Proof::Certificates(&chain), entries, now());
    assert_eq!(
        selection.to_string(),
        "the individual enrolment `pump-0001` counts, before all groups; the certificate has not exactly one common \
         name, which must be `Pump-0001`; the certificate is not for TLS clients: its extended key usages lack \
         clientAuth"
    );
    let json = serde_json::to_value(&selection).unwrap();
    assert_eq!(json["entry"]["registrationId"], "pump-0001");
    assert_eq!(json["findings"][1]["kind"], "keyUsage");
}

#[test]
fn a_group_of_a_different_ca_with_the_same_name_is_told() {
    let mut chain = chain();
    chain[1].signed_by.clear();
    let mut other = of_signer("old-root", '7');
    let Attestation::X509(X509Attestation::SigningCertificates(pair)) = &mut other.attestation else {
        panic!("{other:?}");
    };
    pair.primary.info.as_mut().unwrap().subject_name = "CN=ca-9".to_owned();
    let (none, kinds) = selected(Proof::Certificates(&chain), None, &[&other]);
    assert_eq!((none, kinds), (None, vec![FindingKind::OtherCa, FindingKind::ChainIncomplete]));
}

#[test]
fn ids_have_rules_of_their_own() {
    let error = RegistrationId::new("pump_").unwrap_err();
    let refused = refuse_id("pump_", &error);
    assert_eq!(refused.findings[0].kind, FindingKind::Id);
    assert!(refused.to_string().contains("no device can register as `pump_`"), "{refused}");
    let long: RegistrationId = "p".repeat(65).parse().unwrap();
    let chain = chain();
    let entries = Entries { individual: None, groups: &[of_signer("root", '9')], cas: &[] };
    let selection = select(&long, Proof::Certificates(&chain), entries, now());
    assert!(selection.findings.iter().any(|finding| finding.kind == FindingKind::Id), "{selection}");
}
