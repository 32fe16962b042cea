//! Copies of certificates and revocation lists for the validator. It compares names byte by byte,
//! so names that are equal (RFC 5280 §7.1) get one spelling. Of issuers, what is judged beside it
//! is left out: the path length, and all name constraints but those of DNS names and IP addresses.
//! Signatures are verified over what was signed.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{Context, SHA256, digest};
use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};
use x509_parser::prelude::{CertificateRevocationList, FromDer};
use x509_parser::x509::X509Name;

use super::der::{Element, content_of, elements};
use crate::x509::name::{SEQUENCE, comparable, value};

/// The spelling of names: that of the first certificate or list with it.
#[derive(Debug, Default)]
pub(super) struct Spelling {
    by_name: HashMap<Vec<u8>, Vec<u8>>,
    chosen: HashSet<Vec<u8>>,
}

impl Spelling {
    /// Takes note of a name.
    pub(super) fn see(&mut self, name: &X509Name<'_>) {
        if self.chosen.contains(name.as_raw()) {
            return;
        }
        let raw = self.by_name.entry(comparable(name)).or_insert_with(|| name.as_raw().to_vec());
        self.chosen.insert(raw.clone());
    }

    /// The spelling of a name, where that is another than its own.
    fn other(&self, raw: &[u8]) -> Option<&[u8]> {
        if self.chosen.contains(raw) {
            return None;
        }
        let (_, name) = X509Name::from_der(raw).ok()?;
        self.by_name.get(&comparable(&name)).map(Vec::as_slice)
    }
}

/// A copy, and the part of it that is signed.
#[derive(Debug)]
pub(super) struct Copy {
    pub(super) der: Vec<u8>,
    /// The signed part of the copy, and that of the original where it differs.
    signed: (Vec<u8>, Option<Vec<u8>>),
}

/// Copies an end certificate; `None` where nothing changes.
pub(super) fn copy_leaf(der: &[u8], spelling: &Spelling) -> Option<Copy> {
    copy_certificate(der, spelling, false).filter(|copy| copy.signed.1.is_some())
}

/// Copies the certificate of an issuer. One that can't be read stays as it is.
pub(super) fn copy_issuer(der: &[u8], spelling: &Spelling) -> Copy {
    copy_certificate(der, spelling, true)
        .unwrap_or_else(|| Copy { der: der.to_vec(), signed: (Vec::new(), None) })
}

/// Copies a revocation list with its issuer's name in the common spelling.
pub(super) fn copy_list(der: &[u8], spelling: &Spelling) -> Copy {
    let copy = || {
        let (_, parsed) = CertificateRevocationList::from_der(der).ok()?;
        copy_signed(der, |parts| {
            let mut parts = parts.to_vec();
            let issuer = parts.iter_mut().find(|part| part.whole == parsed.issuer().as_raw())?;
            if let Some(other) = spelling.other(issuer.whole) {
                issuer.whole = other;
            }
            Some(parts.iter().flat_map(|part| part.whole).copied().collect())
        })
    };
    copy().unwrap_or_else(|| Copy { der: der.to_vec(), signed: (Vec::new(), None) })
}

fn copy_certificate(der: &[u8], spelling: &Spelling, is_issuer: bool) -> Option<Copy> {
    copy_signed(der, |parts| {
        let first = usize::from(parts.first()?.tag == VERSION);
        let mut content = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let is_name = index == first + 2 || index == first + 4;
            if let Some(other) = is_name.then(|| spelling.other(part.whole)).flatten() {
                content.extend_from_slice(other);
            } else if is_issuer && part.tag == EXTENSIONS {
                content.extend(extensions(part).unwrap_or_else(|| part.whole.to_vec()));
            } else {
                content.extend_from_slice(part.whole);
            }
        }
        Some(content)
    })
}

