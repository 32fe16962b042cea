//! The public keys that are certified and accepted: one table for all verbs.
//!
//! [`check`] applies the rules that cost little beside a signature. [`check_unproven`] adds those that matter where
//! nobody signed with the key. [`normalised`] gives a key the one encoding that certificates have, so that keys can
//! be compared by their bytes.

mod fermat;
mod residues;
mod rsa;

use p256::elliptic_curve::sec1::ToSec1Point as _;
use pkcs8::ObjectIdentifier;
use pkcs8::der::{self, Encode as _, asn1};
use pkcs8::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use x509_parser::asn1_rs::Tag;
use x509_parser::der_parser::oid;
use x509_parser::der_parser::oid::Oid;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_EC_P521, OID_PKCS1_RSAENCRYPTION,
};
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::{PublicKey, RSAPublicKey};
use x509_parser::x509::SubjectPublicKeyInfo;

/// The rule that a public key breaks. "BR" are the Baseline Requirements of the CA/Browser Forum for TLS certificates.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum WeakKey {
    #[error("the algorithm {0} is neither RSA nor ECDSA")]
    Algorithm(String),
    #[error("its encoding is damaged")]
    Damaged,

    #[error("the curve is P-192")]
    P192,
    // Not weak, but nothing of IoT Hub's says that it takes them, and many devices' TLS does not.
    #[error("the curve is P-521, which IoT Hub is not known to take")]
    P521,
    #[error("the curve is neither P-256 nor P-384")]
    Curve,
    #[error("its curve is written out instead of named (RFC 5480 §2.1.1)")]
    UnnamedCurve,
    #[error("its point has the hybrid form, which certificates must not have (RFC 5480 §2.2)")]
    HybridPoint,
    #[error("its point is not on its curve")]
    NotOnCurve,

    #[error("RSA with {0} bits, which is not between 2048 and 8192 (BR §6.1.5)")]
    ModulusSize(usize),
    #[error("its RSA modulus is even (BR §6.1.6)")]
    EvenModulus,
    #[error("its RSA modulus is divisible by {0} (BR §6.1.6)")]
    SmallFactor(u64),
    #[error("its RSA modulus is a prime number (BR §6.1.6)")]
    PrimeModulus,
    #[error("its RSA modulus is the power of a number (BR §6.1.6)")]
    PowerModulus,
    #[error("its RSA exponent is even, small or huge: it must be odd, from 65537 to 2^33 - 1 (BR §6.1.6)")]
    Exponent,
    #[error("its RSA modulus has the ROCA weakness, CVE-2017-15361 (BR §6.1.1.3)")]
    Roca,
    #[error("the primes of its RSA modulus are too close together: Fermat's method finds them (BR §6.1.1.3)")]
    ClosePrimes,
}

/// Applies the rules that a public key must keep, whoever has it. For RSA they take some
/// microseconds. A point is not compared with its curve, as verifying does that.
pub(crate) fn check(key: &SubjectPublicKeyInfo<'_>) -> Result<(), WeakKey> {
    match algorithm(key)? {
        Algorithm::Ec(_) => match key.subject_public_key.data.first() {
            Some(2..=4) => Ok(()),
            Some(6 | 7) => Err(WeakKey::HybridPoint),
            _ => Err(WeakKey::Damaged),
        },
        Algorithm::Rsa => {
            let (modulus, exponent) = rsa_numbers(key)?;
            rsa::check(modulus, exponent)
        }
    }
}

/// Applies the rules of [`check`], and those that a good signature by the key would make unlikely to fail: its point
/// is on its curve, its modulus is neither a prime number nor a power. It takes milliseconds for RSA.
pub(crate) fn check_unproven(key: &SubjectPublicKeyInfo<'_>) -> Result<(), WeakKey> {
    check(key)?;
    match algorithm(key)? {
        Algorithm::Ec(curve) => curve.uncompressed(&key.subject_public_key.data).map(drop),
        Algorithm::Rsa => rsa::check_factors(rsa_numbers(key)?.0),
    }
}

/// Encodes a key as certificates have it (RFC 5480 §2, RFC 3279 §2.3.1): points uncompressed, integers as short as
/// they can be, nothing missing and nothing superfluous.
pub(crate) fn normalised(key: &SubjectPublicKeyInfo<'_>) -> Result<Vec<u8>, WeakKey> {
    match algorithm(key)? {
        Algorithm::Ec(curve) => {
            let point = curve.uncompressed(&key.subject_public_key.data)?;
            encode(EC_PUBLIC_KEY, (&curve.oid()).into(), &point)
        }
        Algorithm::Rsa => {
            let (modulus, exponent) = rsa_numbers(key)?;
            let numbers = [modulus, exponent].map(asn1::UintRef::new);
            let numbers = numbers.into_iter().collect::<der::Result<Vec<_>>>();
            let numbers = numbers.and_then(|numbers| numbers.to_der()).map_err(|_| WeakKey::Damaged)?;
            encode(RSA_ENCRYPTION, der::AnyRef::NULL, &numbers)
        }
    }
}

