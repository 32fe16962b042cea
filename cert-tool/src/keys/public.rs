//! [`PublicKey`]: a public key of any kind, for people and for comparison.

use std::fmt;
use std::path::PathBuf;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256K1_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING,
    ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair,
};
use hub_types::{Sha1Thumbprint, Sha256Thumbprint};
use x509_parser::der_parser::oid;
use x509_parser::der_parser::oid::Oid;
use x509_parser::oid_registry::{OID_KEY_TYPE_EC_PUBLIC_KEY, OID_PKCS1_RSAENCRYPTION};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey as Parsed;
use x509_parser::x509::SubjectPublicKeyInfo;
use yasna::models::ObjectIdentifier;
use zeroize::Zeroizing;

use crate::encoding::pem;
use crate::error::Error;
use crate::error::refusal::Refusal;
use crate::input::location::{self, Found, Wanted, kind_of_bytes, not_a};
use crate::weak_keys;

/// A public key as a certificate has it. It shows itself by its kind, as in `P-256` or `RSA 2048`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    info: Vec<u8>,
    kind: String,
    weakness: Option<String>,
}

impl PublicKey {
    /// Reads a DER `SubjectPublicKeyInfo` (RFC 5280 §4.1.2.7); `None` where it is none.
    pub fn from_der(info: &[u8]) -> Option<Self> {
        let (rest, parsed) = SubjectPublicKeyInfo::from_der(info).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let kind = kind(&parsed);
        Some(Self {
            info: info.to_vec(),
            weakness: weak_keys::check(&parsed).err().map(|weak| weak.to_string()),
            kind,
        })
    }

    /// The public half of a private key: PKCS#8, SEC 1 or PKCS#1, not encrypted.
    pub(crate) fn of_private(der: &[u8]) -> Option<Self> {
        let curves = [
            &ECDSA_P256_SHA256_ASN1_SIGNING,
            &ECDSA_P384_SHA384_ASN1_SIGNING,
            &ECDSA_P521_SHA512_ASN1_SIGNING,
            &ECDSA_P256K1_SHA256_ASN1_SIGNING,
        ];
        for curve in curves {
            if let Ok(pair) = EcdsaKeyPair::from_private_key_der(curve, der) {
                return Self::from_der(pair.public_key().as_der().ok()?.as_ref());
            }
        }
        if let Ok(pair) = RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der)) {
            return Self::from_der(pair.public_key().as_der().ok()?.as_ref());
        }
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            return Self::from_der(pair.public_key().as_der().ok()?.as_ref());
        }
        Self::from_der(&rsa_info(der)?)
    }

    /// The key as a DER `SubjectPublicKeyInfo`.
    pub fn info(&self) -> &[u8] {
        &self.info
    }

    /// Returns whether `info`, the DER of a `SubjectPublicKeyInfo`, is of the same key, however it
    /// is encoded. A curve may be named in one and written out in the other (RFC 3279 §2.3.5): then
    /// the points decide.
    pub fn is_of(&self, info: &[u8]) -> bool {
        if self.info == info {
            return true;
        }
        let (Ok((_, own)), Ok((_, other))) =
            (SubjectPublicKeyInfo::from_der(&self.info), SubjectPublicKeyInfo::from_der(info))
        else {
            return false;
        };
        if let (Ok(own), Ok(other)) = (weak_keys::normalised(&own), weak_keys::normalised(&other)) {
            return own == other;
        }
        let is_ec = |key: &SubjectPublicKeyInfo<'_>| key.algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY;
        is_ec(&own) && is_ec(&other) && own.subject_public_key.data == other.subject_public_key.data
    }

    /// The SHA-256 of [`Self::info`]: the same for a key, its requests and its certificates.
    pub fn sha256(&self) -> Sha256Thumbprint {
        Sha256Thumbprint::of_der(&self.info)
    }

    /// The SHA-1 of [`Self::info`].
    pub fn sha1(&self) -> Sha1Thumbprint {
        Sha1Thumbprint::of_der(&self.info)
    }

    /// Returns the reason why nobody should trust the key, or why IoT Hub does not accept keys of
    /// its kind; `None` if nothing is wrong with it.
    pub fn weakness(&self) -> Option<&str> {
        self.weakness.as_deref()
    }
}

