//! `cert-tool verify` and `ca import`: names as RFC 5280 §7.1 compares them, and what is said where a chain ends.

use openssl::asn1::{Asn1Integer, Asn1Time, Asn1Type};
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage};
use openssl::x509::{X509, X509Builder, X509NameBuilder};

use crate::support::Shop;

/// A common name in a string type.
type Name<'a> = (Asn1Type, &'a str);

const UTF8: Asn1Type = Asn1Type::UTF8STRING;

fn curve_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

fn certificate(
    (subject, key): (Name<'_>, &PKey<Private>),
    (issuer, issuer_key): (Name<'_>, &PKey<Private>),
    is_ca: bool,
) -> X509 {
    let name = |(kind, text): Name<'_>| {
        let mut name = X509NameBuilder::new().unwrap();
        // The bytes as the string type has them: two or four for each character.
        let zeros = match kind {
            Asn1Type::BMPSTRING => "\0",
            Asn1Type::UNIVERSALSTRING => "\0\0\0",
            _ => "",
        };
        let text: String = text.chars().flat_map(|char| zeros.chars().chain([char])).collect();
        name.append_entry_by_nid_with_type(Nid::COMMONNAME, &text, kind).unwrap();
        name.build()
    };
    let mut builder = X509Builder::new().unwrap();
    builder.set_version(2).unwrap();
    let mut serial = BigNum::new().unwrap();
    serial.rand(120, openssl::bn::MsbOption::ONE, false).unwrap();
    builder.set_serial_number(&Asn1Integer::from_bn(&serial).unwrap()).unwrap();
    builder.set_subject_name(&name(subject)).unwrap();
    builder.set_issuer_name(&name(issuer)).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(9).unwrap()).unwrap();
    if is_ca {
        builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
        let usage = KeyUsage::new().critical().key_cert_sign().crl_sign().build().unwrap();
        builder.append_extension(usage).unwrap();
    } else {
        builder.append_extension(BasicConstraints::new().critical().build().unwrap()).unwrap();
        builder.append_extension(ExtendedKeyUsage::new().client_auth().build().unwrap()).unwrap();
    }
    builder.sign(issuer_key, MessageDigest::sha256()).unwrap();
    builder.build()
}

fn write(shop: &Shop, file: &str, certificates: &[&X509]) {
    let pem: Vec<u8> = certificates.iter().flat_map(|one| one.to_pem().unwrap()).collect();
    std::fs::write(shop.path(file), pem).unwrap();
}

#[test]
fn names_that_differ_in_string_type_case_or_blanks_are_equal() {
    let shop = Shop::new();
    let (root_key, ca_key, key) = (curve_key(), curve_key(), curve_key());
    let spellings = [
        (Asn1Type::PRINTABLESTRING, "Plant Root"),
        (Asn1Type::BMPSTRING, "Plant Root"),
        (Asn1Type::TELETEXSTRING, "Plant Root"),
        (UTF8, "PLANT root"),
        (UTF8, "  Plant   Root "),
    ];
    for other in spellings {
        let root = certificate(((UTF8, "Plant Root"), &root_key), ((UTF8, "Plant Root"), &root_key), true);
        // The root's name is spelt in another way in what it signed, and so is the CA's.
        let ca = certificate(((other.0, "Plant CA"), &ca_key), (other, &root_key), true);
        let leaf = certificate(((UTF8, "a"), &key), ((UTF8, "plant  ca"), &ca_key), false);
        write(&shop, "root.pem", &[&root]);
        write(&shop, "chain.pem", &[&leaf, &ca]);
        let said = shop.run("verify chain.pem --ca root.pem --device-id a");
        assert!(said.out.contains("chain.pem: chain: ok"), "{other:?}: {}", said.out);
        assert_eq!(said.code, 0, "{other:?}: {}", said.out);
    }
    // Another word is another name.
    let root = certificate(((UTF8, "Plant Root"), &root_key), ((UTF8, "Plant Root"), &root_key), true);
    let leaf = certificate(((UTF8, "a"), &key), ((UTF8, "PlantRoot"), &root_key), false);
    write(&shop, "root.pem", &[&root]);
    write(&shop, "leaf.pem", &[&leaf]);
    let said = shop.run("verify leaf.pem --ca root.pem");
    assert!(
        said.out.contains("chain: FAILED: no trusted certificate for the issuer CN=PlantRoot"),
        "{}",
        said.out
    );
}

#[test]
fn a_name_spelt_anew_does_not_make_a_bad_signature_good() {
    let shop = Shop::new();
    let (root_key, stranger, key) = (curve_key(), curve_key(), curve_key());
    let root = certificate(((UTF8, "Plant Root"), &root_key), ((UTF8, "Plant Root"), &root_key), true);
    let leaf =
        certificate(((UTF8, "a"), &key), ((Asn1Type::PRINTABLESTRING, "PLANT ROOT"), &stranger), false);
    write(&shop, "root.pem", &[&root]);
    write(&shop, "leaf.pem", &[&leaf]);
    let said = shop.run("verify leaf.pem --ca root.pem");
    assert_eq!(said.code, 1);
    let told = "chain: FAILED: CN=a is not signed with the key of the CN=Plant Root that is given";
    assert!(said.out.contains(told), "{}", said.out);
}

