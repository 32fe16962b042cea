//! [`signature_fault`]: whether one certificate is signed with the key of another, and if not, why.

use x509_parser::error::X509Error;

use crate::keys::public::PublicKey;
use crate::x509::algorithm::algorithm_text;
use crate::x509::certificate::Certificate;

/// The reason why a signature is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SignatureFault {
    /// It is not known whose signature it is: the issuer's key or the algorithm is not accepted.
    NotVerified(String),
    /// It is not a signature with this key over this certificate.
    OtherKey,
}

/// Verifies the signature of a certificate with the key of the one above it.
pub(crate) fn signature_fault(below: &Certificate, above: &Certificate) -> Option<SignatureFault> {
    let (lower, upper) = (below.parsed(), above.parsed());
    let key = PublicKey::from_der(upper.public_key().raw);
    if let Some(weakness) = key.as_ref().and_then(PublicKey::weakness) {
        let text =
            format!("what {} has signed is not accepted, because of its key: {weakness}", above.subject());
        return Some(SignatureFault::NotVerified(text));
    }
    match lower.verify_signature(Some(upper.public_key())) {
        Ok(()) => None,
        Err(X509Error::SignatureUnsupportedAlgorithm) => {
            let algorithm = algorithm_text(&lower.signature_algorithm);
            let text = format!(
                "the signature of {} is of a kind that is not supported ({algorithm})",
                below.subject()
            );
            Some(SignatureFault::NotVerified(text))
        }
        Err(_) => Some(SignatureFault::OtherKey),
    }
}
