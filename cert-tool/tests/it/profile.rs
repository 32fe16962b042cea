//! The contents of certificates, judged by independent tools.

use cert_tool::{
    CertificateAuthority, CsrInput, IssueOptions, IssueRequest, IssuedStore, KeySource, KeyType, ProfileRow,
    Sink, issue_batch, read_certificate,
};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::{X509, X509NameBuilder, X509ReqBuilder};
use proptest::prelude::*;
use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate};

use crate::support::{Factory, generate, id, now, openssl_certificate, record};

#[test]
fn openssl_accepts_every_kind_of_key() {
    for ca_type in [KeyType::P256, KeyType::P384, KeyType::Rsa2048] {
        let factory = Factory::with(ca_type);
        for key_type in [KeyType::P256, KeyType::P384, KeyType::Rsa2048] {
            let options = IssueOptions { key_type, ..IssueOptions::new(now()) };
            let (_, told) = factory.issue_as(Sink::Folder, &options, vec![generate(&format!("d{key_type}"))]);
            factory.assert_openssl_accepts(&record(&told[0]).certificate);
        }
        for (name, key) in requested_keys() {
            let key = KeySource::Csr(CsrInput::Pem(request(name, &key)));
            let (_, told) = factory.issue(Sink::Folder, vec![IssueRequest::new(id(name), key)]);
            factory.assert_openssl_accepts(&record(&told[0]).certificate);
        }
    }
}

#[test]
fn a_leaf_is_a_client_and_nothing_else() {
    let factory = Factory::new();
    let (_, told) = factory.issue(Sink::Folder, vec![generate("device01/module01")]);
    let certificate = read_certificate(&record(&told[0]).certificate).unwrap();
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

/// Addresses: of revocation lists, of the issuer's certificate, of OCSP responders.
type Addresses = [Vec<String>; 3];

/// The addresses in a certificate, as OpenSSL reads them.
fn addresses(certificate: &X509) -> Addresses {
    let mut lists = Vec::new();
    for point in certificate.crl_distribution_points().into_iter().flatten() {
        let names = point.distpoint().and_then(|point| point.fullname()).unwrap();
        lists.extend(names.iter().map(|name| name.uri().unwrap().to_owned()));
    }
    let (mut issuers, mut responders) = (Vec::new(), Vec::new());
    for access in certificate.authority_info().into_iter().flatten() {
        let addresses = match access.method().nid() {
            Nid::AD_CA_ISSUERS => &mut issuers,
            Nid::AD_OCSP => &mut responders,
            other => panic!("{other:?}"),
        };
        addresses.push(access.location().uri().unwrap().to_owned());
    }
    [lists, issuers, responders]
}

/// A table of a TOML file with addresses.
fn table(name: &str, keys: [&str; 3], addresses: &Addresses) -> String {
    let lines = keys.iter().zip(addresses).filter(|(_, addresses)| !addresses.is_empty());
    let lines: String = lines.map(|(key, addresses)| format!("{key} = {addresses:?}\n")).collect();
    format!("[{name}]\n{lines}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The addresses of a profile take the places of those of the CA: its lists those lists, and its access
    /// descriptions, of issuers and responders together, those descriptions.
    #[test]
    fn a_certificate_has_the_addresses_of_its_profile_or_else_of_its_ca(
        mut of_ca in proptest::array::uniform3(urls()), of_profile in proptest::array::uniform3(urls()),
    ) {
        of_ca[2].clear();
        let factory = Factory::new();
        let policy = table("publication", ["crl_urls", "issuer_urls", ""], &of_ca);
        std::fs::write(factory.path("ca/policy.toml"), policy).unwrap();
        let profile = table("gateway", ["crl_distribution_points", "ca_issuers", "ocsp"], &of_profile);
        std::fs::write(factory.path("ca/profile.toml"), profile).unwrap();
        let ca = CertificateAuthority::open(&factory.path("ca")).unwrap();
        let row = ProfileRow { profile: Some("gateway".to_owned()), ..ProfileRow::default() };
        let requests = [generate("plain"), IssueRequest { row, ..generate("gateway") }];
        let mut store = IssuedStore::open(&ca, &factory.out(), Sink::Bundle).unwrap();
        let mut found = Vec::new();
        let options = IssueOptions::new(now());
        issue_batch(&ca, &options, requests.into_iter(), &mut store, &mut |issued| {
            found.push((issued.identity.to_string(), addresses(&openssl_certificate(record(issued)))));
        }).unwrap();
        found.sort();
        let chosen = |at: usize, is_own: bool| if is_own { of_profile[at].clone() } else { of_ca[at].clone() };
        let has_access = !(of_profile[1].is_empty() && of_profile[2].is_empty());
        let expected = [chosen(0, !of_profile[0].is_empty()), chosen(1, has_access), chosen(2, has_access)];
        prop_assert_eq!(found, [("gateway".to_owned(), expected), ("plain".to_owned(), of_ca)]);
    }
}

fn urls() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec("http://[a-z]{1,8}\\.example/[a-z0-9]{0,8}", 0..3)
}
