//! [`Csr`]: a certificate signing request that its sender could sign. Only the name and the public
//! key are taken from it; what the certificate allows is the CA's affair.

mod usual;

use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ParsedPublicKey};
use hub_types::IdentityId;
use hub_types::limits::MAX_COMMON_NAME_CHARS;
use x509_parser::der_parser::oid;
use x509_parser::der_parser::oid::Oid;
use x509_parser::error::X509Error;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_EC_P521, OID_PKCS1_RSAENCRYPTION,
};
use x509_parser::prelude::{FromDer, X509CertificationRequest};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::certificate::only_common_name;
use crate::error::Error;
use crate::fs::read_bounded;
use crate::key::PrivateKey;
use crate::name::attribute_text;
use crate::pem;
use crate::reference::{self, Found, kind_of_bytes, kind_of_label, not_a};
use crate::refusal::Refusal;
use crate::x509::{SubjectKey, encode_request, p256_point};
use usual::UsualRequest;

/// A request whose signature is good, whose key is strong enough, and whose subject is an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Csr {
    identity: IdentityId,
    public_key_info: Vec<u8>,
}

/// Where a request is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CsrInput {
    /// In a file, PEM or DER.
    Path(PathBuf),
    /// Here, as PEM.
    Pem(String),
    /// Read and verified.
    Verified(Csr),
}

/// A request that was read, and what it claims: whether its sender has the key is not known yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnverifiedCsr {
    identity: IdentityId,
    der: Vec<u8>,
}

impl UnverifiedCsr {
    /// Reads a file with one request, PEM or DER.
    pub fn read(path: &Path) -> Result<Self, Refusal> {
        let der = request_in_file(path).map_err(bad)?;
        let identity = match UsualRequest::read(&der) {
            Some(request) => identity_of(request.common_name),
            None => identity_of(&only_name(&parse(&der)?)?),
        };
        Ok(Self { identity: identity?, der })
    }

    /// The identity that it asks for.
    pub fn identity(&self) -> &IdentityId {
        &self.identity
    }

    /// Checks that the sender has the key, and that it is strong enough.
    pub fn verify(&self) -> Result<Csr, Refusal> {
        Csr::from_der(&self.der)
    }
}

impl CsrInput {
    pub(crate) fn read(self) -> Result<Csr, Refusal> {
        match self {
            Self::Path(path) => Csr::read(&path),
            Self::Pem(text) => {
                let name = Path::new("the request");
                let found = reference::parse(text.into_bytes(), name, WANTED).map_err(bad)?;
                Csr::from_der(&request_in(found, name).map_err(bad)?)
            }
            Self::Verified(csr) => Ok(csr),
        }
    }
}

impl Csr {
    /// Reads and verifies a file, PEM or DER.
    pub fn read(path: &Path) -> Result<Self, Refusal> {
        Self::from_der(&request_in_file(path).map_err(bad)?)
    }

    /// Parses and verifies DER.
    pub fn from_der(der: &[u8]) -> Result<Self, Refusal> {
        let (name, public_key_info) = verified(der)?;
        Ok(Self { identity: identity_of(&name)?, public_key_info })
    }

    /// The identity that it asks for.
    pub fn identity(&self) -> &IdentityId {
        &self.identity
    }

    /// The public key as a DER `SubjectPublicKeyInfo`.
    pub fn public_key_info(&self) -> &[u8] {
        &self.public_key_info
    }

    pub(crate) fn into_public_key_info(self) -> Vec<u8> {
        self.public_key_info
    }
}

/// A request of a CA.
pub(crate) struct CaRequest {
    /// The whole subject in DER.
    subject: Vec<u8>,
    /// The common name; `None` where the subject is anything but one common name of 1 to 64 characters.
    common_name: Option<String>,
    key: SubjectKey<'static>,
}

impl CaRequest {
    /// Parses and verifies PEM or DER.
    pub(crate) fn parse(request: &[u8]) -> Result<Self, Error> {
        let name = Path::new("the request");
        let der =
            reference::parse(request.to_vec(), name, WANTED).and_then(|found| request_in(found, name))?;
        let refused = |refusal| Error::BadRequest { source: Box::new(refusal) };
        let parsed = parse(&der).map_err(refused)?;
        let public_key_info = verified_key(&parsed).map_err(refused)?;
        let subject = &parsed.certification_request_info.subject;
        let is_short = |name: &String| (1..=MAX_COMMON_NAME_CHARS).contains(&name.chars().count());
        let common_name = (subject.iter_attributes().count() == 1)
            .then(|| only_common_name(subject))
            .flatten()
            .filter(is_short);
        let key = SubjectKey::given(&public_key_info).ok_or_else(|| {
            refused(Refusal::WeakKey { reason: "its algorithm is not supported".to_owned() })
        })?;
        Ok(Self { subject: subject.as_raw().to_vec(), common_name, key })
    }

