//! Certificates of CAs: roots, CAs below others, renewed ones, and cross-certificates.

use rcgen::{
    BasicConstraints, CertificateParams, CrlDistributionPoint, CustomExtension, DistinguishedName, IsCa,
    KeyIdMethod, KeyUsagePurpose, PublicKeyData as _, SerialNumber,
};
use x509_parser::prelude::{X509Certificate, X509Extension};

use super::{PlaceholderSigner, Serial, SubjectKey, Validity, key_identifier, name};
use crate::error::Error;
use crate::keys::handle::KeyHandle;
use crate::x509::name_constraints::NameConstraints;
use crate::x509::publication::Publication;
use crate::x509::signer::{SignedParts, Signer};

/// The subject of a CA's certificate.
#[derive(Debug, Clone, Copy)]
pub(crate) enum CaSubject<'a> {
    CommonName(&'a str),
    /// A DER `Name`, which is kept byte for byte.
    Encoded(&'a [u8]),
}

/// The limits of a CA, and what its key may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CaTerms {
    /// The number of CAs that may stand below it on a path; `None` for any number.
    pub(crate) path_length: Option<u8>,
    /// The key may sign more than certificates and lists: digitalSignature.
    pub(crate) has_digital_signature: bool,
    pub(crate) constraints: NameConstraints,
    /// The name constraints of an earlier certificate, if they are kept.
    pub(crate) kept_constraints: Option<EncodedExtension>,
}

/// An extension of a certificate as it is encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EncodedExtension(CustomExtension);

impl EncodedExtension {
    pub(crate) fn copy_of(extension: &X509Extension<'_>) -> Result<Self, Error> {
        let oid: Vec<u64> = extension.oid.iter().ok_or(FAILED)?.collect();
        let mut copy = CustomExtension::from_oid_content(&oid, extension.value.to_vec());
        copy.set_criticality(extension.critical);
        Ok(Self(copy))
    }
}

impl CaTerms {
    fn apply_to(&self, params: &mut CertificateParams) {
        params.is_ca = IsCa::Ca(match self.path_length {
            Some(length) => BasicConstraints::Constrained(length),
            None => BasicConstraints::Unconstrained,
        });
        if self.has_digital_signature {
            params.key_usages.push(KeyUsagePurpose::DigitalSignature);
        }
        params.key_usages.extend([KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign]);
        params.name_constraints = self.constraints.to_params();
        params.custom_extensions.extend(self.kept_constraints.iter().map(|kept| kept.0.clone()));
    }
}

impl Signer {
    /// A certificate for a CA below this one.
    pub(crate) fn sign_ca(
        &self,
        subject: CaSubject<'_>,
        key: &SubjectKey<'_>,
        terms: &CaTerms,
        publication: &Publication,
        serial: Serial,
        validity: Validity,
    ) -> Result<Vec<u8>, Error> {
        let mut params = dated(serial, validity);
        params.key_identifier_method = KeyIdMethod::PreSpecified(key_identifier(key.der_bytes()));
        terms.apply_to(&mut params);
        params.use_authority_key_identifier_extension = true;
        publish(publication, &mut params);
        let subject = put_subject(subject, &mut params);
        let unsigned = params.signed_by(key, &self.issuer()).map_err(|_| FAILED)?;
        self.sign_named(unsigned.der(), subject)
    }

    /// A certificate with the subject, key and extensions of another one of a CA: a renewed or a
    /// cross-certificate. Only what speaks of the issuer is this one's.
    pub(crate) fn sign_again(
        &self,
        other: &X509Certificate<'_>,
        publication: &Publication,
        serial: Serial,
        validity: Validity,
    ) -> Result<Vec<u8>, Error> {
        let key = SubjectKey::given(other.public_key().raw).ok_or(Error::Crypto("reading a CA's key"))?;
        let is_self_signed =
            other.subject().as_raw() == self.name() && key.der_bytes() == self.key().public_key();
        let mut params = dated(serial, validity);
        for extension in other.extensions() {
            let oid: Vec<u64> = extension.oid.iter().ok_or(FAILED)?.collect();
            if is_self_signed || !OF_ISSUER.contains(&oid.as_slice()) {
                params.custom_extensions.push(EncodedExtension::copy_of(extension)?.0);
            }
        }
        if !is_self_signed {
            params.use_authority_key_identifier_extension = true;
            publish(publication, &mut params);
        }
        let subject = put_subject(CaSubject::Encoded(other.subject().as_raw()), &mut params);
        let unsigned = params.signed_by(&key, &self.issuer()).map_err(|_| FAILED)?;
        self.sign_named(unsigned.der(), subject)
    }
}

