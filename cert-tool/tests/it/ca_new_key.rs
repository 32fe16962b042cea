//! CAs with new keys: who trusts them, and what stays as it was.

use std::fs;

use crate::ca_life::{openssl_verifies, vault_and_plant};
use crate::support::Shop;

#[test]
fn a_new_ca_is_trusted_by_those_who_trust_the_old_one_and_the_other_way_round() {
    let shop = Shop::new();
    shop.ok("ca policy ca --max-days 500");
    shop.ok("issue --ca ca --out old --device-id a");
    shop.ok("ca rekey ca new");
    let error = shop.fails(3, "ca rekey ca new");
    assert!(error.contains("`new` is already there"), "{error}");
    assert!(shop.ok("ca show new").contains("max_days 500"));
    shop.ok("issue --ca new --out moved --device-id a");
    let leaf = "moved/devices/a/cert.pem";
    // What the device presents is good for both.
    openssl_verifies(&shop, "ca/root.pem", leaf, &["moved/issuing.pem"]);
    openssl_verifies(&shop, "new/root.pem", leaf, &["moved/issuing.pem"]);
    // An old device, before those who trust the new root only.
    openssl_verifies(
        &shop,
        "new/root.pem",
        "old/devices/a/cert.pem",
        &["old/issuing.pem", "new/old-by-new.pem"],
    );
    for (leaf, root) in [("moved", "ca"), ("moved", "new"), ("old", "ca")] {
        shop.ok(&format!("verify {leaf}/devices/a/chain.pem --ca {root}/root.pem"));
    }
    let text = fs::read_to_string(shop.path("old/devices/a/chain.pem")).unwrap();
    let cross = fs::read_to_string(shop.path("new/old-by-new.pem")).unwrap();
    shop.write("longer.pem", &(text + &cross));
    shop.ok("verify longer.pem --ca new/root.pem");
    assert!(shop.run("verify old/devices/a/chain.pem --ca new/root.pem").code == 1);
    // Both roots know what they have signed, and can take it back.
    assert!(shop.ok("list --ca ca --root").contains("CN=Factory G2 Root CA: current"));
    assert!(shop.ok("list --ca new --root").contains("CN=Factory Root CA: current"));
}

#[test]
fn a_new_key_keeps_the_path_lengths_and_the_shape_of_the_ca() {
    let shop = Shop::new();
    shop.ok("ca init world --root-only --name World --path-length 2");
    shop.ok("ca rekey world world-g2");
    assert!(shop.path("world-g2/new-by-old.pem").exists());
    for file in ["issuing.pem", "issuing.key", "chain.pem"] {
        assert!(!shop.path(&format!("world-g2/{file}")).exists(), "a root only: {file}");
    }
    let shown = shop.openssl("x509 -in world-g2/root.pem -noout -text");
    assert!(shown.contains("CA:TRUE, pathlen:2"), "{shown}");
    shop.ok("ca init plant --name Plant --path-length 1");
    shop.ok("ca rekey plant plant-g2");
    let shown = shop.openssl("x509 -in plant-g2/issuing.pem -noout -text");
    assert!(shown.contains("CA:TRUE, pathlen:1"), "{shown}");
    // What can't be kept is refused, and so is a root that can't sign the other one.
    shop.ok("ca init short --root-only --name Short --path-length 1");
    assert!(shop.fails(3, "ca rekey short short-g2").contains("its path length is 1"));
    assert!(!shop.path("short-g2").exists());
}

#[test]
fn an_issuing_ca_whose_root_is_elsewhere_gets_a_new_key_below_the_same_root() {
    let shop = vault_and_plant();
    let error = shop.fails(3, "ca rekey plant plant-g2");
    for told in ["`cert-tool ca csr NEW_DIR ", "`cert-tool ca sign NEW_DIR/", "`cert-tool ca import NEW_DIR "]
    {
        assert!(error.contains(told), "{error}");
    }
    shop.run_args(&["ca", "csr", "plant-g2", "--name", "Plant G2"]);
    shop.ok("ca sign plant-g2/issuing.csr --ca vault --out plant-g2.pem");
    shop.ok("ca import plant-g2 --certificate plant-g2.pem");
    shop.ok("issue --ca plant-g2 --out out --device-id a");
    openssl_verifies(&shop, "vault/root.pem", "out/devices/a/cert.pem", &["plant-g2/issuing.pem"]);
}

#[cfg(unix)]
#[test]
fn a_ca_with_encrypted_keys_lives_as_long() {
    let shop = Shop::new();
    shop.write_secret("passphrase", "open sesame\n");
    let locked = "--passphrase-file passphrase";
    shop.ok(&format!("ca init plant --name Plant --days 400 {locked}"));
    assert!(shop.fails(3, "ca renew plant --root").contains("is locked"));
    shop.ok(&format!("ca renew plant --root --days 9000 {locked}"));
    shop.ok(&format!("ca renew plant {locked}"));
    shop.ok(&format!("ca crl plant --root --out root.crl {locked}"));
    shop.ok(&format!("ca rekey plant next {locked}"));
    assert!(shop.ok("ca show next").matches("in a file, encrypted").count() == 2);
    shop.ok(&format!("issue --ca next --out out --device-id a {locked}"));
    openssl_verifies(&shop, "plant/root.pem", "out/devices/a/cert.pem", &["out/issuing.pem"]);
}

