//! The index beside the CA: who has what, what ends, what was renewed or revoked.

use batch_file::{BatchReader, ReadOptions, RowAuth};

use crate::support::Shop;

#[test]
fn what_was_issued_is_found_by_identity_serial_and_thumbprint() {
    let shop = Shop::new();
    shop.ok("issue --ca ca --count 3 --pattern pump-{:02} --out out");
    shop.ok("issue --ca ca --device-id pump-01 --module-id m --out one");
    let all = json(&shop.ok("list --ca ca --format json"));
    let names: Vec<_> = all.iter().map(|entry| entry["device_id"].as_str().unwrap()).collect();
    assert_eq!(names, ["pump-01", "pump-02", "pump-03", "pump-01"]);
    let text = |n: usize, field: &str| all[n][field].as_str().unwrap().to_owned();
    for which in [
        "--device-id pump-02".to_owned(),
        format!("--serial {}", text(1, "serial").to_lowercase()),
        format!("--thumbprint {}", text(1, "thumbprint")),
        format!("--thumbprint {}", text(1, "thumbprint_sha1")),
    ] {
        let found = json(&shop.ok(&format!("find --ca ca {which} --format json")));
        assert_eq!(found, [all[1].clone()], "{which}");
    }
    let module = json(&shop.ok("find --ca ca --device-id pump-01 --module-id m --format json"));
    assert_eq!(module, [all[3].clone()]);
    let certificate = text(3, "certificate");
    let said = shop.openssl(&format!("x509 -in {certificate} -noout -fingerprint -sha256 -serial"));
    assert!(said.replace(':', "").contains(&text(3, "thumbprint")), "{said}");
    assert!(said.contains(&text(3, "serial")), "{said}");
    assert_eq!(shop.run("find --ca ca --device-id nobody").code, 1);
    // The folder of what was issued is not that of the CA.
    assert!(shop.fails(3, "list --ca out").contains("the CA in `out` can't be used: there is none"));
    assert!(!shop.path("out/index.db").exists());
    assert!(shop.run("list --ca ca --revoked").err.contains("nothing was revoked"));
    assert_eq!(shop.ok("list --ca ca --format csv").lines().count(), 5);
}