/// Copies a signed structure (RFC 5280 §4.1.1) whose signed part gets another content.
fn copy_signed(der: &[u8], content: impl FnOnce(&[Element<'_>]) -> Option<Vec<u8>>) -> Option<Copy> {
    let parts = elements(content_of(der, SEQUENCE)?)?;
    let (signed, signature) = parts.split_first()?;
    let content = content(&elements(signed.content)?)?;
    if content == signed.content {
        return Some(Copy { der: der.to_vec(), signed: (signed.whole.to_vec(), None) });
    }
    let copied = value(SEQUENCE, &content);
    let mut whole = copied.clone();
    whole.extend(signature.iter().flat_map(|part| part.whole));
    Some(Copy { der: value(SEQUENCE, &whole), signed: (copied, Some(signed.whole.to_vec())) })
}

/// The extensions of an issuer without what is judged beside the validator; `None` where they stay
/// as they are.
///
/// The digest of the original's extensions goes with them: two originals that differ must not have
/// one copy.
fn extensions(tagged: &Element<'_>) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    for extension in elements(content_of(tagged.content, SEQUENCE)?)? {
        let parts = elements(extension.content)?;
        let [identifier, flags @ .., octets] = parts.as_slice() else { return None };
        let other = match identifier.content {
            BASIC_CONSTRAINTS => Some(without_path_length(octets.content)?),
            NAME_CONSTRAINTS => match of_validator(octets.content)? {
                inner if inner.is_empty() => continue,
                inner => Some(value(SEQUENCE, &inner)),
            },
            _ => None,
        };
        match other {
            None => content.extend_from_slice(extension.whole),
            Some(inner) => {
                let mut body = identifier.whole.to_vec();
                body.extend(flags.iter().flat_map(|part| part.whole));
                body.extend(value(OCTET_STRING, &inner));
                content.extend(value(SEQUENCE, &body));
            }
        }
    }
    if value(EXTENSIONS, &value(SEQUENCE, &content)) == tagged.whole {
        return None;
    }
    let digest = value(OCTET_STRING, digest(&SHA256, tagged.whole).as_ref());
    content.extend(value(SEQUENCE, &[ORIGIN, &digest].concat()));
    Some(value(EXTENSIONS, &value(SEQUENCE, &content)))
}

fn without_path_length(constraints: &[u8]) -> Option<Vec<u8>> {
    let parts = elements(content_of(constraints, SEQUENCE)?)?;
    let kept = parts.iter().filter(|part| part.tag != INTEGER).flat_map(|part| part.whole);
    Some(value(SEQUENCE, &kept.copied().collect::<Vec<_>>()))
}

/// The name constraints that the validator judges.
fn of_validator(constraints: &[u8]) -> Option<Vec<u8>> {
    let mut kept = Vec::new();
    for subtrees in elements(content_of(constraints, SEQUENCE)?)? {
        let mut list = Vec::new();
        for subtree in elements(subtrees.content)? {
            let base = elements(subtree.content)?.first()?.tag;
            if matches!(base, DNS_NAME | IP_ADDRESS) {
                list.extend_from_slice(subtree.whole);
            }
        }
        if !list.is_empty() {
            kept.extend(value(subtrees.tag, &list));
        }
    }
    Some(kept)
}

/// The signed parts of issuers and lists, and the signatures that were verified.
#[derive(Debug, Default)]
pub(super) struct Signed {
    /// The signed part of each copy, with that of its original.
    originals: HashMap<Vec<u8>, Vec<u8>>,
    /// Digests of keys with signatures and what they sign, each with the result, so that it is verified
    /// once for all certificates below.
    verified: Mutex<HashMap<Vec<u8>, bool>>,
    /// The number of signatures that were verified.
    count: AtomicUsize,
}

/// Tells whether the result of a verification is needed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Memory {
    Kept,
    Dropped,
}

impl Signed {
    /// Takes note of a copy, and answers its DER.
    pub(super) fn add(&mut self, copy: Copy) -> Vec<u8> {
        let (signed, original) = copy.signed;
        let original = original.unwrap_or_else(|| signed.clone());
        self.originals.insert(signed, original);
        copy.der
    }

    /// Returns false if the signature of a certificate is not one with this key. Returns true as well if
    /// that cannot be known, because the algorithm is not supported.
    pub(super) fn is_possible(&self, certificate: &[u8], key_info: &[u8], memory: Memory) -> bool {
        let Some((message, algorithm, signature)) = signature_parts(certificate) else { return true };
        let Some((key_algorithm, key)) = key_parts(key_info) else { return true };
        let mut fitting = self.algorithms(None).into_iter().filter(|one| {
            one.signature_alg_id().as_ref() == algorithm && one.public_key_alg_id().as_ref() == key_algorithm
        });
        let Some(fitting) = fitting.next() else { return true };
        let verified = match memory {
            Memory::Kept => fitting.verify_once(key, message, signature),
            Memory::Dropped => fitting.verify_counted(key, message, signature),
        };
        verified.is_ok()
    }

    /// The number of signatures that were verified.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Algorithms that verify signatures over originals.
    pub(super) fn algorithms<'a>(&'a self, leaf: Option<&'a Copy>) -> Vec<OverSigned<'a>> {
        let all = webpki::ALL_VERIFICATION_ALGS.iter();
        all.map(|algorithm| OverSigned { algorithm: *algorithm, signed: self, leaf }).collect()
    }
}