    /// The common name, where the subject is nothing else.
    pub(crate) fn common_name(&self) -> Result<&str, Error> {
        self.common_name.as_deref().ok_or(Error::OtherSubject)
    }

    /// The whole subject in DER, which must not be empty (RFC 5280 §4.1.2.6).
    pub(crate) fn subject(&self) -> Result<&[u8], Error> {
        const EMPTY: [u8; 2] = [0x30, 0];
        if self.subject == EMPTY { Err(Error::NoSubject) } else { Ok(&self.subject) }
    }

    pub(crate) fn key(&self) -> &SubjectKey<'static> {
        &self.key
    }
}

/// The only common name and the public key of a request whose signature is good and whose key is
/// strong enough.
fn verified(der: &[u8]) -> Result<(String, Vec<u8>), Refusal> {
    if let Some(request) = UsualRequest::read(der) {
        request.verify()?;
        return Ok((request.common_name.to_owned(), request.key.to_vec()));
    }
    let request = parse(der)?;
    let key = verified_key(&request)?;
    Ok((only_name(&request)?, key))
}

/// The public key of a request whose signature is good and whose key is strong enough.
fn verified_key(request: &X509CertificationRequest<'_>) -> Result<Vec<u8>, Refusal> {
    let key = &request.certification_request_info.subject_pki;
    check_key(key)?;
    request.verify_signature().map_err(|error| match error {
        X509Error::SignatureUnsupportedAlgorithm => Refusal::UnknownSignature,
        _ => Refusal::BadSignature,
    })?;
    Ok(key.raw.to_vec())
}

fn parse(der: &[u8]) -> Result<X509CertificationRequest<'_>, Refusal> {
    match X509CertificationRequest::from_der(der) {
        Ok(([], request)) => Ok(request),
        _ => Err(damaged()),
    }
}

fn only_name(request: &X509CertificationRequest<'_>) -> Result<String, Refusal> {
    let names: Vec<_> = request.certification_request_info.subject.iter_common_name().collect();
    let [name] = names.as_slice() else {
        return Err(Refusal::NotOneCommonName { count: names.len() });
    };
    let not_text = || bad(not_a(Path::new("the request"), WANTED, "one whose common name is not text"));
    attribute_text(name).ok_or_else(not_text)
}

fn identity_of(name: &str) -> Result<IdentityId, Refusal> {
    IdentityId::from_common_name(name)
        .map_err(|source| Refusal::NotAnIdentity { name: name.chars().take(80).collect(), source })
}

fn damaged() -> Refusal {
    bad(not_a(Path::new("the request"), WANTED, "damaged DER"))
}

/// Makes a request, as PEM.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use cert_tool::{Csr, KeyType, PrivateKey, create_csr};
/// use hub_types::IdentityId;
///
/// let identity = IdentityId::parse("device01", Some("module01"))?;
/// let request = create_csr(&identity, &PrivateKey::generate(KeyType::P256)?)?;
/// # let file = tempfile::NamedTempFile::new()?;
/// # std::fs::write(&file, &request)?;
/// // What `sign` does with what comes back in a file:
/// assert_eq!(Csr::read(file.path())?.identity().common_name(), "device01/module01");
/// # Ok(())
/// # }
/// ```
pub fn create_csr(identity: &IdentityId, key: &PrivateKey) -> Result<String, Error> {
    let der = encode_request(&identity.common_name(), key)?;
    Ok(String::from_utf8_lossy(&pem::encode(pem::CERTIFICATE_REQUEST, &der)).into_owned())
}

/// The form of a request in a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CsrEncoding {
    /// Base64 between lines (RFC 7468).
    #[default]
    Pem,
    /// The bytes themselves.
    Der,
    /// The bytes in base64, in one line: as the Device Provisioning Service takes a request.
    Base64Der,
}