/// The place of a public key that is to be certified.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublicKeyInput {
    /// In a file: a `SubjectPublicKeyInfo` (RFC 5280 §4.1.2.7) or an `RSAPublicKey` (RFC 8017), PEM or DER.
    Path(PathBuf),
    /// Here, as PEM.
    Pem(String),
    /// Here, as the DER of a `SubjectPublicKeyInfo`.
    Info(Vec<u8>),
}

impl PublicKeyInput {
    /// The DER of the key, whatever it is worth.
    pub(crate) fn read(self) -> Result<Vec<u8>, Refusal> {
        let (found, name) = match self {
            Self::Info(der) => return Ok(der),
            Self::Path(path) => (location::read(&path, &WANTED), path),
            Self::Pem(text) => {
                let name = PathBuf::from("the public key");
                (location::parse(text.into_bytes(), &name, &WANTED), name)
            }
        };
        let bad = |error: Error| Refusal::BadPublicKey { reason: error.to_string() };
        match found.map_err(bad)? {
            Found::Pem(block) if block.label == pem::RSA_PUBLIC_KEY => {
                weak_keys::rsa_info(&block.der).ok_or_else(|| bad(not_a(&name, WANTED.name, "damaged")))
            }
            Found::Pem(block) => Ok(block.der.to_vec()),
            Found::Other(bytes) if PublicKey::from_der(&bytes).is_some() => Ok(bytes),
            Found::Other(bytes) => weak_keys::rsa_info(&bytes)
                .ok_or_else(|| bad(not_a(&name, WANTED.name, kind_of_bytes(&bytes)))),
        }
    }
}

const WANTED: Wanted = Wanted { name: "a public key", labels: pem::PUBLIC_KEYS };

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)
    }
}

fn kind(key: &SubjectPublicKeyInfo<'_>) -> String {
    let algorithm = &key.algorithm.algorithm;
    if *algorithm == OID_PKCS1_RSAENCRYPTION {
        return match key.parsed() {
            Ok(Parsed::RSA(rsa)) => format!("RSA {}", modulus_bits(rsa.modulus)),
            _ => "RSA, damaged".to_owned(),
        };
    }
    if *algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
        let curve = key.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
        return match curve.as_ref().and_then(|curve| name_in(&CURVES, curve)) {
            Some(name) => name.to_owned(),
            None => {
                format!("EC on the curve {}", curve.map(|curve| curve.to_id_string()).unwrap_or_default())
            }
        };
    }
    let known = name_in(&OTHER_ALGORITHMS, algorithm).map(str::to_owned);
    known.unwrap_or_else(|| format!("unknown ({})", algorithm.to_id_string()))
}

fn name_in(names: &[(Oid<'_>, &'static str)], oid: &Oid<'_>) -> Option<&'static str> {
    names.iter().find(|(known, _)| known == oid).map(|(_, name)| *name)
}

/// The `SubjectPublicKeyInfo` of an RSA key of any size, PKCS#8 or PKCS#1: aws-lc-rs reads none that are
/// too weak, and of those people want to know just that.
fn rsa_info(der: &[u8]) -> Option<Vec<u8>> {
    let inner = yasna::parse_der(der, |reader| {
        reader.read_sequence(|reader| {
            reader.next().read_u8()?;
            reader.next().read_der()?;
            let key = reader.next().read_bytes()?;
            reader.read_optional(|reader| reader.read_der())?;
            Ok(Zeroizing::new(key))
        })
    });
    let (modulus, exponent) = yasna::parse_der(inner.as_deref().map_or(der, Vec::as_slice), |reader| {
        reader.read_sequence(|reader| {
            reader.next().read_u8()?;
            let public = (reader.next().read_bigint_bytes()?.0, reader.next().read_bigint_bytes()?.0);
            // The six numbers that are secret.
            for _ in 0..6 {
                Zeroizing::new(reader.next().read_der()?);
            }
            Ok(public)
        })
    })
    .ok()?;
    let key = yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_bigint_bytes(&modulus, true);
            writer.next().write_bigint_bytes(&exponent, true);
        });
    });
    Some(yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_sequence(|writer| {
                writer.next().write_oid(&ObjectIdentifier::from_slice(&[1, 2, 840, 113549, 1, 1, 1]));
                writer.next().write_null();
            });
            writer.next().write_bitvec_bytes(&key, key.len() * 8);
        });
    }))
}

