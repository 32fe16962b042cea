//! The contents of issued certificates. The only module that knows the library that encodes them.

mod authority;

use aws_lc_rs::digest;
use rcgen::{
    CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyUsagePurpose, PublicKeyData, RevokedCertParams, SerialNumber,
    SignatureAlgorithm, SigningKey,
};
use time::OffsetDateTime;
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::RSAPublicKey;

use crate::error::Error;
use crate::keys::handle::KeyHandle;
use crate::keys::private::KeyType;
use crate::x509::crl::{RevocationList, RevocationReason, Revoked};
use crate::x509::extended_key_usage::ExtendedKeyUsage;
use crate::x509::publication::Publication;
use crate::x509::signer::{Signer, sign_own};

pub(crate) use authority::{CaSubject, CaTerms, EncodedExtension, encode_request_again, self_sign_root};

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
        let [serial] = Self::random_many()?;
        Ok(serial)
    }

    /// Several: drawing them one by one would take longer for each than its hashes.
    pub(crate) fn random_many<const N: usize>() -> Result<[Self; N], Error> {
        let mut bytes = [[0; 16]; N];
        aws_lc_rs::rand::fill(bytes.as_flattened_mut()).map_err(|_| Error::Crypto("drawing random bytes"))?;
        Ok(bytes.map(|mut serial| {
            serial[0] = serial[0] & 0x7f | 0x40;
            Self(serial)
        }))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Signer {
    /// A certificate for a device or module.
    pub(crate) fn sign_leaf(
        &self,
        common_name: &str,
        key: &SubjectKey<'_>,
        serial: Serial,
        validity: Validity,
    ) -> Result<Vec<u8>, Error> {
        let identifier = key_identifier(key.der_bytes());
        let mut params = leaf_params(common_name, identifier, serial, validity);
        params.use_authority_key_identifier_extension = true;
        let unsigned = params.signed_by(key, &self.issuer());
        self.sign(unsigned.map_err(|_| Error::Crypto("encoding a certificate"))?.der())
    }

    /// A leaf to be filled in: name, key and serial number are samples, and so are the signature and the
    /// issuer's name. Its key identifier is [`SAMPLE_KEY_IDENTIFIER`].
    pub(crate) fn encode_sample(
        &self,
        key_use: KeyUse,
        usages: &[ExtendedKeyUsage],
        publication: &Publication,
        validity: Validity,
    ) -> Result<Vec<u8>, Error> {
        let serial = Serial([0x40; 16]);
        let mut params = leaf_params("", SAMPLE_KEY_IDENTIFIER.to_vec(), serial, validity);
        if key_use == KeyUse::Rsa && usages.contains(&ExtendedKeyUsage::ServerAuth) {
            params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
        }
        params.extended_key_usages = usages.iter().map(purpose).collect();
        params.use_authority_key_identifier_extension = true;
        authority::publish(publication, &mut params);
        let unsigned = params.signed_by(&PlaceholderSigner(self.key()), &self.issuer());
        Ok(unsigned.map_err(|_| Error::Crypto("encoding a certificate"))?.der().to_vec())
    }

    /// A revocation list (RFC 5280 §5). Its number must be greater than that of every earlier one.
    pub(crate) fn sign_crl(&self, list: &RevocationList) -> Result<Vec<u8>, Error> {
        let params = CertificateRevocationListParams {
            this_update: list.this_update,
            next_update: list.next_update,
            crl_number: SerialNumber::from(list.number),
            issuing_distribution_point: None,
            revoked_certs: list.revoked.iter().map(revoked_params).collect(),
            key_identifier_method: KeyIdMethod::PreSpecified(self.key_identifier().to_vec()),
        };
        let unsigned = params.signed_by(&self.issuer());
        self.sign(unsigned.map_err(|_| Error::Crypto("encoding a revocation list"))?.der())
    }

    /// The issuer as the encoder needs it; its name is put in later.
    fn issuer(&self) -> Issuer<'static, PlaceholderSigner<'_>> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.key_identifier_method = KeyIdMethod::PreSpecified(self.key_identifier().to_vec());
        Issuer::new(params, PlaceholderSigner(self.key()))
    }
}

