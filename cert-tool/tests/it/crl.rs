//! Revocation lists, judged by OpenSSL.

use cert_tool::{
    CaOptions, Certificate, CertificateAuthority, CheckName, IssuanceIndex, KeyType, Purpose, RevocationList,
    RevocationReason, Revoked, Sink, Verification, read_certificate, verify_certificate,
};
use openssl::bn::BigNum;
use openssl::x509::{X509, X509Crl};
use proptest::prelude::*;
use time::Duration;

use crate::support::{Factory, Shop, generate, now, record};

#[test]
fn a_revocation_list_is_signed_by_every_kind_of_key_and_names_the_ca() {
    for key_type in [KeyType::P256, KeyType::P384, KeyType::Rsa2048] {
        let factory = Factory::with(key_type);
        let (_, told) = factory.issue(Sink::Folder, vec![generate("device01")]);
        let leaf = read_certificate(&record(&told[0]).certificate).unwrap();
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
        ("oldest", -20, 20, true),
        ("old", -9, 9, false),
        ("new", -1, 9, true),
        ("expired", -9, -1, false),
        ("future", 1, 9, false),
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
fn of_lists_of_one_time_the_one_with_the_highest_number_counts_in_any_order() {
    let shop = lists(&[("clean", -1, 9, false), ("hold", -1, 9, true), ("released", -1, 9, false)]);
    for revoked in ["clean hold", "hold clean"] {
        assert_eq!(verdict(&shop, revoked), "FAILED: it, or one of its issuers, is revoked", "{revoked}");
    }
    for good in ["hold released", "released hold", "released clean hold"] {
        assert_eq!(verdict(&shop, good), "ok", "{good}");
    }
}

/// A list as OpenSSL signs it, with whatever number, or without.
fn list_by_openssl(shop: &Shop, (file, number, second): (&str, Option<u8>, u8), revoked: Option<&str>) {
    let entry = revoked.map(|serial| format!("R\t400101000000Z\t240101000000Z\t{serial}\tunknown\t/CN=a\n"));
    shop.write("database", &entry.unwrap_or_default());
    let number_file = number.map_or("", |_| "crlnumber = number\n");
    shop.write("number", &format!("{:02X}\n", number.unwrap_or_default()));
    let extensions = "crl_extensions=extensions\n[extensions]\nauthorityKeyIdentifier=keyid:always\n";
    let own = format!("[ca]\ndefault_ca=own\n[own]\ndatabase=database\n{number_file}{extensions}");
    shop.write("lists.cnf", &own);
    shop.openssl(&format!(
        "ca -config lists.cnf -gencrl -md sha256 -cert ca/issuing.pem -keyfile ca/issuing.key -crl_lastupdate \
         2401010000{second:02}Z -crl_nextupdate 401231000000Z -out {file}"
    ));
}

#[test]
fn a_list_for_one_distribution_point_covers_no_certificate_without_one() {
    let shop = Shop::new();
    shop.ok("issue --ca ca --device-id a --out out");
    let point = "crl_extensions=extensions\n[extensions]\nauthorityKeyIdentifier=keyid:always\n\
                 issuingDistributionPoint=critical,@point\n[point]\nfullname=URI:http://a.example/2.crl\n";
    shop.write("database", "");
    shop.write("number", "01\n");
    shop.write(
        "lists.cnf",
        &format!("[ca]\ndefault_ca=own\n[own]\ndatabase=database\ncrlnumber=number\n{point}"),
    );
    shop.openssl(
        "ca -config lists.cnf -gencrl -md sha256 -cert ca/issuing.pem -keyfile ca/issuing.key -crl_lastupdate \
         240101000000Z -crl_nextupdate 401231000000Z -out point.crl",
    );
    let verify = "verify out/devices/a/cert.pem --ca ca --crl point.crl";
    let said = shop.run(verify);
    assert!(said.code == 1 && said.out.contains("for one distribution point"), "{}", said.out);
    // A list of all certificates beside it is enough.
    shop.ok("ca crl ca --out all.crl");
    shop.ok(&format!("{verify} --crl all.crl"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    /// Lists with and without numbers, of the same and of different times.
    #[test]
    fn the_order_of_lists_and_certificates_does_not_change_the_verdict(
        lists in proptest::collection::vec((proptest::option::of(1_u8..3), 1_u8..3, any::<bool>()), 2..5),
        seed in Just(()).prop_perturb(|(), random| random),
    ) {
        let shop = Shop::new();
        shop.ok("issue --ca ca --device-id a --out out");
        let leaf = read_certificate(&shop.path("out/devices/a/cert.pem")).unwrap();
        let mut files = Vec::new();
        for (place, (number, second, is_revoked)) in lists.iter().enumerate() {
            let file = format!("{place}.crl");
            let revoked = is_revoked.then(|| leaf.serial());
            list_by_openssl(&shop, (&file, *number, *second), revoked.as_deref());
            files.push(der_of(&shop, &file));
        }
        let above = [shop.path("ca/root.pem"), shop.path("ca/issuing.pem")].map(|path| read_certificate(&path).unwrap());
        let between = vec![above[1].clone(), leaf.clone(), above[0].clone()];
        let judge = |crls: &[Vec<u8>], between: &[Certificate]| {
            let trusted = &above[..1];
            let by = Verification {
                purpose: Purpose::HubCa, trusted, between, crls, expected: None, host: None, thumbprints: &[],
                key: None, at: now(),
            };
            verify_certificate(&leaf, &by)
        };
        let first = judge(&files, &between);
        let mut random = seed;
        for _ in 0..6 {
            let (mut crls, mut between) = (files.clone(), between.clone());
            crls.sort_by_cached_key(|_| random.next_u32());
            between.sort_by_cached_key(|_| random.next_u32());
            prop_assert_eq!(&judge(&crls, &between), &first);
        }
        // Without numbers and at one time, one list that revokes is enough.
        let is_alike = lists.iter().all(|(number, second, _)| number.is_none() && *second == lists[0].1);
        if is_alike {
            let revocation = first.iter().find(|check| check.name == CheckName::Revocation).unwrap();
            prop_assert_eq!(revocation.fault.is_some(), lists.iter().any(|(_, _, is_revoked)| *is_revoked));
        }
    }
}

fn der_of(shop: &Shop, file: &str) -> Vec<u8> {
    X509Crl::from_pem(&std::fs::read(shop.path(file)).unwrap()).unwrap().to_der().unwrap()
}

#[test]
fn of_lists_of_one_time_without_numbers_one_that_revokes_is_enough() {
    let shop = Shop::new();
    shop.ok("issue --ca ca --device-id a --out out");
    let serial = read_certificate(&shop.path("out/devices/a/cert.pem")).unwrap().serial();
    list_by_openssl(&shop, ("clean", None, 1), None);
    list_by_openssl(&shop, ("revokes", None, 1), Some(&serial));
    for both in ["clean revokes", "revokes clean"] {
        assert_eq!(verdict(&shop, both), "FAILED: it, or one of its issuers, is revoked", "{both}");
    }
}

#[test]
fn a_list_of_another_ca_says_nothing() {
    let shop = lists(&[("own", -1, 9, false)]);
    shop.ok("ca init other --name Other");
    shop.ok("ca crl other --out foreign");
    assert_eq!(verdict(&shop, "foreign own"), "ok");
    assert_eq!(verdict(&shop, "foreign"), "FAILED: no revocation list is from its issuer");
}

#[test]
fn a_list_that_would_be_dead_at_birth_is_not_made() {
    let shop = Shop::new();
    for verb in ["ca crl ca --out ca.crl", "ca init new"] {
        let error = shop.fails(2, &format!("{verb} --days 3000000"));
        assert!(error.contains("3000000 days from now is after the year 9999"), "{error}");
        assert!(error.contains("hint: ask for fewer days (--days)"), "{error}");
    }
    assert!(!shop.path("ca.crl").exists() && !shop.path("new").exists());
    // The CA's own end comes first.
    let said = shop.run("ca crl ca --days 90000 --out ca.crl");
    assert!(said.code == 0 && said.err.contains("note: the CA ends on"), "{}", said.err);
}

#[test]
#[cfg(unix)]
fn everybody_may_read_a_list() {
    use std::os::unix::fs::PermissionsExt;

    let shop = Shop::new();
    for _ in 0..2 {
        shop.ok("ca crl ca --out ca.crl");
        assert_eq!(shop.path("ca.crl").metadata().unwrap().permissions().mode() & 0o777, 0o644);
    }
}

#[test]
fn a_clock_that_can_not_be_right_signs_nothing() {
    let factory = Factory::new();
    let index = IssuanceIndex::open_beside(factory.ca.folder()).unwrap();
    for clock in [time::macros::datetime!(1970-01-01 0:00 UTC), time::macros::datetime!(2100-01-01 0:00 UTC)]
    {
        let year = clock.year().to_string();
        let new = factory.path(&year);
        let errors = [
            CertificateAuthority::init(&new, &CaOptions::default(), clock).unwrap_err(),
            index.crl(&factory.ca, 7, clock).unwrap_err(),
            factory.ca.prove("CODE", clock).unwrap_err(),
        ];
        for error in errors {
            let said = error.to_string();
            assert!(said.contains("the system clock says") && said.contains(&year), "{said}");
        }
        assert!(!new.exists());
    }
}

#[test]
fn a_list_that_names_it_and_cant_be_used_leaves_it_open() {
    let shop = lists(&[("own", -1, 9, false)]);
    let leaf = read_certificate(&shop.path("out/devices/a/cert.pem")).unwrap();
    let serial = BigNum::from_hex_str(&leaf.serial()).unwrap().to_vec();
    // A CA of the same name with another key, as after a change of keys.
    let other = Factory::new();
    for (file, until, revoked) in [("names", 9, true), ("silent", 9, false), ("past", -1, true)] {
        let revoked = revoked.then(|| Revoked { serial: serial.clone(), at: now(), reason: None });
        let list = RevocationList {
            number: 1,
            this_update: now() - Duration::days(2),
            next_update: now() + Duration::days(until),
            revoked: revoked.into_iter().collect(),
        };
        let crl = X509Crl::from_der(&other.ca.sign_crl(&list).unwrap()).unwrap();
        std::fs::write(shop.path(file), crl.to_pem().unwrap()).unwrap();
    }
    let unknown = "the revocation list is not signed by its issuer";
    for both in ["own names", "names own"] {
        let told =
            format!("FAILED: a revocation list names it or one of its issuers, but can't be used: {unknown}");
        assert_eq!(verdict(&shop, both), told);
    }
    assert_eq!(verdict(&shop, "own silent"), format!("ok (passed over: {unknown})"));
    assert_eq!(verdict(&shop, "past own"), "ok (passed over: the revocation list is too old)");
}

/// The trusted certificate is an anchor of the validator, which knows no key usage of it.
#[test]
fn a_trusted_ca_without_the_right_to_sign_lists_has_no_list_that_counts() {
    let shop = Shop::new();
    shop.write("database", "");
    shop.write("number", "01\n");
    shop.write(
        "lists.cnf",
        "[ca]\ndefault_ca=own\n[own]\ndatabase=database\ncrlnumber=number\ncrl_extensions=extensions\n\
         [extensions]\nauthorityKeyIdentifier=keyid:always\n",
    );
    shop.write("leaf.cnf", "basicConstraints=critical,CA:FALSE\nauthorityKeyIdentifier=keyid\n");
    shop.openssl("ecparam -name prime256v1 -genkey -noout -out device.key");
    shop.openssl("req -new -key device.key -subj /CN=a -out device.csr");
    for (name, usage, verdict) in [
        ("without", "keyCertSign", "FAILED: its issuer may not sign revocation lists"),
        ("with", "keyCertSign,cRLSign", "ok"),
    ] {
        shop.openssl(&format!("ecparam -name prime256v1 -genkey -noout -out {name}.key"));
        shop.openssl(&format!(
            "req -x509 -key {name}.key -subj /CN={name} -days 9 -addext keyUsage=critical,{usage} -out {name}.pem"
        ));
        shop.openssl(&format!(
            "x509 -req -in device.csr -CA {name}.pem -CAkey {name}.key -days 5 -extfile leaf.cnf -out device.pem"
        ));
        shop.openssl(&format!(
            "ca -config lists.cnf -gencrl -md sha256 -cert {name}.pem -keyfile {name}.key -crldays 5 -out {name}.crl"
        ));
        let said = shop.run(&format!("verify device.pem --ca {name}.pem --crl {name}.crl"));
        let line = said.out.lines().find_map(|line| line.split_once("revocation: ")).unwrap();
        assert_eq!((line.1, said.code), (verdict, i32::from(verdict != "ok")), "{name}");
    }
}

#[test]
fn a_compromised_key_gets_no_other_certificate() {
    let shop = Shop::new();
    shop.ok("csr --device-id d1 --key-out d1.key --out d1.csr");
    shop.openssl("pkey -in d1.key -pubout -out d1.pub");
    shop.ok("sign d1.csr --ca ca --out first");
    shop.write("csr.csv", "device_id,csr\nd1,d1.csr\n");
    shop.write("key.csv", "device_id,public_key\nd1,d1.pub\n");
    // The device has a new key when the loss of the old one is told.
    shop.ok("issue --ca ca --device-id d1 --replace --out second");
    let stolen = read_certificate(&shop.path("first/devices/d1/cert.pem")).unwrap();
    shop.ok(&format!("revoke --ca ca --serial {} --reason keyCompromise", stolen.serial()));
    for door in [
        "issue --ca ca --from csr.csv --replace --out third",
        "issue --ca ca --from key.csv --replace --out third",
        "renew --ca ca --from csr.csv --out third",
    ] {
        let said = shop.run(door);
        let told = format!("{}{}", said.out, said.err);
        assert!(said.code == 1 && told.contains("its key is compromised"), "{door}: {told}");
        assert!(!shop.path("third/devices/d1").exists(), "{door}");
    }
    // A new key is good.
    shop.ok("renew --ca ca --device-id d1 --out fourth");
}
