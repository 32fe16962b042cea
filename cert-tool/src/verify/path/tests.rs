//! Searches among many CA certificates: the verdict, and the number of signatures that were verified.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use time::OffsetDateTime;
use time::macros::datetime;

use super::*;
use crate::verify::{Purpose, Verifier};

const AT: OffsetDateTime = datetime!(2027-06-01 0:00 UTC);

/// A CA: its name, its key and the end of its certificates.
struct Authority {
    name: String,
    key: KeyPair,
    until: OffsetDateTime,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        Self { name: name.to_owned(), key, until: datetime!(2028-01-01 0:00 UTC) }
    }

    fn params(&self) -> CertificateParams {
        let mut params = params(&self.name);
        params.not_after = self.until;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
    }

    /// Its certificate, signed by a CA.
    fn signed_by(&self, issuer: &Self) -> Certificate {
        let certificate = self.params().signed_by(&self.key, &Issuer::new(issuer.params(), &issuer.key));
        Certificate::from_der(certificate.unwrap().der()).unwrap()
    }

    fn root(&self) -> Certificate {
        let certificate = CertifiedIssuer::self_signed(self.params(), &self.key).unwrap();
        Certificate::from_der(certificate.der()).unwrap()
    }

    fn device(&self) -> Certificate {
        let mut params = params("device01");
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &Issuer::new(self.params(), &self.key)).unwrap();
        Certificate::from_der(certificate.der()).unwrap()
    }
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = datetime!(2027-01-01 0:00 UTC);
    params.not_after = datetime!(2028-01-01 0:00 UTC);
    params.use_authority_key_identifier_extension = true;
    params
}

/// CAs with five names and five keys for each name. Each has a certificate of one CA of each name: 125
/// certificates.
fn dense() -> (Vec<Authority>, Vec<Certificate>) {
    let all: Vec<_> = (0..25).map(|place| Authority::new(&format!("CA {}", place % 5))).collect();
    let signed = |(place, lower): (usize, &Authority)| -> Vec<_> {
        (0..5).map(|step| lower.signed_by(&all[(place * 5 + step * 6 + 1) % 25])).collect()
    };
    let certificates = all.iter().enumerate().flat_map(signed).collect();
    (all, certificates)
}

/// The faults of a chain, and the number of signatures that were verified.
fn judge(leaf: &Certificate, trusted: &[Certificate], between: &[Certificate]) -> (Vec<String>, usize) {
    let by = Verification {
        purpose: Purpose::HubCa,
        trusted,
        between,
        crls: &[],
        expected: None,
        host: None,
        thumbprints: &[],
        key: None,
        at: AT,
    };
    let verifier = Verifier::new(&by);
    let faults = verifier.verify(leaf).into_iter().filter_map(|check| check.fault);
    (faults.collect(), verifier.paths.as_ref().unwrap().signed.count())
}

#[test]
fn among_cas_that_all_sign_one_another_no_way_is_found_at_once() {
    let (all, between) = dense();
    assert_eq!(between.len(), 125);
    let leaf = all[0].device();
    // Neither a root of a different name, nor one that has the name of a CA and has signed nothing.
    for root in [Authority::new("Root"), Authority::new("CA 1")] {
        let (faults, count) = judge(&leaf, &[root.root()], &between);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(!faults[0].contains("given up"), "{faults:?}");
        assert!(count <= 200, "{count} signatures");
    }
}

#[test]
fn the_good_way_is_found_wherever_it_is_among_125_certificates() {
    let (all, mut between) = dense();
    let root = Authority::new("Root");
    between.push(all[7].signed_by(&root));
    for ca in &all {
        let (faults, count) = judge(&ca.device(), &[root.root()], &between);
        assert_eq!(faults, [""; 0], "below {}", ca.name);
        assert!(count <= 5000, "{count} signatures");
    }
}

#[test]
fn a_search_that_is_given_up_says_so_beside_the_faults_of_the_best_way() {
    let (all, mut between) = dense();
    let mut root = Authority::new("Root");
    between.extend(all.iter().map(|ca| ca.signed_by(&root)));
    root.until = AT - time::Duration::DAY;
    let (faults, count) = judge(&all[0].device(), &[root.root()], &between);
    assert!(faults.iter().any(|fault| fault.contains("Root: it was good until")), "{faults:?}");
    assert!(faults.iter().any(|fault| fault.contains("was given up")), "{faults:?}");
    assert!(count <= 6000, "{count} signatures");
}

#[test]
fn more_issuers_than_the_validator_follows_are_counted() {
    let line: Vec<_> = (0..9).map(|place| Authority::new(&format!("CA {place}"))).collect();
    let between: Vec<_> = line.windows(2).map(|two| two[1].signed_by(&two[0])).collect();
    let (faults, _) = judge(&line[6].device(), &[line[0].root()], &between);
    assert_eq!(faults, [""; 0], "six issuers");
    let (faults, _) = judge(&line[7].device(), &[line[0].root()], &between);
    assert!(faults[0].contains("more than six CAs"), "{faults:?}");
}

#[test]
fn a_certificate_that_is_given_many_times_counts_once() {
    let (root, ca) = (Authority::new("Root"), Authority::new("CA"));
    let between = vec![ca.signed_by(&root); 5000];
    let (faults, count) = judge(&ca.device(), &[root.root()], &between);
    assert_eq!(faults, [""; 0]);
    assert!(count <= 4, "{count} signatures");
}
