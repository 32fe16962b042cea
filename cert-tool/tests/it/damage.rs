//! Damaged input gives an error or a result, never a panic. More cases with `PROPTEST_CASES`.

use std::path::Path;
use std::sync::OnceLock;

use cert_tool::{
    Certificate, Description, Purpose, Verification, read_certificate_from, read_documents_from, thumbprints,
    verify_certificate,
};
use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkcs12::Pkcs12;
use openssl::pkey::PKey;
use openssl::x509::{X509Builder, X509NameBuilder, X509ReqBuilder};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::support::{Factory, now};

/// One good file of each kind.
fn files() -> &'static [Vec<u8>] {
    static FILES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    FILES.get_or_init(|| {
        let key = EcKey::generate(&EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap()).unwrap();
        let key = PKey::from_ec_key(key).unwrap();
        let mut name = X509NameBuilder::new().unwrap();
        name.append_entry_by_text("CN", "device01").unwrap();
        name.append_entry_by_text("O", "Factory").unwrap();
        let name = name.build();
        let mut request = X509ReqBuilder::new().unwrap();
        request.set_subject_name(&name).unwrap();
        request.set_pubkey(&key).unwrap();
        request.sign(&key, MessageDigest::sha256()).unwrap();
        let mut builder = X509Builder::new().unwrap();
        builder.set_version(2).unwrap();
        builder.set_subject_name(&name).unwrap();
        builder.set_issuer_name(&name).unwrap();
        builder.set_pubkey(&key).unwrap();
        builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::days_from_now(9).unwrap()).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        let certificate = builder.build();
        let pfx = Pkcs12::builder().pkey(&key).cert(&certificate).build2("").unwrap();
        let factory = Factory::new();
        let issuing = factory.ca.issuing_certificate();
        vec![
            issuing.der().to_vec(),
            issuing.to_pem().into_bytes(),
            request.build().to_der().unwrap(),
            key.private_key_to_der().unwrap(),
            key.private_key_to_pem_pkcs8().unwrap(),
            key.public_key_to_der().unwrap(),
            pfx.to_der().unwrap(),
            certificate.to_der().unwrap(),
        ]
    })
}

fn look_at(bytes: &[u8]) {
    let input = std::io::Cursor::new(bytes.to_vec());
    if let Ok(documents) = read_documents_from(input.clone(), Path::new("it"), &mut |_| Ok(None)) {
        for document in documents.flatten() {
            let description = Description::of(&document);
            assert!(description.facts().count() > 1);
            serde_json::to_string(&description).unwrap();
            thumbprints(&document);
        }
    }
    let _ = read_certificate_from(input, Path::new("it"));
    if let Some(certificate) = Certificate::from_der(bytes) {
        let all = [certificate.clone()];
        let by = Verification {
            purpose: Purpose::HubCa,
            trusted: &all,
            between: &all,
            crls: &[bytes.to_vec()],
            expected: None,
            host: None,
            thumbprints: &[],
            key: None,
            at: now(),
        };
        assert!(verify_certificate(&certificate, &by).len() > 5);
    }
}

proptest! {
    #[test]
    fn a_file_with_changed_bytes_is_no_panic(
        file in 0_usize..8,
        changes in proptest::collection::vec((any::<Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = files()[file].clone();
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        look_at(&bytes);
    }

    #[test]
    fn a_file_that_is_cut_doubled_or_glued_is_no_panic(
        first in 0_usize..8,
        second in 0_usize..8,
        cut in any::<Index>(),
        from in any::<Index>(),
    ) {
        let (first, second) = (&files()[first], &files()[second]);
        look_at(&[&first[..cut.index(first.len())], &second[from.index(second.len())..]].concat());
    }

    #[test]
    fn bytes_without_any_sense_are_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        look_at(&bytes);
    }
}
