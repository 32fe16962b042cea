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
    assert!(error.contains("a key that is not P-256"), "{error}");
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

/// A key that somebody vouches for, as a secure element's maker sends them on a list.
#[test]
fn bare_public_keys_of_a_batch_are_certified_and_no_key_is_made() {
    let shop = Shop::new();
    for (name, curve) in [("a", "P-256"), ("b", "P-384"), ("c", "P-256"), ("weak", "P-224")] {
        shop.openssl(&format!("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:{curve} -out {name}.key"));
        shop.openssl(&format!("pkey -in {name}.key -pubout -out {name}.pub"));
    }
    shop.openssl("pkey -pubin -in c.pub -pubout -outform DER -out c.der");
    let pem = std::fs::read_to_string(shop.path("b.pub")).unwrap();
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    shop.write(
        "batch.csv",
        &format!(
            "device_id,module_id,public_key\na,,a.pub\nb,,{base64}\nb,m,\"{}\"\nc,,c.der\nweak,,weak.pub\nkey,,a.key\nnone,,none.pub\n",
            std::fs::read_to_string(shop.path("a.pub")).unwrap()
        ),
    );
    let said = shop.run("issue --ca ca --from batch.csv --out out --sink folder");
    assert_eq!(
        (said.code, said.out.starts_with("3 issued, 0 already there, 4 refused")),
        (1, true),
        "{said:?}"
    );
    for (folder, key) in [("devices/a", "a"), ("devices/b", "b"), ("devices/c", "c")] {
        let certified = shop.openssl(&format!("x509 -in out/{folder}/cert.pem -noout -pubkey"));
        assert_eq!(certified, std::fs::read_to_string(shop.path(&format!("{key}.pub"))).unwrap());
        assert!(!shop.path(&format!("out/{folder}/key.pem")).exists());
        shop.factory.assert_openssl_accepts(&shop.path(&format!("out/{folder}/cert.pem")));
    }
    for told in [
        "b/m: its key is that of `a`",
        "weak: its key is not acceptable",
        "`a.key` is a private key, not a public key",
        "none.pub",
    ] {
        assert!(said.err.contains(told), "{told}: {}", said.err);
    }
    let again = shop.run("issue --ca ca --from batch.csv --out out --sink folder");
    assert!(again.out.starts_with("0 issued, 3 already there, 4 refused"), "{again:?}");
}

#[test]
fn a_key_that_no_ca_takes_gets_no_request() {
    let shop = Shop::new();
    shop.bash("openssl genrsa -out e3.pem -3 2048 2>openssl.log && chmod 600 e3.pem");
    let said = shop.fails(3, "csr --device-id d --key e3.pem --out d.csr");
    assert!(said.contains("no request is made: rule `weak_key`: its key is not acceptable"), "{said}");
    assert!(!shop.path("d.csr").exists());
}

#[test]
fn after_a_kill_between_key_and_request_the_way_on_is_told() {
    let shop = Shop::new();
    shop.ok("csr --device-id d --key-out d.key --out d.csr");
    std::fs::remove_file(shop.path("d.csr")).unwrap();
    let said = shop.fails(3, "csr --device-id d --key-out d.key --out d.csr");
    let way_on = said.split('`').find(|part| part.starts_with("--key")).unwrap().to_owned();
    shop.ok(&format!("csr --device-id d {way_on} --out d.csr"));
}