/// The certificate of a root CA.
pub(crate) fn self_sign_root(
    subject: CaSubject<'_>,
    key: &dyn KeyHandle,
    terms: &CaTerms,
    serial: Serial,
    validity: Validity,
) -> Result<Vec<u8>, Error> {
    let mut params = dated(serial, validity);
    let subject = put_subject(subject, &mut params);
    params.key_identifier_method = KeyIdMethod::PreSpecified(key_identifier(key.public_key()));
    terms.apply_to(&mut params);
    let unsigned = params.self_signed(&PlaceholderSigner(key)).map_err(|_| FAILED)?;
    let Some(subject) = subject else { return crate::x509::signer::sign_own(unsigned.der(), key) };
    let signed_parts = SignedParts::read(unsigned.der()).map_err(|_| FAILED)?;
    let named = signed_parts.with_issuer_and_subject(subject).map_err(|_| FAILED)?;
    signed_parts.signed(&named, key)
}

/// A request with the subject of a CA's certificate.
pub(crate) fn encode_request_again(subject: &[u8], key: &dyn KeyHandle) -> Result<Vec<u8>, Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let unsigned = params.serialize_request(&PlaceholderSigner(key)).map_err(|_| FAILED)?;
    let signed_parts = SignedParts::read(unsigned.der()).map_err(|_| FAILED)?;
    let named = signed_parts.with_request_subject(subject).map_err(|_| FAILED)?;
    signed_parts.signed(&named, key)
}

fn dated(serial: Serial, validity: Validity) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = validity.not_before;
    params.not_after = validity.not_after;
    params.serial_number = Some(SerialNumber::from_slice(serial.as_bytes()));
    params.distinguished_name = DistinguishedName::new();
    params
}

/// Puts a subject in; one that is given in DER is put in after the encoder's work.
fn put_subject<'a>(subject: CaSubject<'a>, params: &mut CertificateParams) -> Option<&'a [u8]> {
    match subject {
        CaSubject::CommonName(common_name) => {
            params.distinguished_name = name(common_name);
            None
        }
        CaSubject::Encoded(der) => Some(der),
    }
}

/// Adds cRLDistributionPoints (RFC 5280 §4.2.1.13) and authorityInfoAccess (§4.2.2.1).
pub(super) fn publish(publication: &Publication, params: &mut CertificateParams) {
    let points = publication.crl_urls().iter().map(|url| CrlDistributionPoint { uris: vec![url.clone()] });
    params.crl_distribution_points = points.collect();
    if publication.issuer_urls().is_empty() {
        return;
    }
    let value = yasna::construct_der(|writer| {
        writer.write_sequence_of(|writer| {
            for url in publication.issuer_urls() {
                writer.next().write_sequence(|writer| {
                    writer.next().write_oid(&yasna::models::ObjectIdentifier::from_slice(CA_ISSUERS));
                    let uri = yasna::Tag::context(UNIFORM_RESOURCE_IDENTIFIER);
                    writer.next().write_tagged_implicit(uri, |writer| writer.write_ia5_string(url));
                });
            }
        });
    });
    params.custom_extensions.push(CustomExtension::from_oid_content(AUTHORITY_INFO_ACCESS, value));
}

const FAILED: Error = Error::Crypto("encoding a certificate");
const AUTHORITY_INFO_ACCESS: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 1, 1];
const CA_ISSUERS: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 48, 2];
/// The number of this choice in `GeneralName` (RFC 5280 §4.2.1.6).
const UNIFORM_RESOURCE_IDENTIFIER: u64 = 6;
/// The extensions that speak of the issuer: authorityKeyIdentifier, cRLDistributionPoints, freshestCRL,
/// authorityInfoAccess.
const OF_ISSUER: [&[u64]; 4] = [&[2, 5, 29, 35], &[2, 5, 29, 31], &[2, 5, 29, 46], AUTHORITY_INFO_ACCESS];
