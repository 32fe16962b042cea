//! Signatures of requests: which algorithms are verified, and which are refused as weak.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA256_ASN1,
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA512_ASN1, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    UnparsedPublicKey, VerificationAlgorithm,
};
use x509_parser::prelude::FromDer as _;
use x509_parser::signature_algorithm::RsaSsaPssParams;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

use super::request::CsrParts;
use crate::error::refusal::Refusal;

/// Checks that the owner of a key signed a request. `key` is its `SubjectPublicKeyInfo`, normalised.
pub(super) fn verify(request: &CsrParts<'_>, key: &[u8]) -> Result<(), Refusal> {
    let (_, key) = SubjectPublicKeyInfo::from_der(key).map_err(|_| Refusal::BadSignature)?;
    let algorithm = algorithm(&request.algorithm, &key)?;
    let key = UnparsedPublicKey::new(algorithm, &key.subject_public_key.data);
    key.verify(request.content, request.signature).map_err(|_| Refusal::BadSignature)
}

fn algorithm(
    signature: &AlgorithmIdentifier<'_>,
    key: &SubjectPublicKeyInfo<'_>,
) -> Result<&'static dyn VerificationAlgorithm, Refusal> {
    let hash = match signature.algorithm.to_id_string().as_str() {
        "1.2.840.10045.4.1" => return Err(weak("ECDSA with SHA-1")),
        "1.2.840.113549.1.1.2" => return Err(weak("RSA with MD2")),
        "1.2.840.113549.1.1.4" => return Err(weak("RSA with MD5")),
        "1.2.840.113549.1.1.5" | "1.3.14.3.2.29" => return Err(weak("RSA with SHA-1")),
        "1.2.840.10045.4.3.2" => Scheme::Ecdsa(256),
        "1.2.840.10045.4.3.3" => Scheme::Ecdsa(384),
        "1.2.840.10045.4.3.4" => Scheme::Ecdsa(512),
        "1.2.840.113549.1.1.11" => Scheme::Rsa(256),
        "1.2.840.113549.1.1.12" => Scheme::Rsa(384),
        "1.2.840.113549.1.1.13" => Scheme::Rsa(512),
        "1.2.840.113549.1.1.10" => Scheme::RsaPss(pss_hash(signature)?),
        _ => return Err(Refusal::UnknownSignature),
    };
    let curve = key.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
    let curve = curve.map(|curve| curve.to_id_string()).unwrap_or_default();
    Ok(match (hash, curve.as_str()) {
        (Scheme::Ecdsa(256), P256) => &ECDSA_P256_SHA256_ASN1,
        (Scheme::Ecdsa(384), P256) => &ECDSA_P256_SHA384_ASN1,
        (Scheme::Ecdsa(512), P256) => &ECDSA_P256_SHA512_ASN1,
        (Scheme::Ecdsa(256), P384) => &ECDSA_P384_SHA256_ASN1,
        (Scheme::Ecdsa(384), P384) => &ECDSA_P384_SHA384_ASN1,
        (Scheme::Ecdsa(512), P384) => &ECDSA_P384_SHA512_ASN1,
        (Scheme::Rsa(256), "") => &RSA_PKCS1_2048_8192_SHA256,
        (Scheme::Rsa(384), "") => &RSA_PKCS1_2048_8192_SHA384,
        (Scheme::Rsa(512), "") => &RSA_PKCS1_2048_8192_SHA512,
        (Scheme::RsaPss(256), "") => &RSA_PSS_2048_8192_SHA256,
        (Scheme::RsaPss(384), "") => &RSA_PSS_2048_8192_SHA384,
        (Scheme::RsaPss(512), "") => &RSA_PSS_2048_8192_SHA512,
        // The algorithm is not that of the key.
        _ => return Err(Refusal::BadSignature),
    })
}

/// A kind of signature, with the bits of its hash.
enum Scheme {
    Ecdsa(u16),
    Rsa(u16),
    RsaPss(u16),
}

fn pss_hash(signature: &AlgorithmIdentifier<'_>) -> Result<u16, Refusal> {
    let parameters = signature.parameters.as_ref().ok_or_else(|| weak("RSA-PSS with SHA-1"))?;
    let parameters = RsaSsaPssParams::try_from(parameters).map_err(|_| Refusal::UnknownSignature)?;
    match parameters.hash_algorithm_oid().to_id_string().as_str() {
        "2.16.840.1.101.3.4.2.1" => Ok(256),
        "2.16.840.1.101.3.4.2.2" => Ok(384),
        "2.16.840.1.101.3.4.2.3" => Ok(512),
        "1.3.14.3.2.26" => Err(weak("RSA-PSS with SHA-1")),
        _ => Err(Refusal::UnknownSignature),
    }
}

fn weak(algorithm: &'static str) -> Refusal {
    Refusal::WeakSignature { algorithm }
}

const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";
