//! Certificates and revocation lists for a validator that compares names byte by byte: where equal names
//! (RFC 5280 §7.1) are spelt differently, they get one spelling. Signatures are verified over what was signed.

use std::collections::HashMap;

use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};
use x509_parser::x509::X509Name;

use super::Verification;
use crate::certificate::Certificate;
use crate::name::{SEQUENCE, comparable, value};

/// The spelling of names, and the signed bytes of whatever got another one.
#[derive(Debug, Default)]
pub(super) struct Spelling {
    is_needed: bool,
    signed: HashMap<Vec<u8>, Vec<u8>>,
}

impl Spelling {
    /// Looks at all names that may be compared.
    pub(super) fn of(certificate: &Certificate, by: &Verification<'_>) -> Self {
        let mut known = HashMap::new();
        let mut is_needed = false;
        let mut see = |name: &X509Name<'_>| {
            let first = known.entry(comparable(name)).or_insert_with(|| name.as_raw().to_vec());
            is_needed |= first.as_slice() != name.as_raw();
        };
        for one in std::iter::once(certificate).chain(by.trusted).chain(by.between) {
            if let Ok((_, parsed)) = X509Certificate::from_der(one.der()) {
                see(parsed.subject());
                see(parsed.issuer());
            }
        }
        for list in by.crls {
            if let Ok((_, parsed)) = CertificateRevocationList::from_der(list) {
                see(parsed.issuer());
            }
        }
        Self { is_needed, signed: HashMap::new() }
    }

    /// A certificate with its names in the common spelling. One that can't be read stays as it is.
    pub(super) fn certificate(&mut self, der: &[u8]) -> Vec<u8> {
        match X509Certificate::from_der(der) {
            Ok((_, parsed)) if self.is_needed => {
                let signed = parsed.tbs_certificate.as_ref();
                self.respell(der, signed, &[parsed.issuer(), parsed.subject()])
            }
            _ => der.to_vec(),
        }
    }

    /// A revocation list with its issuer's name in the common spelling.
    pub(super) fn list(&mut self, der: &[u8]) -> Vec<u8> {
        match CertificateRevocationList::from_der(der) {
            Ok((_, parsed)) if self.is_needed => {
                self.respell(der, parsed.tbs_cert_list.as_ref(), &[parsed.issuer()])
            }
            _ => der.to_vec(),
        }
    }

    /// What verifies signatures, also of what is spelt anew.
    pub(super) fn algorithms(&self) -> Vec<OverSigned<'_>> {
        let all = webpki::ALL_VERIFICATION_ALGS.iter();
        all.map(|algorithm| OverSigned { algorithm: *algorithm, signed: &self.signed }).collect()
    }

    /// Puts names, in the order in which they stand in `signed`, in another spelling.
    fn respell(&mut self, der: &[u8], signed: &[u8], names: &[&X509Name<'_>]) -> Vec<u8> {
        let mut content = Vec::with_capacity(signed.len());
        let mut rest = body(signed);
        for name in names {
            let Some((before, after)) = split_around(rest, name.as_raw()) else { return der.to_vec() };
            content.extend_from_slice(before);
            content.extend_from_slice(&comparable(name));
            rest = after;
        }
        content.extend_from_slice(rest);
        let spelt = value(SEQUENCE, &content);
        let Some(signature) = body(der).strip_prefix(signed) else { return der.to_vec() };
        let whole = value(SEQUENCE, &[spelt.as_slice(), signature].concat());
        self.signed.insert(spelt, signed.to_vec());
        whole
    }
}

/// An algorithm that verifies signatures over what was signed.
#[derive(Debug)]
pub(super) struct OverSigned<'a> {
    algorithm: &'static dyn SignatureVerificationAlgorithm,
    signed: &'a HashMap<Vec<u8>, Vec<u8>>,
}

impl SignatureVerificationAlgorithm for OverSigned<'_> {
    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let signed = self.signed.get(message).map_or(message, Vec::as_slice);
        self.algorithm.verify_signature(key, signed, signature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.signature_alg_id()
    }
}

/// What stands before and after a part that was parsed out of `whole`.
fn split_around<'a>(whole: &'a [u8], part: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    // By its address: the same bytes may stand further up, in a serial number.
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    let (before, from) = whole.split_at_checked(start)?;
    Some((before, from.strip_prefix(part)?))
}

/// The content of a DER sequence.
fn body(der: &[u8]) -> &[u8] {
    let skipped = match der {
        [_, length, ..] if length & 0x80 != 0 => 2 + usize::from(length & 0x7f),
        _ => 2,
    };
    der.get(skipped..).unwrap_or_default()
}
