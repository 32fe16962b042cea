//! [`FastPathCsr`]: the most common kind of request: a common name, a key on P-256, a signature
//! with SHA-256, and nothing else. Any other is for the general parser, which takes several times longer.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use pkcs8::der::{Decode as _, Header, Reader as _, SliceReader, Tag, asn1::BitStringRef};

use crate::error::refusal::Refusal;
use crate::x509::encoder::{COMMON_NAME, p256_point};

/// The parts of a request, none of them verified yet.
pub(super) struct FastPathCsr<'a> {
    /// The signed bytes.
    content: &'a [u8],
    pub(super) common_name: &'a str,
    /// The public key as a `SubjectPublicKeyInfo`.
    pub(super) key: &'a [u8],
    signature: &'a [u8],
}

impl<'a> FastPathCsr<'a> {
    /// Reads DER (RFC 2986 §4); `None` where anything is unusual.
    pub(super) fn read(der: &'a [u8]) -> Option<Self> {
        let [content, algorithm, signature] = parts(inside(der, Tag::Sequence)?)?;
        let [version, subject, key, attributes] = parts(inside(content, Tag::Sequence)?)?;
        let is_fast_path =
            version == VERSION_1 && attributes == NO_ATTRIBUTES && algorithm == ECDSA_WITH_SHA256;
        let signature = BitStringRef::from_der(signature).ok()?.as_bytes()?;
        let common_name = only_common_name(subject)?;
        p256_point(key).filter(|_| is_fast_path)?;
        Some(Self { content, common_name, key, signature })
    }

    /// Checks that its sender has the key.
    pub(super) fn verify(&self) -> Result<(), Refusal> {
        let point = p256_point(self.key).unwrap_or_default();
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point);
        key.verify(self.content, self.signature).map_err(|_| Refusal::BadSignature)
    }
}

/// The common name of a subject that is nothing else, in UTF-8.
fn only_common_name(subject: &[u8]) -> Option<&str> {
    let [set] = parts(inside(subject, Tag::Sequence)?)?;
    let [attribute] = parts(inside(set, Tag::Set)?)?;
    let [kind, value] = parts(inside(attribute, Tag::Sequence)?)?;
    if kind != COMMON_NAME {
        return None;
    }
    std::str::from_utf8(inside(value, Tag::Utf8String)?).ok()
}

/// Returns the contents of a value that has this tag and fills all of the bytes.
fn inside(bytes: &[u8], tag: Tag) -> Option<&[u8]> {
    let mut reader = SliceReader::new(bytes).ok()?;
    let header = Header::decode(&mut reader).ok()?;
    let content = reader.read_slice(header.length()).ok()?;
    (header.tag() == tag && reader.is_finished()).then_some(content)
}

/// The values that bytes consist of, if there are just so many.
fn parts<const N: usize>(bytes: &[u8]) -> Option<[&[u8]; N]> {
    let mut reader = SliceReader::new(bytes).ok()?;
    let mut parts = [[].as_slice(); N];
    for part in &mut parts {
        *part = reader.tlv_bytes().ok()?;
    }
    reader.is_finished().then_some(parts)
}

const VERSION_1: &[u8] = &[0x02, 0x01, 0x00];
const NO_ATTRIBUTES: &[u8] = &[0xa0, 0x00];
/// `AlgorithmIdentifier` (RFC 5758 §3.2).
const ECDSA_WITH_SHA256: &[u8] = &[0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;
    use crate::keys::private::{KeyType, PrivateKey};
    use crate::x509::csr::{CsrParts, only_name, signature};
    use crate::x509::encoder::encode_request;

    /// Reads a request with the general parser: its name, its key, and whether its signature is
    /// valid.
    fn generally(der: &[u8]) -> Option<(String, Vec<u8>, bool)> {
        let request = CsrParts::parse(der).ok()?;
        let name = only_name(&request).ok()?;
        let key = request.key.raw.to_vec();
        let is_good = signature::verify(&request, &key).is_ok();
        Some((name, key, is_good))
    }

    #[test]
    fn what_is_made_here_is_usual_and_other_kinds_are_not() {
        for (key_type, is_fast_path) in
            [(KeyType::P256, true), (KeyType::P384, false), (KeyType::Rsa2048, false)]
        {
            let der = encode_request("a/b", &PrivateKey::generate(key_type).unwrap()).unwrap();
            assert_eq!(FastPathCsr::read(&der).is_some(), is_fast_path, "{key_type}");
        }
    }

    proptest! {
        #[test]
        fn it_is_read_as_the_general_parser_reads_it(
            name in "[ -~ö€]{1,130}",
            changes in proptest::collection::vec((any::<Index>(), any::<u8>()), 0..3),
        ) {
            let mut der = encode_request(&name, &PrivateKey::generate(KeyType::P256).unwrap()).unwrap();
            for (index, byte) in changes {
                let at = index.index(der.len());
                der[at] = byte;
            }
            if let Some(fast) = FastPathCsr::read(&der) {
                let is_good = fast.verify().is_ok();
                let read = (fast.common_name.to_owned(), fast.key.to_vec(), is_good);
                prop_assert_eq!(Some(read), generally(&der));
            }
        }
    }
}