/// Makes a request in some form.
pub fn create_csr_as(
    identity: &IdentityId,
    key: &PrivateKey,
    encoding: CsrEncoding,
) -> Result<Vec<u8>, Error> {
    let der = encode_request(&identity.common_name(), key)?;
    Ok(match encoding {
        CsrEncoding::Pem => pem::encode(pem::CERTIFICATE_REQUEST, &der).to_vec(),
        CsrEncoding::Der => der,
        CsrEncoding::Base64Der => {
            let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &der);
            format!("{text}\n").into_bytes()
        }
    })
}

fn request_in(found: Found, name: &Path) -> Result<Vec<u8>, Error> {
    match found {
        Found::Pem(block) if LABELS.contains(&block.label.as_str()) => Ok(block.into_public()),
        Found::Pem(block) => Err(not_a(name, WANTED, kind_of_label(&block.label))),
        Found::Other(bytes) if X509CertificationRequest::from_der(&bytes).is_ok() => Ok(bytes),
        Found::Other(bytes) => Err(not_a(name, WANTED, kind_of_bytes(&bytes))),
    }
}

/// The only request of a file: nobody can tell which of two is meant. A `path#offset` means one.
fn request_in_file(path: &Path) -> Result<Vec<u8>, Error> {
    if reference::split(path).is_some() && !path.exists() {
        return request_in(reference::read(path, WANTED)?, path);
    }
    let bytes = read_bounded(path, reference::MAX_FILE_BYTES)?;
    match LABELS.iter().map(|label| pem::count(&bytes, label)).sum() {
        0 | 1 => request_in(reference::parse(bytes, path, WANTED)?, path),
        count => Err(not_a(path, WANTED, format!("a file with {count} requests"))),
    }
}

fn bad(error: Error) -> Refusal {
    Refusal::BadCsr(Box::new(error))
}

/// Only keys that the hub takes and that are not weak. Whether a point is on its curve shows when
/// the signature is verified with it.
fn check_key(key: &SubjectPublicKeyInfo<'_>) -> Result<(), Refusal> {
    let weak = |reason: String| Err(Refusal::WeakKey { reason });
    let algorithm = &key.algorithm.algorithm;
    if *algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
        let curve = key.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
        match curve {
            Some(curve) if curve == OID_EC_P256 || curve == OID_NIST_EC_P384 => Ok(()),
            Some(curve) if curve == OID_P192 => weak("the curve is P-192".to_owned()),
            // Not weak, but nothing of IoT Hub's says that it takes them, and many devices' TLS does not.
            Some(curve) if curve == OID_NIST_EC_P521 => {
                weak("the curve is P-521, which IoT Hub is not known to take".to_owned())
            }
            _ => weak("the curve is neither P-256 nor P-384".to_owned()),
        }
    } else if *algorithm == OID_PKCS1_RSAENCRYPTION {
        check_rsa(key)
    } else {
        weak(format!("the algorithm {algorithm} is neither RSA nor ECDSA"))
    }
}

/// Refuses what is no `SubjectPublicKeyInfo`, and keys that nobody should have a certificate for.
pub(crate) fn check_public_key(der: &[u8]) -> Result<(), Refusal> {
    let bad = |reason: &str| Refusal::BadPublicKey { reason: reason.to_owned() };
    if let Some(point) = p256_point(der) {
        // No signature of the key's owner shows whether its point is on the curve.
        return p256::PublicKey::from_sec1_bytes(point).map(drop).map_err(|_| bad(NOT_ON_CURVE));
    }
    let Ok(([], key)) = SubjectPublicKeyInfo::from_der(der) else {
        return Err(bad("damaged DER"));
    };
    check_key(&key)?;
    let point = key.subject_public_key.data.as_ref();
    let curve = key.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    let parsed = match curve {
        Some(curve) if curve == OID_EC_P256 => ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point),
        Some(curve) if curve == OID_NIST_EC_P384 => ParsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, point),
        _ => return Ok(()),
    };
    parsed.map(drop).map_err(|_| bad(NOT_ON_CURVE))
}

fn check_rsa(key: &SubjectPublicKeyInfo<'_>) -> Result<(), Refusal> {
    let weak = |reason: String| Err(Refusal::WeakKey { reason });
    let Ok(PublicKey::RSA(rsa)) = key.parsed() else {
        return weak("it is damaged".to_owned());
    };
    let bits = rsa.key_size();
    if !(2048..=8192).contains(&bits) {
        return weak(format!("RSA with {bits} bits"));
    }
    match rsa.try_exponent() {
        Ok(exponent) if exponent >= 65_537 && exponent % 2 == 1 => Ok(()),
        _ => weak("its RSA exponent is even, small or huge".to_owned()),
    }
}

