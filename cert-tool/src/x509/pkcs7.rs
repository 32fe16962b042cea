//! Certificates in PKCS #7 files (`.p7b`, `.p7c`): `SignedData` that nobody signed (RFC 5652 §5).

use pkcs8::der::{Tag, TagNumber};

use crate::encoding::der::Parts;
use crate::x509::certificate::Certificate;

/// The certificates of a PKCS #7 file in DER, each before the one that issued it; `None` where it is damaged, or no
/// such file. What it holds is a set, so that its own order says nothing.
pub(crate) fn certificates(der: &[u8]) -> Option<Vec<Certificate>> {
    let constructed = Tag::ContextSpecific { constructed: true, number: TagNumber(0) };
    let mut content_info = Parts::of(der, Tag::Sequence).ok()?;
    if content_info.next().ok()? != SIGNED_DATA {
        return None;
    }
    let mut explicit = Parts::of(content_info.next().ok()?, constructed).ok()?;
    let mut signed_data = Parts::of(explicit.next().ok()?, Tag::Sequence).ok()?;
    // The version, the digest algorithms and the content.
    for _ in 0..3 {
        signed_data.next().ok()?;
    }
    let mut set = Parts::of(signed_data.next().ok()?, constructed).ok()?;
    let mut certificates = Vec::new();
    while !set.is_finished() {
        certificates.push(Certificate::from_der(set.next().ok()?)?);
    }
    Some(in_order(certificates))
}

/// Puts each certificate before its issuer. Several chains, or a circle, stay in the order in which they are.
fn in_order(mut left: Vec<Certificate>) -> Vec<Certificate> {
    let mut ordered: Vec<Certificate> = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let issues_another =
            |one: &Certificate| left.iter().any(|other| other != one && other.issuer() == one.subject());
        let follows =
            ordered.last().and_then(|last| left.iter().position(|it| it.subject() == last.issuer()));
        let next = follows.or_else(|| left.iter().position(|one| !issues_another(one))).unwrap_or(0);
        ordered.push(left.remove(next));
    }
    ordered
}

/// `id-signedData` in DER (RFC 5652 §5.1).
const SIGNED_DATA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