#[test]
fn a_second_certificate_must_be_asked_for() {
    let shop = Shop::new();
    shop.ok("issue --ca ca --device-id a --out one");
    let said = shop.fails(1, "issue --ca ca --device-id a --out two");
    assert!(said.contains("already, in") && said.contains("--replace"), "{said}");
    shop.ok("issue --ca ca --device-id a --out two --replace");
    // Again, as after a kill: it is there.
    let again = shop.ok("issue --ca ca --device-id a --out two --replace");
    assert!(again.contains("already there"), "{again}");
    let states: Vec<_> = json(&shop.ok("find --ca ca --device-id a --format json"))
        .iter()
        .map(|entry| entry["state"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(states, ["replaced", "current"]);
    let said = shop.fails(1, "issue --ca ca --device-id a --out one --replace");
    assert!(said.contains("older"), "{said}");
}

#[test]
fn a_ca_issues_no_more_than_its_policy_allows() {
    let shop = Shop::new();
    shop.ok("issue --ca ca --count 3 --pattern a{} --out out");
    shop.ok("ca policy ca --max-certificates 5");
    let said = shop.fails(1, "issue --ca ca --count 9 --pattern a{} --out out");
    assert!(said.contains("policy"), "{said}");
    assert_eq!(json(&shop.ok("list --ca ca --format json")).len(), 5);
    let again = shop.run("issue --ca ca --count 9 --pattern a{} --out out");
    assert!(again.out.starts_with("0 issued, 5 already there, 4 refused"), "{}", again.out);
}

#[test]
fn what_ends_soon_is_renewed_with_both_thumbprints() {
    let shop = Shop::new();
    shop.ok("issue --ca ca --count 3 --pattern old-{} --days 30 --out old");
    shop.ok("issue --ca ca --count 3 --pattern young-{} --days 300 --out young");
    shop.ok("expiring --ca ca --within 60d --out ending.csv");
    let ending = std::fs::read_to_string(shop.path("ending.csv")).unwrap();
    assert_eq!(ending.lines().count(), 4, "{ending}");
    assert!(!ending.contains("young"), "{ending}");
    shop.ok("renew --ca ca --from ending.csv --out renewed");
    let old = rows(&shop, "old");
    let renewed = rows(&shop, "renewed");
    assert_eq!(old.len(), renewed.len());
    for ((name, auth), (renewed_name, renewed_auth)) in old.iter().zip(&renewed) {
        let (RowAuth::X509Thumbprint { primary: before, .. }, RowAuth::X509Thumbprint { primary, secondary }) =
            (auth, renewed_auth)
        else {
            panic!("{auth:?}, {renewed_auth:?}");
        };
        assert_eq!((name, before), (renewed_name, secondary));
        assert_ne!(primary, before);
    }
    // Nothing ends any more, and a second run renews nothing.
    assert_eq!(shop.ok("expiring --ca ca --within 60d"), "");
    let again = shop.ok("renew --ca ca --from ending.csv --out renewed");
    assert!(again.starts_with("0 issued, 3 already there"), "{again}");
    assert!(shop.fails(1, "renew --ca ca --device-id nobody --out renewed2").contains("to renew"));
}

#[test]
fn a_renewal_can_keep_the_key() {
    let shop = Shop::new();
    shop.ok("issue --ca ca --count 2 --pattern d{} --days 30 --out old");
    shop.ok("renew --ca ca --within 60d --same-key --out renewed");
    let entries = json(&shop.ok("list --ca ca --format json"));
    let [d1, d2, new1, new2] = entries.as_slice() else { panic!("{entries:?}") };
    for (old, new) in [(d1, new1), (d2, new2)] {
        assert_eq!(old["public_key_sha256"], new["public_key_sha256"]);
        assert_ne!(old["serial"], new["serial"]);
        assert_eq!(old["private_key"], new["private_key"]);
    }
    // The key is found where it was.
    shop.ok("extract renewed --device-id d2 --out d2");
    let key = shop.openssl("pkey -in d2/key.pem -pubout");
    assert_eq!(key, shop.openssl("x509 -in d2/cert.pem -noout -pubkey"));
}

#[test]
fn revoked_certificates_are_in_the_list_that_openssl_reads() {
    let shop = Shop::new();
    for device in ["good", "bad", "old"] {
        shop.ok(&format!("issue --ca ca --device-id {device} --out out"));
    }
    let serial = json(&shop.ok("find --ca ca --device-id bad --format json"))[0]["serial"].clone();
    shop.ok("revoke --ca ca --device-id bad --reason keyCompromise");
    shop.ok("ca revoke --ca ca --device-id old");
    let said = shop.run("revoke --ca ca --device-id bad --reason superseded");
    assert!(said.code == 0 && said.err.contains("revoked before"), "{}", said.err);
    shop.ok("ca crl ca --out ca.crl");
    shop.ok("ca crl ca --out ca.crl --days 3");
    let crl = shop.openssl("crl -in ca.crl -noout -text");
    for part in ["Version 2", "Key Compromise", "X509v3 CRL Number", "X509v3 Authority Key Identifier"] {
        assert!(crl.contains(part), "{part}: {crl}");
    }
    assert!(crl.contains(serial.as_str().unwrap()) && crl.matches("Serial Number").count() == 2, "{crl}");
    assert!(shop.openssl("crl -in ca.crl -noout -crlnumber").contains("crlNumber=0x02"));
    std::fs::write(
        shop.path("all.pem"),
        ["ca/root.pem", "ca/issuing.pem", "ca.crl"]
            .map(|file| std::fs::read_to_string(shop.path(file)).unwrap())
            .concat(),
    )
    .unwrap();
    let verify = "verify -x509_strict -crl_check -CAfile all.pem";
    shop.openssl(&format!("{verify} out/devices/good/cert.pem"));
    let refused = std::process::Command::new("openssl")
        .args(verify.split(' '))
        .arg("out/devices/bad/cert.pem")
        .current_dir(shop.factory.folder.path())
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("certificate revoked"));
    // A batch that is issued again does not help a revoked device to a certificate.
    assert!(shop.fails(1, "issue --ca ca --device-id bad --out out").contains("revoked"));
    assert!(shop.fails(1, "renew --ca ca --device-id bad --out renewed").contains("revoked"));
    assert_eq!(json(&shop.ok("list --ca ca --revoked --format json")).len(), 2);
}

fn json(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn rows(shop: &Shop, folder: &str) -> Vec<(String, RowAuth)> {
    let path = shop.path(folder).join("issued.csv");
    let batch = BatchReader::open(path, &ReadOptions::default()).unwrap().read_all();
    assert!(batch.bad_rows.is_empty(), "{:?}", batch.bad_rows);
    batch.rows.into_iter().map(|row| (row.identity.to_string(), row.auth)).collect()
}

#[test]
fn what_a_newer_version_wrote_into_the_index_is_an_error_and_no_default() {
    let shop = Shop::new();
    shop.ok("issue --ca ca --device-id a --out out");
    let index = rusqlite::Connection::open(shop.path("ca/index.db")).unwrap();
    for (change, back) in [
        ("auth = 7", "auth = 0"),
        ("revoked_at = 1, reason = 77", "revoked_at = NULL, reason = NULL"),
        ("not_after = 9223372036854775807", "not_after = 1"),
    ] {
        index.execute(&format!("UPDATE certificates SET {change}"), []).unwrap();
        let said = shop.fails(3, "list --ca ca --format json");
        assert!(said.contains("index.db"), "{change}: {said}");
        index.execute(&format!("UPDATE certificates SET {back}"), []).unwrap();
    }
    shop.ok("list --ca ca");
}