fn modulus_bits(modulus: &[u8]) -> usize {
    let significant = modulus.iter().skip_while(|byte| **byte == 0);
    let mut bits = significant.clone().count() * 8;
    if let Some(first) = significant.clone().next() {
        bits -= first.leading_zeros() as usize;
    }
    bits
}

static OTHER_ALGORITHMS: [(Oid<'static>, &str); 3] =
    [(oid!(1.3.101.112), "Ed25519"), (oid!(1.3.101.113), "Ed448"), (oid!(1.2.840.10040.4.1), "DSA")];
static CURVES: [(Oid<'static>, &str); 6] = [
    (oid!(1.2.840.10045.3.1.7), "P-256"),
    (oid!(1.3.132.0.34), "P-384"),
    (oid!(1.3.132.0.35), "P-521"),
    (oid!(1.3.132.0.33), "P-224"),
    (oid!(1.2.840.10045.3.1.1), "P-192"),
    (oid!(1.3.132.0.10), "secp256k1"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use openssl::ec::{EcGroup, EcKey};
    use openssl::nid::Nid;
    use openssl::pkey::{PKey, Private};
    use openssl::rsa::Rsa;

    fn ec(curve: Nid) -> PKey<Private> {
        PKey::from_ec_key(EcKey::generate(&EcGroup::from_curve_name(curve).unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn the_public_half_is_the_one_openssl_makes() {
        let rsa = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let cases = [
            (ec(Nid::X9_62_PRIME256V1), "P-256"),
            (ec(Nid::SECP384R1), "P-384"),
            (ec(Nid::SECP521R1), "P-521"),
            (PKey::generate_ed25519().unwrap(), "Ed25519"),
            (rsa, "RSA 2048"),
            (PKey::from_rsa(Rsa::generate(1024).unwrap()).unwrap(), "RSA 1024"),
        ];
        for (key, kind) in cases {
            let read = PublicKey::of_private(&key.private_key_to_pkcs8().unwrap()).unwrap();
            assert_eq!(read.to_string(), kind);
            assert_eq!(read.info(), key.public_key_to_der().unwrap());
            let traditional = key.private_key_to_der().unwrap();
            assert_eq!(PublicKey::of_private(&traditional), Some(read));
        }
    }

    #[test]
    fn a_curve_that_is_written_out_makes_no_other_key() {
        let key = EcKey::generate(&EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap()).unwrap();
        let mut group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        group.set_asn1_flag(openssl::ec::Asn1Flag::EXPLICIT_CURVE);
        let written_out = EcKey::from_public_key(&group, key.public_key()).unwrap();
        let written_out = PKey::from_ec_key(written_out).unwrap().public_key_to_der().unwrap();
        let named = PKey::from_ec_key(key).unwrap().public_key_to_der().unwrap();
        assert_ne!(named, written_out);
        let read = PublicKey::from_der(&named).unwrap();
        assert!(read.is_of(&named) && read.is_of(&written_out));
        assert!(!read.is_of(&ec(Nid::X9_62_PRIME256V1).public_key_to_der().unwrap()));
    }

    #[test]
    fn weak_keys_are_told_from_good_ones() {
        let rsa = |bits| PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap();
        let weak = |key: &PKey<Private>| {
            PublicKey::from_der(&key.public_key_to_der().unwrap()).unwrap().weakness().map(str::to_owned)
        };
        assert_eq!(weak(&rsa(2048)), None);
        assert_eq!(weak(&ec(Nid::X9_62_PRIME256V1)), None);
        assert_eq!(
            weak(&rsa(1024)).unwrap(),
            "RSA with 1024 bits, which is not between 2048 and 8192 (BR §6.1.5)"
        );
        assert!(weak(&ec(Nid::X9_62_PRIME192V1)).unwrap().contains("P-192"));
        assert!(weak(&PKey::generate_ed25519().unwrap()).unwrap().contains("1.3.101.112"));
    }
}
