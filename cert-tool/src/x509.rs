//! What our certificates say. The only module that knows the library that encodes them.

use aws_lc_rs::digest;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyIdMethod, KeyUsagePurpose, PublicKeyData, SerialNumber, SignatureAlgorithm, SigningKey,
};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;

use crate::error::Error;
use crate::key::{KeyType, PrivateKey};

/// From when until when a certificate is good, both ends included, in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: OffsetDateTime,
    pub(crate) not_after: OffsetDateTime,
}

/// A serial number: 16 random bytes, positive and without a leading zero (RFC 5280 §4.1.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Serial([u8; 16]);

impl Serial {
    pub(crate) fn random() -> Result<Self, Error> {
        let mut bytes = [0; 16];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::Crypto("drawing random bytes"))?;
        bytes[0] = bytes[0] & 0x7f | 0x40;
        Ok(Self(bytes))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A CA that is ready to sign: its certificate is parsed once, not for each certificate.
pub(crate) struct Signer {
    issuer: Issuer<'static, SigningKeyOf>,
}

impl Signer {
    /// Takes the name and the key identifier from the CA's certificate.
    pub(crate) fn new(certificate: &[u8], key: PrivateKey) -> Result<Self, Error> {
        let issuer = Issuer::from_ca_cert_der(&CertificateDer::from(certificate), SigningKeyOf(key));
        Ok(Self { issuer: issuer.map_err(|_| Error::Crypto("reading the CA certificate"))? })
    }

    /// A certificate for a device or module.
    pub(crate) fn sign_leaf(
        &self,
        common_name: &str,
        key: &SubjectKey<'_>,
        serial: Serial,
        validity: Validity,
    ) -> Result<Vec<u8>, Error> {
        let mut params = params(common_name, key.point(), serial, validity);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = match key {
            SubjectKey::Requested(key) if is_rsa(key) => {
                vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment]
            }
            _ => vec![KeyUsagePurpose::DigitalSignature],
        };
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        self.sign(&params, key)
    }

    /// The certificate of a CA that issues to devices only.
    pub(crate) fn sign_issuing_ca(
        &self,
        common_name: &str,
        key: &PrivateKey,
        serial: Serial,
        validity: Validity,
    ) -> Result<Vec<u8>, Error> {
        let mut params = ca_params(common_name, key, serial, validity);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.use_authority_key_identifier_extension = true;
        self.sign(&params, &SubjectKey::Own(key))
    }

    fn sign(&self, params: &CertificateParams, key: &SubjectKey<'_>) -> Result<Vec<u8>, Error> {
        let signed = params.signed_by(key, &self.issuer);
        Ok(signed.map_err(|_| Error::Crypto("encoding a certificate"))?.der().to_vec())
    }
}

/// The certificate of a root CA.
pub(crate) fn self_sign_root(
    common_name: &str,
    key: &PrivateKey,
    serial: Serial,
    validity: Validity,
) -> Result<Vec<u8>, Error> {
    let params = ca_params(common_name, key, serial, validity);
    let signed = params.self_signed(&SigningKeyRef(key));
    Ok(signed.map_err(|_| Error::Crypto("encoding a certificate"))?.der().to_vec())
}

/// A certificate signing request with nothing but a common name: the CA decides about the rest.
pub(crate) fn encode_request(common_name: &str, key: &PrivateKey) -> Result<Vec<u8>, Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = name(common_name);
    let request = params.serialize_request(&SigningKeyRef(key));
    Ok(request.map_err(|_| Error::Crypto("encoding a request"))?.der().to_vec())
}

/// The key that a certificate is for.
pub(crate) enum SubjectKey<'a> {
    /// One made here.
    Own(&'a PrivateKey),
    /// One whose owner sent a request.
    Requested(rcgen::SubjectPublicKeyInfo),
}

impl SubjectKey<'_> {
    /// A key in the form of a `SubjectPublicKeyInfo`; `None` where the algorithm is not known.
    pub(crate) fn requested(spki: &[u8]) -> Option<Self> {
        rcgen::SubjectPublicKeyInfo::from_der(spki).ok().map(Self::Requested)
    }

    /// The key in the form of a `SubjectPublicKeyInfo`.
    pub(crate) fn to_info(&self) -> Vec<u8> {
        self.subject_public_key_info()
    }

    fn point(&self) -> &[u8] {
        self.der_bytes()
    }
}

impl PublicKeyData for SubjectKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        match self {
            Self::Own(key) => key.public_key(),
            Self::Requested(key) => key.der_bytes(),
        }
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self {
            Self::Own(key) => algorithm(key.key_type()),
            Self::Requested(key) => key.algorithm(),
        }
    }
}

struct SigningKeyOf(PrivateKey);

struct SigningKeyRef<'a>(&'a PrivateKey);

macro_rules! signing_key {
    ($key:ty) => {
        impl PublicKeyData for $key {
            fn der_bytes(&self) -> &[u8] {
                self.0.public_key()
            }

            fn algorithm(&self) -> &'static SignatureAlgorithm {
                algorithm(self.0.key_type())
            }
        }

        impl SigningKey for $key {
            fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
                self.0.sign(message).map_err(|_| rcgen::Error::RemoteKeyError)
            }
        }
    };
}

signing_key!(SigningKeyOf);
signing_key!(SigningKeyRef<'_>);

fn algorithm(key_type: KeyType) -> &'static SignatureAlgorithm {
    match key_type {
        KeyType::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        KeyType::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
    }
}

fn is_rsa(key: &rcgen::SubjectPublicKeyInfo) -> bool {
    key.algorithm() == &rcgen::PKCS_RSA_SHA256
}

fn ca_params(common_name: &str, key: &PrivateKey, serial: Serial, validity: Validity) -> CertificateParams {
    let mut params = params(common_name, key.public_key(), serial, validity);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// What every profile has. The library's own defaults for dates, serial and key identifier are not
/// for certificates that are really used: all are replaced.
fn params(common_name: &str, point: &[u8], serial: Serial, validity: Validity) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = validity.not_before;
    params.not_after = validity.not_after;
    params.serial_number = Some(SerialNumber::from_slice(serial.as_bytes()));
    params.distinguished_name = name(common_name);
    params.key_identifier_method = KeyIdMethod::PreSpecified(key_identifier(point));
    params
}

/// RFC 5280 §4.2.1.2, method 1: the SHA-1 of the public key's bits.
fn key_identifier(point: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, point).as_ref().to_vec()
}

/// UTF8String: ids have characters that PrintableString lacks.
fn name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}