/// An algorithm that verifies signatures over what was signed.
#[derive(Debug)]
pub(super) struct OverSigned<'a> {
    algorithm: &'static dyn SignatureVerificationAlgorithm,
    signed: &'a Signed,
    leaf: Option<&'a Copy>,
}

impl OverSigned<'_> {
    /// Verifies the signature of an issuer's certificate or list, once.
    fn verify_once(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let mut digest = Context::new(&SHA256);
        let algorithm = self.algorithm.signature_alg_id();
        for part in [self.algorithm.public_key_alg_id().as_ref(), algorithm.as_ref(), key, signature, message]
        {
            digest.update(&part.len().to_be_bytes());
            digest.update(part);
        }
        let digest = digest.finish().as_ref().to_vec();
        let verified = || self.signed.verified.lock().unwrap_or_else(PoisonError::into_inner);
        let known = verified().get(&digest).copied();
        let is_good = known.unwrap_or_else(|| self.verify_counted(key, message, signature).is_ok());
        verified().insert(digest, is_good);
        if is_good { Ok(()) } else { Err(InvalidSignature) }
    }

    fn verify_counted(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        self.signed.count.fetch_add(1, Ordering::Relaxed);
        self.algorithm.verify_signature(key, message, signature)
    }
}

impl SignatureVerificationAlgorithm for OverSigned<'_> {
    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        if let Some(original) = self.signed.originals.get(message) {
            return self.verify_once(key, original, signature);
        }
        let of_leaf = self.leaf.filter(|copy| copy.signed.0 == message);
        let original = of_leaf.and_then(|copy| copy.signed.1.as_deref());
        self.verify_counted(key, original.unwrap_or(message), signature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.signature_alg_id()
    }
}

/// The signed part of a certificate, the algorithm of its signature, and the signature.
fn signature_parts(certificate: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let parts = elements(content_of(certificate, SEQUENCE)?)?;
    let [signed, algorithm, signature] = parts.as_slice() else { return None };
    Some((signed.whole, algorithm.content, signature.content.strip_prefix(&[0])?))
}

/// The algorithm of a public key, and the key.
fn key_parts(key_info: &[u8]) -> Option<(&[u8], &[u8])> {
    let parts = elements(content_of(key_info, SEQUENCE)?)?;
    let [algorithm, key] = parts.as_slice() else { return None };
    Some((algorithm.content, key.content.strip_prefix(&[0])?))
}

const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x1e];
/// The object identifier 2.999, which is for examples: no certificate has an extension of this
/// kind.
const ORIGIN: &[u8] = &[0x06, 0x02, 0x88, 0x37];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{read_certificates, write_test_pki};

    /// A certificate without an extension, whose signature stays.
    fn without(der: &[u8], oid: &[u8]) -> Vec<u8> {
        let parts = elements(content_of(der, SEQUENCE).unwrap()).unwrap();
        let mut signed = Vec::new();
        for part in elements(parts[0].content).unwrap() {
            if part.tag != EXTENSIONS {
                signed.extend_from_slice(part.whole);
                continue;
            }
            let all = elements(content_of(part.content, SEQUENCE).unwrap()).unwrap();
            let is_kept = |one: &&Element<'_>| elements(one.content).unwrap()[0].content != oid;
            let kept: Vec<u8> = all.iter().filter(is_kept).flat_map(|one| one.whole).copied().collect();
            assert!(kept.len() < part.content.len());
            signed.extend(value(EXTENSIONS, &value(SEQUENCE, &kept)));
        }
        let mut whole = value(SEQUENCE, &signed);
        whole.extend(parts[1..].iter().flat_map(|part| part.whole));
        value(SEQUENCE, &whole)
    }

    #[test]
    fn certificates_that_differ_in_what_is_left_out_have_copies_that_differ() {
        let temporary = tempfile::tempdir().unwrap();
        let pki = temporary.path().join("pki");
        write_test_pki(&pki, 1, time::macros::datetime!(2027-01-01 0:00 UTC)).unwrap();
        let chain = read_certificates(&pki.join("name-constraints/chain.pem")).unwrap();
        let limited = chain[1].der();
        let forged = without(limited, NAME_CONSTRAINTS);
        let spelling = Spelling::default();
        let (limited, forged) = (copy_issuer(limited, &spelling), copy_issuer(&forged, &spelling));
        assert!(limited.signed.1.is_some(), "directory names are left out");
        assert_ne!(limited.signed.0, forged.signed.0);
        // The validator reads both.
        for copy in [limited, forged] {
            webpki::EndEntityCert::try_from(&copy.der.as_slice().into()).unwrap();
        }
    }
}
