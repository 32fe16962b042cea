//! `cert-tool verify`.

use crate::support::Shop;

#[test]
fn a_good_certificate_passes_and_another_identity_does_not() {
    let shop = Shop::new();
    shop.ok("issue --ca ca --device-id a --module-id m --out out");
    let chain = "out/modules/a/m/chain.pem";
    let said = shop.ok(&format!("verify {chain} --ca ca/root.pem --device-id a --module-id m"));
    let checks: Vec<_> = said.lines().map(|line| line.strip_prefix(&format!("{chain}: ")).unwrap()).collect();
    assert_eq!(
        checks,
        [
            "chain: ok",
            "dates: ok",
            "usage: ok",
            "not a CA: ok",
            "common name: ok",
            "key: ok",
            "signature: ok",
            "serial number: ok",
            "extensions: ok",
            "name constraints: ok",
            "profile: ok",
        ]
    );
    shop.ok("verify out/modules/a/m/cert.pem --ca ca --format json");
    let said = shop.run(&format!("verify {chain} --ca ca/root.pem --device-id a"));
    assert_eq!(said.code, 1);
    assert!(said.out.contains("common name: FAILED: it is `a/m`, not `a`"), "{}", said.out);
}

#[test]
fn every_fault_has_a_line_of_its_own() {
    let shop = Shop::new();
    shop.ok("ca init other --name Other");
    shop.ok("issue --ca ca --device-id a --out out");
    let cases = [
        ("verify out/devices/a/chain.pem --ca other", "chain: FAILED: no trusted certificate for the issuer"),
        ("verify ca/issuing.pem --ca ca/root.pem", "not a CA: FAILED"),
        ("verify old.pem --ca old.pem", "dates: FAILED: it was good until"),
        ("verify server.pem --ca ca", "usage: FAILED"),
    ];
    shop.openssl("ecparam -name prime256v1 -genkey -noout -out key.pem");
    shop.openssl(
        "req -x509 -new -key key.pem -subj /CN=a -days 1 -addext extendedKeyUsage=serverAuth -out server.pem",
    );
    expired(&shop);
    for (words, fault) in cases {
        let said = shop.run(words);
        assert_eq!(said.code, 1, "{words}");
        assert!(said.out.contains(fault), "{words}: {}", said.out);
    }
}

#[test]
fn the_key_must_be_the_one_that_it_is_for() {
    let shop = Shop::new();
    shop.ok("issue --ca ca --device-id a --out out");
    shop.ok("issue --ca ca --device-id b --out out");
    let said = shop.ok("verify out/devices/a/cert.pem --ca ca --key out/devices/a/key.pem");
    assert!(said.contains("private key: ok"), "{said}");
    let said = shop.run("verify out/devices/a/cert.pem --ca ca --key out/devices/b/key.pem");
    assert_eq!(said.code, 1);
    assert!(said.out.contains("private key: FAILED: the key (P-256) is not the one"), "{}", said.out);
    // A PFX file brings its key along; the chain may stand before the device's own certificate.
    shop.openssl(
        "pkcs12 -export -in out/devices/a/chain.pem -inkey out/devices/a/key.pem -passout pass:x -out a.pfx",
    );
    shop.write_secret("password", "x");
    let said = shop.ok("verify a.pfx --ca ca/root.pem --device-id a --password-file password");
    assert!(said.contains("private key: ok"), "{said}");
}

#[test]
fn a_thumbprint_that_the_hub_knows_stands_for_the_chain() {
    let shop = Shop::new();
    shop.openssl("ecparam -name prime256v1 -genkey -noout -out key.pem");
    shop.openssl(
        "req -x509 -new -key key.pem -subj /CN=a -days 9 -addext extendedKeyUsage=clientAuth \
         -addext basicConstraints=critical,CA:FALSE -out a.pem",
    );
    let shown = shop.openssl("x509 -in a.pem -noout -fingerprint -sha1");
    let sha1 = shown.trim().split_once('=').unwrap().1;
    let said = shop.ok(&format!("verify a.pem --thumbprint {} --thumbprint {sha1}", "00".repeat(32)));
    assert!(said.contains("thumbprint: ok") && !said.contains("chain"), "{said}");
    let said = shop.run(&format!("verify a.pem --thumbprint {} --device-id b", "00".repeat(20)));
    assert_eq!(said.code, 1);
    assert!(said.out.contains("thumbprint: FAILED: it is "), "{}", said.out);
    assert!(said.out.contains("common name: FAILED: it is `a`, not `b`"), "{}", said.out);
    assert!(shop.fails(2, "verify a.pem").contains("--ca <PATH>"));
    assert!(shop.fails(2, "verify a.pem --thumbprint 12").contains("--thumbprint"));
}