fn encode(oid: ObjectIdentifier, parameters: der::AnyRef<'_>, key: &[u8]) -> Result<Vec<u8>, WeakKey> {
    let algorithm = AlgorithmIdentifierRef { oid, parameters: Some(parameters) };
    let bits = asn1::BitStringRef::from_bytes(key);
    let info = bits
        .and_then(|subject_public_key| SubjectPublicKeyInfoRef { algorithm, subject_public_key }.to_der());
    info.map_err(|_| WeakKey::Damaged)
}

/// A `SubjectPublicKeyInfo` in the encoding of [`normalised`], where there is one for keys of its kind, and else as
/// it is.
pub(crate) fn usual_form(info: &[u8]) -> Vec<u8> {
    let key = SubjectPublicKeyInfo::from_der(info).ok();
    let usual = key.and_then(|(_, key)| normalised(&key).ok());
    usual.unwrap_or_else(|| info.to_vec())
}

/// The `SubjectPublicKeyInfo` of an `RSAPublicKey` of PKCS #1 (RFC 8017, appendix A.1.1); `None` where it is none.
pub(crate) fn rsa_info(public_key: &[u8]) -> Option<Vec<u8>> {
    let ([], _) = RSAPublicKey::from_der(public_key).ok()? else { return None };
    encode(RSA_ENCRYPTION, der::AnyRef::NULL, public_key).ok()
}

/// The algorithms of acceptable keys.
#[derive(Clone, Copy)]
enum Algorithm {
    Ec(Curve),
    Rsa,
}

#[derive(Clone, Copy)]
enum Curve {
    P256,
    P384,
}

impl Curve {
    fn oid(self) -> ObjectIdentifier {
        match self {
            Self::P256 => ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"),
            Self::P384 => ObjectIdentifier::new_unwrap("1.3.132.0.34"),
        }
    }

    /// The uncompressed form of a point on the curve.
    fn uncompressed(self, point: &[u8]) -> Result<Vec<u8>, WeakKey> {
        if matches!(point.first(), Some(6 | 7)) {
            return Err(WeakKey::HybridPoint);
        }
        let bytes = match self {
            Self::P256 => p256::PublicKey::from_sec1_bytes(point)
                .map(|key| key.to_sec1_point(false).as_bytes().to_vec()),
            Self::P384 => p384::PublicKey::from_sec1_bytes(point)
                .map(|key| key.to_sec1_point(false).as_bytes().to_vec()),
        };
        bytes.map_err(|_| WeakKey::NotOnCurve)
    }
}

fn algorithm(key: &SubjectPublicKeyInfo<'_>) -> Result<Algorithm, WeakKey> {
    let algorithm = &key.algorithm.algorithm;
    if *algorithm == OID_PKCS1_RSAENCRYPTION {
        return Ok(Algorithm::Rsa);
    }
    if *algorithm != OID_KEY_TYPE_EC_PUBLIC_KEY {
        return Err(WeakKey::Algorithm(algorithm.to_string()));
    }
    let parameters = key.algorithm.parameters.as_ref().ok_or(WeakKey::Curve)?;
    // `as_oid` takes the content of any value for that of an identifier.
    if parameters.tag() != Tag::Oid {
        return Err(WeakKey::UnnamedCurve);
    }
    match parameters.as_oid().map_err(|_| WeakKey::UnnamedCurve)? {
        curve if curve == OID_EC_P256 => Ok(Algorithm::Ec(Curve::P256)),
        curve if curve == OID_NIST_EC_P384 => Ok(Algorithm::Ec(Curve::P384)),
        curve if curve == OID_P192 => Err(WeakKey::P192),
        curve if curve == OID_NIST_EC_P521 => Err(WeakKey::P521),
        _ => Err(WeakKey::Curve),
    }
}

/// The modulus and the exponent of an RSA key, without leading zeros.
fn rsa_numbers<'a>(key: &'a SubjectPublicKeyInfo<'_>) -> Result<(&'a [u8], &'a [u8]), WeakKey> {
    let Ok(PublicKey::RSA(rsa)) = key.parsed() else {
        return Err(WeakKey::Damaged);
    };
    Ok((positive(rsa.modulus)?, positive(rsa.exponent)?))
}

/// The digits of an `INTEGER` that is greater than zero.
fn positive(integer: &[u8]) -> Result<&[u8], WeakKey> {
    let zeros = integer.iter().take_while(|byte| **byte == 0).count();
    match integer.get(zeros..) {
        Some([first, ..]) if zeros == 0 && *first >= 0x80 => Err(WeakKey::Damaged),
        Some(digits @ [_, ..]) => Ok(digits),
        _ => Err(WeakKey::Damaged),
    }
}

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const OID_P192: Oid<'static> = oid!(1.2.840.10045.3.1.1);

#[cfg(test)]
mod tests;