#[test]
fn roots_that_are_kept_apart_sign_one_another() {
    let shop = Shop::new();
    shop.ok("ca init one --root-only --name One");
    shop.ok("ca init two --root-only --name Two");
    shop.ok("ca init short --root-only --name Short --path-length 1");
    shop.ok("ca cross-sign two/root.pem --ca one --out two-by-one.pem");
    shop.openssl("verify -x509_strict -CAfile one/root.pem two-by-one.pem");
    for (words, told) in [
        ("ca cross-sign ca/issuing.pem --ca one --out x.pem", "is not signed by itself"),
        ("ca cross-sign one/root.pem --ca one --out x.pem", "its key is that of a CA"),
        ("ca cross-sign two/root.pem --ca short --out x.pem", "its path length is 1: a cross-certificate"),
        ("ca cross-sign two/root.pem --ca ca --out two-by-one.pem", "is already there"),
    ] {
        let error = shop.fails(3, words);
        assert!(error.contains(told), "{error}");
    }
    assert!(!shop.path("x.pem").exists());
}

/// The chain of a CA with a new key leads to the new root, and by a cross-certificate to the old one.
#[test]
fn bundles_of_a_ca_with_a_new_key_trust_its_own_root_or_the_old_one() {
    let shop = Shop::new();
    shop.ok("ca init other --name Other");
    shop.ok("ca rekey ca new");
    shop.ok("issue --ca new --device-id a --out out");
    let bundle = "bundle out --all --hub plant7.azure-devices.net";
    for (ca, root) in [("new", "new"), ("new/root.pem", "new"), ("ca", "ca")] {
        let folder = format!("bundles-{}", ca.replace('/', "-"));
        shop.ok(&format!("{bundle} --ca {ca} --out {folder}"));
        let files = format!("{folder}/devices/a");
        let trusted = fs::read_to_string(shop.path(&format!("{files}/root.pem"))).unwrap();
        assert_eq!(trusted, fs::read_to_string(shop.path(&format!("{root}/root.pem"))).unwrap(), "{ca}");
        shop.openssl(&format!(
            "verify -x509_strict -CAfile {files}/root.pem -untrusted {files}/chain.pem {files}/cert.pem"
        ));
    }
    for ca in ["other", "new/issuing.pem"] {
        assert!(
            shop.fails(3, &format!("{bundle} --ca {ca} --out none")).contains("to which the chain"),
            "{ca}"
        );
    }
}

#[test]
fn a_ca_with_a_new_key_names_no_addresses_of_the_old_one() {
    let shop = Shop::new();
    let addresses = |name: &str| {
        format!(
            "--crl-url http://x.example/{name}.crl --issuer-url http://x.example/{name}.crt --root-crl-url \
             http://x.example/{name}root.crl"
        )
    };
    shop.ok(&format!("ca init plant --name Plant {}", addresses("old")));
    shop.ok("ca policy plant --max-days 400");
    shop.write("plant/profile.toml", "[a]\nocsp = [\"http://x.example/ocsp\"]\n[b]\ndays = 3\n");
    let said = shop.run("ca rekey plant silent");
    let told = "profile `a` (silent/profile.toml:1) has addresses of the old CA's lists";
    assert!(said.err.contains(told) && !said.err.contains("profile `b`"), "{}", said.err);
    assert_eq!(said.code, 0, "{}", said.err);
    for told in [
        "`cert-tool ca policy silent --crl-url URL`",
        "`cert-tool ca policy silent --issuer-url URL`",
        "`cert-tool ca policy silent --root --crl-url URL`",
    ] {
        assert!(said.err.contains(told), "{told}: {}", said.err);
    }
    let said = shop.run(&format!("ca rekey plant named --name Named {}", addresses("new")));
    assert!(said.code == 0 && !said.err.contains("ca policy"), "{}", said.err);
    for ca in ["silent", "named"] {
        shop.ok(&format!("issue --ca {ca} --device-id a --out out-{ca}"));
        let mut shown = shop.openssl(&format!("x509 -in {ca}/issuing.pem -noout -text"));
        shown += &shop.openssl(&format!("x509 -in out-{ca}/devices/a/cert.pem -noout -text"));
        assert!(!shown.contains("/old"), "{shown}");
        for address in ["new.crl", "new.crt", "newroot.crl"] {
            assert_eq!(shown.contains(address), ca == "named", "{address}: {shown}");
        }
        assert!(
            fs::read_to_string(shop.path(&format!("{ca}/policy.toml"))).unwrap().contains("max_days = 400")
        );
    }
    shop.ok("ca crl named --out named.crl");
    let said = shop.run("verify out-named/devices/a/cert.pem --ca named --crl named.crl");
    assert!(said.out.contains("revocation: ok"), "{}", said.out);
    // A root only has addresses of its own.
    shop.ok("ca init world --root-only --name World --path-length 2 --crl-url http://x.example/old.crl");
    shop.fails(2, "ca rekey world world-g2 --root-crl-url http://x.example/new.crl");
    assert!(!shop.path("world-g2").exists());
    let error = shop.run("ca rekey world world-g2").err;
    assert!(error.contains("`cert-tool ca policy world-g2 --root --crl-url URL`"), "{error}");
}