#[test]
fn the_time_can_be_given() {
    let shop = Shop::new();
    shop.ok("issue --ca ca --device-id a --out out --days 10");
    let verify = "verify out/devices/a/chain.pem --ca ca/root.pem --at";
    let said = shop.run(&format!("{verify} 2001-01-01"));
    assert_eq!(said.code, 1);
    assert!(said.out.contains("chain: ok"), "{}", said.out);
    assert!(said.out.contains("dates: FAILED: it is good from "), "{}", said.out);
    let said = shop.run(&format!("{verify} 2099-01-01T00:00:00+02:00"));
    assert!(said.out.contains("dates: FAILED: it was good until "), "{}", said.out);
    assert!(said.out.contains("; CN=Factory Root CA: it was good until "), "the root too: {}", said.out);
    assert!(shop.fails(2, &format!("{verify} tomorrow")).contains("it must look like 2027-01-31"));
}

#[test]
fn what_is_no_certificate_is_told_and_the_others_are_looked_at() {
    let shop = Shop::new();
    shop.ok("issue --ca ca --device-id a --out out");
    shop.ok("csr --device-id b --key-out key.pem --out b.csr");
    let good = "out/devices/a/chain.pem";
    for (file, found) in [
        ("key.pem", "`key.pem` is a private key, not a certificate"),
        ("b.csr", "`b.csr` is a certificate request, not a certificate"),
        ("none.pem", "can't open `none.pem`"),
    ] {
        let said = shop.run(&format!("verify {file} {good} --ca ca"));
        assert_eq!(said.code, 1);
        assert!(said.err.contains(found), "{}", said.err);
        assert!(said.out.contains(&format!("{good}: chain: ok")), "{}", said.out);
    }
    let two = [
        std::fs::read(shop.path("key.pem")).unwrap(),
        std::fs::read(shop.path("out/devices/a/key.pem")).unwrap(),
    ];
    std::fs::write(shop.path("two.pem"), two.concat()).unwrap();
    let said = shop.fails(2, &format!("verify {good} --ca ca --key two.pem"));
    assert!(said.contains("`two.pem` has 2 keys, not one"), "{said}");
    std::fs::write(shop.path("both.pem"), [two.concat(), std::fs::read(shop.path(good)).unwrap()].concat())
        .unwrap();
    let said = shop.run("verify both.pem --ca ca").err;
    assert!(said.contains("`both.pem` is a file with 2 private keys, not a certificate"), "{said}");
    std::fs::write(shop.path("many.pem"), std::fs::read(shop.path(good)).unwrap().repeat(101)).unwrap();
    let said = shop.run("verify many.pem --ca ca").err;
    assert!(said.contains("`many.pem` has more than 100 certificates") && said.contains("--each"), "{said}");
    let said = shop.fails(2, &format!("verify {good} --ca ca --crl ca/root.pem"));
    assert!(said.contains("`ca/root.pem` is not a revocation list"), "{said}");
    assert!(shop.fails(3, &format!("verify {good} --ca key.pem")).contains("`key.pem` is a private key"));
}

fn expired(shop: &Shop) {
    use openssl::asn1::Asn1Time;
    use openssl::hash::MessageDigest;
    use openssl::pkey::PKey;
    use openssl::x509::{X509Builder, X509NameBuilder};

    let key = PKey::private_key_from_pem(&std::fs::read(shop.path("key.pem")).unwrap()).unwrap();
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "a").unwrap();
    let name = name.build();
    let mut builder = X509Builder::new().unwrap();
    builder.set_version(2).unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&Asn1Time::from_unix(1_000_000_000).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::from_unix(1_100_000_000).unwrap()).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    std::fs::write(shop.path("old.pem"), builder.build().to_pem().unwrap()).unwrap();
}

