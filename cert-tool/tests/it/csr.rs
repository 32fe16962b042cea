//! `cert-tool csr`.

use crate::support::Shop;

#[test]
fn a_request_and_its_key_are_good_in_openssl() {
    let shop = Shop::new();
    shop.ok("csr --device-id device01 --module-id module01 --key-out key.pem --out module01.csr");
    let shown = shop.openssl("req -in module01.csr -noout -verify -subject -nameopt RFC2253");
    assert!(shown.contains("CN=device01/module01"), "{shown}");
    assert_eq!(shop.openssl("pkey -in key.pem -pubout"), shop.openssl("req -in module01.csr -noout -pubkey"));
    let error = shop.fails(3, "csr --device-id device02 --key-out key.pem --out other.csr");
    assert!(error.contains("`key.pem` is already there"), "{error}");
    shop.ok("csr --device-id device02 --key key.pem --out other.csr");
}

#[test]
fn an_openssl_key_will_do_in_either_form() {
    let shop = Shop::new();
    shop.openssl("ecparam -name prime256v1 -genkey -out sec1.pem");
    shop.openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out pkcs8.pem");
    shop.openssl("genpkey -algorithm ED25519 -out ed25519.pem");
    for key in ["sec1.pem", "pkcs8.pem"] {
        shop.ok(&format!("csr --device-id d --key {key} --out {key}.csr"));
    }
    let error = shop.fails(3, "csr --device-id d --key ed25519.pem --out d.csr");
    assert!(error.contains("a key of another kind"), "{error}");
}

#[test]
fn a_batch_of_requests_is_a_batch_to_issue_from() {
    let shop = Shop::new();
    shop.write("batch.csv", "device_id,module_id,auth\nDev1,,\nDev1,m,\nkeys,,sas\n");
    assert_eq!(shop.ok("csr --from batch.csv --out requests").lines().count(), 2);
    let said = shop.ok("issue --ca ca --from requests/requests.csv --out out");
    assert!(said.starts_with("2 issued, 0 already there, 0 refused"), "{said}");
    assert_eq!(std::fs::metadata(shop.path("out/private-keys.pem")).unwrap().len(), 0);
}
