//! The contents of certificates, judged by independent tools.

use cert_tool::{CsrInput, IssueOptions, IssueRequest, KeySource, KeyType, Sink, read_certificate};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::{X509NameBuilder, X509ReqBuilder};
use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate};

use crate::support::{Factory, facts, generate, id, now};

#[test]
fn openssl_accepts_every_kind_of_key() {
    for ca_type in [KeyType::P256, KeyType::P384, KeyType::Rsa2048] {
        let factory = Factory::with(ca_type);
        for key_type in [KeyType::P256, KeyType::P384, KeyType::Rsa2048] {
            let options = IssueOptions { key_type, ..IssueOptions::new(now()) };
            let (_, told) = factory.issue_as(Sink::Folder, &options, vec![generate(&format!("d{key_type}"))]);
            factory.assert_openssl_accepts(&facts(&told[0]).certificate);
        }
        for (name, key) in requested_keys() {
            let key = KeySource::Csr(CsrInput::Pem(request(name, &key)));
            let (_, told) = factory.issue(Sink::Folder, vec![IssueRequest::new(id(name), key)]);
            factory.assert_openssl_accepts(&facts(&told[0]).certificate);
        }
    }
}

#[test]
fn a_leaf_is_a_client_and_nothing_else() {
    let factory = Factory::new();
    let (_, told) = factory.issue(Sink::Folder, vec![generate("device01/module01")]);
    let certificate = read_certificate(&facts(&told[0]).certificate).unwrap();
    let (_, leaf) = X509Certificate::from_der(certificate.der()).unwrap();
    let (_, issuing) = X509Certificate::from_der(factory.ca.issuing_certificate().der()).unwrap();
    assert_eq!(leaf.issuer().as_raw(), issuing.subject().as_raw());
    assert_eq!(leaf.subject().to_string(), "CN=device01/module01");
    // Tag 12: UTF8String.
    assert_eq!(leaf.subject().iter_common_name().next().unwrap().attr_value().header.tag().0, 12);
    let shown: Vec<_> = leaf
        .extensions()
        .iter()
        .map(|extension| {
            let what = match extension.parsed_extension() {
                ParsedExtension::AuthorityKeyIdentifier(_) => "authority key identifier",
                ParsedExtension::BasicConstraints(it) if !it.ca => "no CA",
                ParsedExtension::ExtendedKeyUsage(it) if it.client_auth && !it.server_auth && !it.any => {
                    "client"
                }
                ParsedExtension::KeyUsage(it) if it.flags == 1 => "digital signature",
                ParsedExtension::SubjectKeyIdentifier(it) => {
                    let point = &leaf.public_key().subject_public_key.data;
                    assert_eq!(it.0, openssl::sha::sha1(point));
                    "subject key identifier"
                }
                other => panic!("{other:?}"),
            };
            (what, extension.critical)
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("authority key identifier", false),
            ("digital signature", true),
            ("client", false),
            ("subject key identifier", false),
            ("no CA", true),
        ]
    );
    assert_eq!(leaf.raw_serial().len(), 16);
    assert!(leaf.validity().not_before.to_datetime() < now());
    assert_eq!((leaf.validity().not_after.to_datetime() - now()).whole_days(), 364);
}

#[test]
fn the_issuing_ca_issues_no_cas() {
    let factory = Factory::new();
    let (_, issuing) = X509Certificate::from_der(factory.ca.issuing_certificate().der()).unwrap();
    let constraints = issuing.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && constraints.value.ca);
    assert_eq!(constraints.value.path_len_constraint, Some(0));
    let usage = issuing.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign());
    assert!(!usage.value.digital_signature());
}

fn requested_keys() -> [(&'static str, PKey<Private>); 3] {
    let ec = |curve| {
        PKey::from_ec_key(EcKey::generate(&EcGroup::from_curve_name(curve).unwrap()).unwrap()).unwrap()
    };
    [
        ("p256", ec(Nid::X9_62_PRIME256V1)),
        ("p384", ec(Nid::SECP384R1)),
        ("rsa", PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap()),
    ]
}

/// A request as a device with OpenSSL makes it.
fn request(name: &str, key: &PKey<Private>) -> String {
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let mut request = X509ReqBuilder::new().unwrap();
    request.set_subject_name(&subject.build()).unwrap();
    request.set_pubkey(key).unwrap();
    request.sign(key, MessageDigest::sha256()).unwrap();
    String::from_utf8(request.build().to_pem().unwrap()).unwrap()
}
