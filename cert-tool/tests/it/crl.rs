//! Revocation lists, judged by OpenSSL.

use cert_tool::{KeyType, RevocationList, RevocationReason, Revoked, Sink, read_certificate};
use openssl::bn::BigNum;
use openssl::x509::{X509, X509Crl};
use time::Duration;

use crate::support::{Factory, Shop, facts, generate, now};

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

/// A shop with a device's certificate, and revocation lists as text says: days from now on which a list
/// begins and ends, and whether it revokes the certificate.
fn lists(lists: &[(&str, i64, i64, bool)]) -> Shop {
    let shop = Shop::new();
    shop.ok("issue --ca ca --device-id a --out out");
    let leaf = read_certificate(&shop.path("out/devices/a/cert.pem")).unwrap();
    let serial = BigNum::from_hex_str(&leaf.serial()).unwrap().to_vec();
    for (number, (file, from, until, is_revoked)) in (1..).zip(lists) {
        let revoked = Revoked { serial: serial.clone(), at: now(), reason: None };
        let list = RevocationList {
            number,
            this_update: now() + Duration::days(*from),
            next_update: now() + Duration::days(*until),
            revoked: if *is_revoked { vec![revoked] } else { Vec::new() },
        };
        let crl = X509Crl::from_der(&shop.factory.ca.sign_crl(&list).unwrap()).unwrap();
        std::fs::write(shop.path(file), crl.to_pem().unwrap()).unwrap();
    }
    shop
}

fn verdict(shop: &Shop, files: &str) -> String {
    let crls: String = files.split(' ').map(|file| format!(" --crl {file}")).collect();
    let said = shop.run(&format!("verify out/devices/a/chain.pem --ca ca{crls}"));
    let line = said.out.lines().find_map(|line| line.split_once("revocation: ")).unwrap();
    line.1.to_owned()
}

#[test]
fn of_several_lists_the_newest_valid_one_counts_in_any_order() {
    let shop = lists(&[
        ("old", -9, 9, false),
        ("new", -1, 9, true),
        ("expired", -9, -1, false),
        ("future", 1, 9, false),
        ("oldest", -20, 20, true),
    ]);
    for revoked in ["old new", "new old", "new future", "expired new", "future new old"] {
        assert_eq!(verdict(&shop, revoked), "FAILED: it, or one of its issuers, is revoked", "{revoked}");
    }
    // What was taken back since is good again.
    assert_eq!(verdict(&shop, "oldest old"), "ok");
    assert_eq!(verdict(&shop, "expired old"), "ok (passed over: the revocation list is too old)");
    assert_eq!(verdict(&shop, "old future"), "ok (passed over: the revocation list is not good yet)");
    assert_eq!(verdict(&shop, "expired"), "FAILED: the revocation list is too old");
    assert_eq!(verdict(&shop, "future"), "FAILED: the revocation list is not good yet");
}

#[test]
fn a_list_of_another_ca_says_nothing() {
    let shop = lists(&[("own", -1, 9, false)]);
    shop.ok("ca init other --name Other");
    shop.ok("ca crl other --out foreign");
    assert_eq!(verdict(&shop, "foreign own"), "ok");
    assert_eq!(verdict(&shop, "foreign"), "FAILED: no revocation list is from its issuer");
}