fn revoked_params(revoked: &Revoked) -> RevokedCertParams {
    RevokedCertParams {
        serial_number: SerialNumber::from_slice(&revoked.serial),
        revocation_time: revoked.at,
        reason_code: revoked.reason.map(|reason| match reason {
            RevocationReason::AffiliationChanged => rcgen::RevocationReason::AffiliationChanged,
            RevocationReason::CaCompromise => rcgen::RevocationReason::CaCompromise,
            RevocationReason::CertificateHold => rcgen::RevocationReason::CertificateHold,
            RevocationReason::CessationOfOperation => rcgen::RevocationReason::CessationOfOperation,
            RevocationReason::KeyCompromise => rcgen::RevocationReason::KeyCompromise,
            RevocationReason::PrivilegeWithdrawn => rcgen::RevocationReason::PrivilegeWithdrawn,
            RevocationReason::Superseded => rcgen::RevocationReason::Superseded,
        }),
        invalidity_date: None,
    }
}

/// A certificate signing request with nothing but a common name: the CA decides about the rest.
pub(crate) fn encode_request(common_name: &str, key: &dyn KeyHandle) -> Result<Vec<u8>, Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = name(common_name);
    let unsigned = params.serialize_request(&PlaceholderSigner(key));
    sign_own(unsigned.map_err(|_| Error::Crypto("encoding a request"))?.der(), key)
}

/// The possible uses of a leaf's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyUse {
    /// Signing, and for servers receiving a secret: old TLS sends one encrypted to an RSA key.
    Rsa,
    /// Signing only.
    Signing,
}

impl KeyUse {
    pub(crate) fn of(key: &SubjectKey<'_>) -> Self {
        if key.algorithm() == &rcgen::PKCS_RSA_SHA256 { Self::Rsa } else { Self::Signing }
    }
}

/// The key that a certificate is for.
pub(crate) enum SubjectKey<'a> {
    /// One that is at hand.
    Own(&'a dyn KeyHandle),
    /// One of which its owner gave the public half.
    Given(GivenKey),
}

/// A public key that was given.
pub(crate) struct GivenKey {
    algorithm: &'static SignatureAlgorithm,
    /// As [`KeyHandle::public_key`] has it.
    bytes: Vec<u8>,
}

impl SubjectKey<'_> {
    /// A key in the form of a `SubjectPublicKeyInfo`; `None` where the algorithm is not known.
    pub(crate) fn given(info: &[u8]) -> Option<Self> {
        // The library tries one algorithm after the other.
        let (algorithm, bytes) = match p256_point(info) {
            Some(point) => (&rcgen::PKCS_ECDSA_P256_SHA256, point.to_vec()),
            None => {
                let key = rcgen::SubjectPublicKeyInfo::from_der(info).ok()?;
                (key.algorithm(), key.der_bytes().to_vec())
            }
        };
        Some(Self::Given(GivenKey { algorithm, bytes }))
    }

    /// Its kind; `None` where such keys are not made here.
    pub(crate) fn key_type(&self) -> Option<KeyType> {
        match self {
            Self::Own(key) => Some(key.key_type()),
            Self::Given(key) => match key.algorithm {
                it if it == &rcgen::PKCS_ECDSA_P256_SHA256 => Some(KeyType::P256),
                it if it == &rcgen::PKCS_ECDSA_P384_SHA384 => Some(KeyType::P384),
                it if it == &rcgen::PKCS_RSA_SHA256 => {
                    let (_, key) = RSAPublicKey::from_der(&key.bytes).ok()?;
                    KeyType::of_rsa_bits(key.key_size())
                }
                _ => None,
            },
        }
    }

    /// The key in the form of a `SubjectPublicKeyInfo`.
    pub(crate) fn to_info(&self) -> Vec<u8> {
        match self.der_bytes() {
            point
                if point.len() == P256_POINT_BYTES && self.algorithm() == &rcgen::PKCS_ECDSA_P256_SHA256 =>
            {
                [P256_INFO, point].concat()
            }
            _ => self.subject_public_key_info(),
        }
    }
}

