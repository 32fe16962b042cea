//! Files that the program wrote before its types were renamed still mean the same: a CA with its
//! policy, its profiles and its index, and the folder that it issued to. They are in `fixtures/old`.

use std::fs;
use std::path::Path;

use rusqlite::Connection;

use crate::support::Shop;

/// Copies the CA and its output to the folder of a shop, as `old/ca` and `old/issued`.
fn old_factory() -> Shop {
    let shop = Shop::new();
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/old");
    for folder in ["ca", "issued"] {
        let copy = shop.path("old").join(folder);
        fs::create_dir_all(&copy).unwrap();
        #[cfg(unix)]
        fs::set_permissions(&copy, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        for file in fs::read_dir(old.join(folder)).unwrap() {
            let path = file.unwrap().path();
            let name = format!("old/{folder}/{}", path.file_name().unwrap().to_str().unwrap());
            shop.write_secret(&name, &fs::read_to_string(&path).unwrap());
        }
    }
    let sql = fs::read_to_string(old.join("ca/index.sql")).unwrap();
    Connection::open(shop.path("old/ca/index.db")).unwrap().execute_batch(&sql).unwrap();
    shop
}

#[test]
fn an_old_index_has_the_certificates_that_it_had() {
    let shop = old_factory();
    let list = shop.ok("list --ca old/ca --format json");
    let entries: Vec<serde_json::Value> = list.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    let rows = fs::read_to_string(shop.path("old/issued/issued.csv")).unwrap();
    assert_eq!(entries.len(), rows.lines().skip(1).count());
    for (entry, row) in entries.iter().zip(rows.lines().skip(1)) {
        for field in ["device_id", "serial", "thumbprint", "thumbprint_sha1", "not_before", "not_after"] {
            let value = entry[field].as_str().unwrap();
            assert!(row.contains(value), "{field} is {value} and not in {row}");
        }
    }
    let revoked: Vec<_> = entries.iter().map(|entry| entry["revoked_at"].as_str()).collect();
    assert_eq!(revoked, [None, Some("2026-11-30T19:01:40Z"), None]);
}

#[test]
fn an_old_ca_issues_to_an_old_output_by_its_policy_and_its_profiles() {
    let shop = old_factory();
    let shown = shop.ok("ca show old/ca");
    assert!(
        shown.contains("identities pump-[0-9]+(/.*)?, max_days 400, max_certificates 10, key_types P-256"),
        "{shown}"
    );
    let issue =
        |device: &str| format!("issue --ca old/ca --device-id {device} --out old/issued --sink bundle");
    assert!(shop.ok(&issue("pump-1")).contains("already there"));
    assert!(shop.fails(1, &issue("valve-1")).contains("identities"));
    shop.ok(&format!("{} --profile plant", issue("pump-4")));
    assert_eq!(shop.ok("list --ca old/ca --format json").lines().count(), 4);
    for device in ["pump-3", "pump-4"] {
        shop.ok(&format!("extract --device-id {device} --out {device} old/issued"));
        shop.openssl(&format!(
            "verify -x509_strict -CAfile old/ca/root.pem -untrusted {device}/chain.pem {device}/cert.pem"
        ));
    }
    assert!(shop.openssl("x509 -in pump-4/cert.pem -noout -subject").contains("Acme"));
}