const WANTED: &str = "a certificate request";
const NOT_ON_CURVE: &str = "its point is not on its curve";
/// The second one is what old programs write (RFC 7468 §7).
const LABELS: [&str; 2] = [pem::CERTIFICATE_REQUEST, "NEW CERTIFICATE REQUEST"];
const OID_P192: Oid<'static> = oid!(1.2.840.10045.3.1.1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyType;

    #[test]
    fn a_request_made_here_reads_back() {
        let identity = IdentityId::parse("device01", Some("module01")).unwrap();
        let key = PrivateKey::generate(KeyType::P384).unwrap();
        let csr = CsrInput::Pem(create_csr(&identity, &key).unwrap()).read().unwrap();
        assert_eq!(csr.identity(), &identity);
        assert!(csr.public_key_info().ends_with(key.public_key()));
    }

    #[test]
    fn a_changed_name_breaks_the_signature() {
        let key = PrivateKey::generate(KeyType::P256).unwrap();
        let mut der = encode_request("device01", &key).unwrap();
        let at = der.windows(8).position(|window| window == b"device01").unwrap();
        der[at + 7] = b'2';
        assert!(matches!(Csr::from_der(&der), Err(Refusal::BadSignature)));
    }

    #[test]
    fn a_subject_that_is_no_identity_is_refused() {
        let key = PrivateKey::generate(KeyType::P256).unwrap();
        for name in ["", "a b", "a/b/c", "a/"] {
            let der = encode_request(name, &key).unwrap();
            assert!(matches!(Csr::from_der(&der), Err(Refusal::NotAnIdentity { .. })), "{name:?}");
        }
    }

    #[test]
    fn a_bare_key_whose_point_is_on_no_curve_is_refused() {
        for key_type in [KeyType::P256, KeyType::P384] {
            let key = PrivateKey::generate(key_type).unwrap();
            let der = encode_request("a", &key).unwrap();
            let (_, request) = X509CertificationRequest::from_der(&der).unwrap();
            let good = request.certification_request_info.subject_pki.raw.to_vec();
            assert!(check_public_key(&good).is_ok());
            let last = good.len() - 1;
            let flipped = [&good[..last], &[good[last] ^ 1]].concat();
            let zeros = [&good[..last - 40], &[0; 41]].concat();
            for bad in [flipped, zeros] {
                let refusal = check_public_key(&bad).unwrap_err().to_string();
                assert!(refusal.contains("its point is not on its curve"), "{refusal}");
            }
        }
    }

    /// The signature is good, so that nothing but the name is wrong.
    #[test]
    fn a_name_that_is_no_utf_8_is_refused() {
        let key = PrivateKey::generate(KeyType::P256).unwrap();
        let der = encode_request("device01", &key).unwrap();
        let (_, request) = X509CertificationRequest::from_der(&der).unwrap();
        let mut info = request.certification_request_info.raw.to_vec();
        let at = info.windows(8).position(|window| window == b"device01").unwrap();
        info[at] = 0xff;
        let signer = openssl::pkey::PKey::private_key_from_pem(&key.to_pem().unwrap()).unwrap();
        let mut signing =
            openssl::sign::Signer::new(openssl::hash::MessageDigest::sha256(), &signer).unwrap();
        let signature = signing.sign_oneshot_to_vec(&info).unwrap();
        let der = yasna::construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_der(&info);
                writer.next().write_sequence(|writer| {
                    writer.next().write_oid(&yasna::models::ObjectIdentifier::from_slice(&[
                        1, 2, 840, 10045, 4, 3, 2,
                    ]));
                });
                writer.next().write_bitvec_bytes(&signature, signature.len() * 8);
            });
        });
        let refusal = Csr::from_der(&der).unwrap_err();
        assert!(matches!(refusal, Refusal::BadCsr(_)), "{refusal:?}");
    }

    #[test]
    fn what_is_no_request_is_named() {
        let refusal =
            CsrInput::Pem("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----".into()).read();
        let Err(Refusal::BadCsr(error)) = refusal else { panic!("{refusal:?}") };
        assert_eq!(error.to_string(), "`the request` is a private key, not a certificate request");
    }
}