impl PublicKeyData for SubjectKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        match self {
            Self::Own(key) => key.public_key(),
            Self::Given(key) => &key.bytes,
        }
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self {
            Self::Own(key) => algorithm(key.key_type()),
            Self::Given(key) => key.algorithm,
        }
    }
}

/// Stands for a key while the encoder works: says what it is, and signs nothing.
struct PlaceholderSigner<'a>(&'a dyn KeyHandle);

impl PublicKeyData for PlaceholderSigner<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        algorithm(self.0.key_type())
    }
}

impl SigningKey for PlaceholderSigner<'_> {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(Vec::new())
    }
}

fn algorithm(key_type: KeyType) -> &'static SignatureAlgorithm {
    match key_type {
        KeyType::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        KeyType::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
        KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096 => &rcgen::PKCS_RSA_SHA256,
    }
}

/// A leaf that its owner signs with: beside clientAuth alone, keys do nothing else (RFC 5280 §4.2.1.12).
fn leaf_params(
    common_name: &str,
    key_identifier: Vec<u8>,
    serial: Serial,
    validity: Validity,
) -> CertificateParams {
    let mut params = params(common_name, key_identifier, serial, validity);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn purpose(usage: &ExtendedKeyUsage) -> ExtendedKeyUsagePurpose {
    match usage {
        ExtendedKeyUsage::ClientAuth => ExtendedKeyUsagePurpose::ClientAuth,
        ExtendedKeyUsage::Other(oid) => ExtendedKeyUsagePurpose::Other(oid.arcs().map(u64::from).collect()),
        ExtendedKeyUsage::ServerAuth => ExtendedKeyUsagePurpose::ServerAuth,
    }
}

/// Returns the parameters that all profiles share. The library's own defaults for dates, serial and
/// key identifier are not for certificates that are really used: all are replaced.
fn params(
    common_name: &str,
    key_identifier: Vec<u8>,
    serial: Serial,
    validity: Validity,
) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = validity.not_before;
    params.not_after = validity.not_after;
    params.serial_number = Some(SerialNumber::from_slice(serial.as_bytes()));
    params.distinguished_name = name(common_name);
    params.key_identifier_method = KeyIdMethod::PreSpecified(key_identifier);
    params
}

/// RFC 5280 §4.2.1.2, method 1: the SHA-1 of the public key's bits.
pub(crate) fn key_identifier(point: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, point).as_ref().to_vec()
}

/// UTF8String: ids have characters that PrintableString lacks.
fn name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// The bytes before the point in the `SubjectPublicKeyInfo` of a key on P-256 (RFC 5480 §2).
const P256_INFO: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const P256_POINT_BYTES: usize = 65;
/// The first byte of a point that is neither compressed nor hybrid (SEC 1 §2.3.3).
const UNCOMPRESSED: u8 = 4;

/// The point of a key on P-256, the kind that comes by the million, if `info` is such a key in the usual form.
pub(crate) fn p256_point(info: &[u8]) -> Option<&[u8]> {
    info.strip_prefix(P256_INFO)
        .filter(|point| point.len() == P256_POINT_BYTES && point.first() == Some(&UNCOMPRESSED))
}

/// id-at-commonName, 2.5.4.3 (RFC 5280, appendix A.1).
pub(crate) const COMMON_NAME: &[u8] = &[0x06, 0x03, 0x55, 0x04, 0x03];
/// No key has it: the SHA-1 of nothing that is known.
pub(crate) const SAMPLE_KEY_IDENTIFIER: [u8; 20] = [0xa5; 20];