#[test]
fn a_root_whose_key_changes_is_followed_by_its_self_issued_certificates() {
    let shop = Shop::new();
    let (old_key, new_key, key) = (curve_key(), curve_key(), curve_key());
    let name = (UTF8, "Plant Root");
    let old = certificate((name, &old_key), (name, &old_key), true);
    let new = certificate((name, &new_key), (name, &new_key), true);
    let new_with_old = certificate((name, &new_key), (name, &old_key), true);
    let leaf = certificate(((UTF8, "a"), &key), (name, &new_key), false);
    write(&shop, "old.pem", &[&old]);
    write(&shop, "new.pem", &[&new]);
    write(&shop, "both.pem", &[&old, &new]);
    write(&shop, "leaf.pem", &[&leaf]);
    write(&shop, "chain.pem", &[&leaf, &new_with_old]);
    for good in ["chain.pem --ca old.pem", "leaf.pem --ca new.pem", "leaf.pem --ca both.pem"] {
        let said = shop.run(&format!("verify {good}"));
        assert_eq!(said.code, 0, "{good}: {}", said.out);
    }
    let said = shop.run("verify leaf.pem --ca old.pem");
    let told =
        "CN=a is not signed with the key of the CN=Plant Root that is given: its issuer has a different key";
    assert!(said.code == 1 && said.out.contains(told), "{}", said.out);
}

#[test]
fn a_root_with_a_small_key_is_told_as_such() {
    let shop = Shop::new();
    let (small, key) = (PKey::from_rsa(Rsa::generate(1024).unwrap()).unwrap(), curve_key());
    let name = (UTF8, "Old Root");
    let root = certificate((name, &small), (name, &small), true);
    let leaf = certificate(((UTF8, "a"), &key), (name, &small), false);
    let ca = certificate(((UTF8, "Plant CA"), &key), (name, &small), true);
    write(&shop, "root.pem", &[&root]);
    write(&shop, "leaf.pem", &[&leaf]);
    write(&shop, "ca.pem", &[&ca]);
    let told = "what CN=Old Root has signed is not accepted, because of its key: ";
    let said = shop.run("verify leaf.pem --ca root.pem");
    assert!(said.out.contains(&format!("chain: FAILED: {told}")), "{}", said.out);
    shop.write_secret("ca.key", &String::from_utf8(key.private_key_to_pem_pkcs8().unwrap()).unwrap());
    let said = shop.fails(3, "ca import copy --certificate ca.pem --chain root.pem --key ca.key");
    assert!(said.contains(told) && !said.contains("has not signed"), "{said}");
}

#[test]
fn a_ca_is_imported_whatever_the_spelling_of_its_issuer_s_name() {
    let shop = Shop::new();
    let (root_key, key) = (curve_key(), curve_key());
    let root = certificate(((UTF8, "Plant Root"), &root_key), ((UTF8, "Plant Root"), &root_key), true);
    let ca = certificate(((UTF8, "Plant CA"), &key), ((Asn1Type::BMPSTRING, "PLANT ROOT"), &root_key), true);
    write(&shop, "root.pem", &[&root]);
    write(&shop, "ca.pem", &[&ca]);
    shop.write_secret("ca.key", &String::from_utf8(key.private_key_to_pem_pkcs8().unwrap()).unwrap());
    shop.ok("ca import plant --certificate ca.pem --chain root.pem --key ca.key");
    shop.ok("issue --ca plant --out out --device-id a --days 5");
    shop.ok("verify out/devices/a/chain.pem --ca plant --device-id a");
}

#[test]
fn names_in_old_string_types_are_text() {
    let shop = Shop::new();
    let key = curve_key();
    for kind in [Asn1Type::BMPSTRING, Asn1Type::TELETEXSTRING, Asn1Type::UNIVERSALSTRING] {
        let one = certificate(((kind, "dev01"), &key), ((kind, "dev01"), &key), false);
        write(&shop, "one.pem", &[&one]);
        assert!(shop.ok("show one.pem").contains("CN=dev01"), "{kind:?}");
        let said = shop.run("verify one.pem --ca one.pem --device-id dev01");
        assert!(said.out.contains("common name: ok"), "{kind:?}: {}", said.out);
    }
}

#[test]
fn names_of_cas_are_what_they_look_like() {
    let shop = Shop::new();
    for (name, told) in [
        (" x ", "begins or ends with a blank"),
        ("A,CN=evil", "would be read as a second CN"),
        ("A\u{200b}B", "invisible character U+200B"),
        ("A\u{202e}B", "invisible character U+202E"),
    ] {
        let said = shop.run_args(&["ca", "init", "new", "--name", name]);
        assert_eq!(said.code, 3, "{name:?}: {}", said.err);
        assert!(said.err.contains(told) && !shop.path("new").exists(), "{name:?}: {}", said.err);
    }
}
