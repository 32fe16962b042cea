//! Revocation lists, judged by OpenSSL.

use cert_tool::{KeyType, RevocationList, RevocationReason, Revoked, Sink, read_certificate};
use openssl::bn::BigNum;
use openssl::x509::{X509, X509Crl};
use time::Duration;

use crate::support::{Factory, facts, generate, now};

#[test]
fn a_revocation_list_is_signed_by_every_kind_of_key_and_names_the_ca() {
    for key_type in [KeyType::P256, KeyType::P384, KeyType::Rsa2048] {
        let factory = Factory::with(key_type);
        let (_, told) = factory.issue(Sink::Folder, vec![generate("device01")]);
        let leaf = read_certificate(&facts(&told[0]).certificate).unwrap();
        let serial = BigNum::from_hex_str(&leaf.serial()).unwrap().to_vec();
        let list = RevocationList {
            number: 7,
            this_update: now(),
            next_update: now() + Duration::days(30),
            revoked: vec![Revoked { serial, at: now(), reason: Some(RevocationReason::KeyCompromise) }],
        };
        let crl = X509Crl::from_der(&factory.ca.sign_crl(&list).unwrap()).unwrap();
        let issuing = X509::from_der(factory.ca.issuing_certificate().der()).unwrap();
        assert!(crl.verify(&issuing.public_key().unwrap()).unwrap(), "{key_type}");
        assert_eq!(crl.issuer_name().to_der().unwrap(), issuing.subject_name().to_der().unwrap());
        let leaf = X509::from_der(leaf.der()).unwrap();
        assert!(matches!(crl.get_by_cert(&leaf), openssl::x509::CrlStatus::Revoked(_)));
    }
}