#[test]
fn a_file_that_is_not_there_is_bad_input() {
    let shop = Shop::new();
    shop.ok("issue --ca ca --device-id a --out out");
    for words in [
        "verify out/devices/a/chain.pem --ca missing.pem",
        "verify out/devices/a/chain.pem --ca ca --crl missing.pem",
        "verify out/devices/a/chain.pem --ca ca --key missing.pem",
        "convert missing.pem --to der --out out.der",
        "csr --device-id a --key missing.pem --out a.csr",
        "ca cross-sign missing.pem --ca ca --out cross.pem",
        "ca import new --certificate missing.pem",
        "bundle out --all --hub h.example --ca missing.pem --out bundles",
        "extract missing.pem --device-id a --out files",
    ] {
        let said = shop.fails(2, words);
        assert!(said.contains("missing.pem"), "{words}: {said}");
    }
    // A CA that is not there is no input.
    shop.fails(3, "issue --ca missing --device-id a --out out-b");
}

#[test]
fn verbs_that_need_no_profile_do_not_read_it() {
    let shop = Shop::new();
    shop.ok("issue --ca ca --device-id a --out out");
    shop.write("ca/profile.toml", "no_such_key = 1\n");
    shop.ok("verify out/devices/a/chain.pem --ca ca");
    shop.ok("revoke --ca ca --device-id a");
    shop.ok("ca crl ca --out ca.crl");
    shop.fails(1, "verify out/devices/a/chain.pem --ca ca --crl ca.crl");
    shop.ok("ca prove ca --code CODE --out proof.pem");
    assert!(shop.fails(3, "issue --ca ca --device-id b --out out").contains("profile.toml"));
    // A CA is shown and renewed, and its policy is set, whatever its profiles are.
    let told = "profiles:   none can be used, so nothing is issued: ca/profile.toml:1: ";
    for line in [
        "ca show ca",
        "ca renew ca --days 3700",
        "ca renew ca --root --days 9000",
        "ca policy ca --max-days 90",
    ] {
        let shown = shop.ok(line);
        assert!(shown.contains(told), "{line}: {shown}");
    }
    let shown = shop.ok("ca show ca --format json");
    assert!(shown.contains("\"profile_fault\":\"ca/profile.toml:1: "), "{shown}");
    // So is a new CA beside a file that was put there first.
    shop.ok("ca csr plant --name Plant");
    shop.write("plant/profile.toml", "no_such_key = 1\n");
    shop.ok("ca sign plant/issuing.csr --ca ca --out plant.pem");
    assert!(shop.ok("ca import plant --certificate plant.pem").contains("plant/profile.toml:1: "));
}

#[test]
fn a_ca_without_key_usage_is_told_of() {
    let shop = Shop::new();
    shop.write("bare.cnf", "basicConstraints=critical,CA:TRUE\nsubjectKeyIdentifier=hash\n");
    shop.openssl("req -new -key ca/issuing.key -subj /CN=Bare -out bare.csr");
    shop.openssl("x509 -req -in bare.csr -key ca/issuing.key -days 900 -extfile bare.cnf -out bare.pem");
    let said = shop.run("ca import bare --certificate bare.pem --key ca/issuing.key");
    let told = "CN=Bare: it is a CA's, and has no key usage (RFC 5280 §4.2.1.3)";
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.err.contains("warning: ") && said.err.contains(told), "{}", said.err);
    shop.ok("issue --ca bare --device-id a --out out");
    let to_hub = shop.ok("verify out/devices/a/chain.pem --ca bare.pem");
    assert!(to_hub.contains(&format!("profile: advice: {told}")), "{to_hub}");
    // RFC 5280 §6.1.4: validation looks at a key usage that is there.
    let strict = shop.ok("verify out/devices/a/chain.pem --ca bare.pem --for tls-client");
    assert!(strict.contains(&format!("profile: advice: {told}")), "{strict}");
}
