//! `cert-tool verify`.

use crate::support::Shop;

#[test]
fn a_good_certificate_passes_and_another_identity_does_not() {
    let shop = Shop::new();
    shop.ok("issue --ca ca --device-id a --module-id m --out out");
    let chain = "out/modules/a/m/chain.pem";
    assert_eq!(
        shop.ok(&format!("verify {chain} --ca ca/root.pem --device-id a --module-id m")).lines().count(),
        5
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
        ("verify ca/issuing.pem --ca ca/root.pem", "usage: FAILED: its extended key usage lacks clientAuth"),
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
