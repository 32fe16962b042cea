//! [`Csr`]: a certificate signing request that its sender could sign. Only the name and the public
//! key are taken from it; what the certificate allows is the CA's affair.

mod fast_path;
mod request;
mod signature;

use std::io::Read;
use std::path::{Path, PathBuf};

use hub_types::IdentityId;
use hub_types::limits::MAX_COMMON_NAME_CHARS;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::encoding::pem;
use crate::error::Error;
use crate::error::refusal::Refusal;
use crate::input::location::{self, Found, Wanted, kind_of_bytes, kind_of_label, not_a};
use crate::keys::private::PrivateKey;
use crate::keys::public::PublicKey;
use crate::weak_keys::{self, WeakKey};
use crate::x509::certificate::only_common_name;
use crate::x509::encoder::{SubjectKey, encode_request, p256_point};
use crate::x509::name::attribute_text;
use fast_path::FastPathCsr;
pub(crate) use request::{CsrFault, CsrParts};

/// A request whose signature is good, whose key is strong enough, and whose subject is an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Csr {
    identity: IdentityId,
    public_key_info: Vec<u8>,
    not_copied: Vec<String>,
}

/// The place of a request.
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
        Self::parse(request_in_file(path)?)
    }

    /// Reads an input with one request, of at most 1 MiB; `name` stands in errors.
    pub fn read_from(input: impl Read, name: &Path) -> Result<Self, Refusal> {
        Self::parse(request_in_text(location::read_input(input, name).map_err(bad)?, name)?)
    }

    fn parse(der: Vec<u8>) -> Result<Self, Refusal> {
        let identity = match FastPathCsr::read(&der) {
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
                Csr::from_der(&request_in_text(text.into_bytes(), name)?)
            }
            Self::Verified(csr) => Ok(csr),
        }
    }
}

impl Csr {
    /// Reads and verifies a file, PEM or DER.
    pub fn read(path: &Path) -> Result<Self, Refusal> {
        Self::from_der(&request_in_file(path)?)
    }

    /// Parses and verifies DER.
    pub fn from_der(der: &[u8]) -> Result<Self, Refusal> {
        let Verified { common_name, public_key_info, not_copied } = verified(der)?;
        Ok(Self { identity: identity_of(&common_name)?, public_key_info, not_copied })
    }

    /// The identity that it asks for.
    pub fn identity(&self) -> &IdentityId {
        &self.identity
    }

    /// The public key as a DER `SubjectPublicKeyInfo`, in the one encoding that certificates have.
    pub fn public_key_info(&self) -> &[u8] {
        &self.public_key_info
    }

    /// Returns the parts of the request that certificates do not get: extensions by name or object
    /// identifier, and parts of its subject.
    pub fn not_copied(&self) -> &[String] {
        &self.not_copied
    }

    /// Its public key, and what is not copied from it.
    pub(crate) fn into_parts(self) -> (Vec<u8>, Vec<String>) {
        (self.public_key_info, self.not_copied)
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
        let refused = |refusal| match refusal {
            Refusal::BadCsr(error) => *error,
            refusal => Error::BadRequest { source: Box::new(refusal) },
        };
        let der = request_in_text(request.to_vec(), name).map_err(refused)?;
        let parsed = parse(&der).map_err(refused)?;
        let public_key_info = verified_key(&parsed).map_err(refused)?;
        let subject = &parsed.subject;
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

    /// The subject in DER, whatever it is.
    pub(crate) fn raw_subject(&self) -> &[u8] {
        &self.subject
    }

    pub(crate) fn key(&self) -> &SubjectKey<'static> {
        &self.key
    }
}

/// The only common name and the public key of a request whose signature is good and whose key is
/// strong enough.
fn verified(der: &[u8]) -> Result<Verified, Refusal> {
    if let Some(request) = FastPathCsr::read(der) {
        request.verify()?;
        return Ok(Verified {
            common_name: request.common_name.to_owned(),
            public_key_info: request.key.to_vec(),
            not_copied: Vec::new(),
        });
    }
    let request = parse(der)?;
    Ok(Verified {
        public_key_info: verified_key(&request)?,
        common_name: only_name(&request)?,
        not_copied: request.beside_name_and_key(),
    })
}

/// The public key of a request whose signature is good and whose key is strong enough.
fn verified_key(request: &CsrParts<'_>) -> Result<Vec<u8>, Refusal> {
    weak_keys::check(&request.key)?;
    let key = weak_keys::normalised(&request.key)?;
    signature::verify(request, &key)?;
    Ok(key)
}

/// The parts of a verified request that are used.
struct Verified {
    common_name: String,
    public_key_info: Vec<u8>,
    not_copied: Vec<String>,
}

fn parse(der: &[u8]) -> Result<CsrParts<'_>, Refusal> {
    CsrParts::parse(der).map_err(|fault| bad(not_a(Path::new("the request"), WANTED.name, fault.found())))
}

fn only_name(request: &CsrParts<'_>) -> Result<String, Refusal> {
    let names: Vec<_> = request.subject.iter_common_name().collect();
    let [name] = names.as_slice() else {
        return Err(Refusal::NotOneCommonName { count: names.len() });
    };
    let not_text = || bad(not_a(Path::new("the request"), WANTED.name, "one whose common name is not text"));
    attribute_text(name).ok_or_else(not_text)
}

fn identity_of(name: &str) -> Result<IdentityId, Refusal> {
    IdentityId::from_common_name(name)
        .map_err(|source| Refusal::NotAnIdentity { name: name.chars().take(80).collect(), source })
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
    let public_key = PublicKey::from_der(&SubjectKey::Own(key).to_info());
    if let Some(reason) = public_key.as_ref().and_then(PublicKey::weakness) {
        let source = Box::new(Refusal::WeakKey { reason: reason.to_owned() });
        return Err(Error::RequestWouldBeRefused { source });
    }
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

/// Reads the bytes of a file with a request, of at most 1 MiB. Of a pipe or device that has a name in a folder nothing is
/// read.
pub fn read_request_file(path: &Path) -> Result<Vec<u8>, Error> {
    location::read_file(path)
}

/// Returns true if a file has this content because it is a request in one of the forms of [`CsrEncoding`].
pub fn is_request(content: &[u8]) -> bool {
    match pem::bare_base64(content) {
        Some(der) => CsrParts::parse(&der).is_ok(),
        None => pem::first_of(content, pem::REQUESTS).is_ok() || CsrParts::parse(content).is_ok(),
    }
}

fn request_in(found: Found, name: &Path) -> Result<Vec<u8>, Refusal> {
    match found {
        Found::Pem(block) => Ok(block.into_public()),
        Found::Other(bytes) if !matches!(CsrParts::parse(&bytes), Err(CsrFault::Damaged)) => Ok(bytes),
        Found::Other(bytes) => Err(bad(not_a(name, WANTED.name, kind_of_bytes(&bytes)))),
    }
}

/// The only request of a file: nobody can tell which of two is meant. A `path#offset` means one.
fn request_in_file(path: &Path) -> Result<Vec<u8>, Refusal> {
    if location::split(path).is_some() && !path.exists() {
        return request_in(location::read(path, &WANTED).map_err(bad)?, path);
    }
    request_in_text(location::read_file(path).map_err(bad)?, path)
}

/// The only request of a text. Its private key must not be there, as others could have read it on its way.
fn request_in_text(bytes: Vec<u8>, name: &Path) -> Result<Vec<u8>, Refusal> {
    let mut requests = 0;
    for label in pem::labels(&bytes) {
        requests += usize::from(pem::REQUESTS.contains(&label));
        if pem::PLAIN_KEYS.contains(&label) && pem::first_of(&bytes, &[label]).is_ok() {
            return match pem::first_of(&bytes, pem::REQUESTS) {
                Ok(_) => Err(Refusal::DisclosedKey),
                Err(_) => Err(bad(not_a(name, WANTED.name, kind_of_label(label)))),
            };
        }
    }
    if requests > 1 {
        return Err(bad(not_a(name, WANTED.name, format!("a file with {requests} requests"))));
    }
    request_in(location::parse(bytes, name, &WANTED).map_err(bad)?, name)
}

fn bad(error: Error) -> Refusal {
    Refusal::BadCsr(Box::new(error))
}

/// The one encoding of a public key that is acceptable, though nothing shows that somebody has the private key.
pub(crate) fn unproven_key(der: &[u8]) -> Result<Vec<u8>, Refusal> {
    if let Some(point) = p256_point(der) {
        // No signature of the key's owner shows that its point is on the curve.
        let point = p256::PublicKey::from_sec1_bytes(point).map_err(|_| WeakKey::NotOnCurve);
        return Ok(point.map(|_| der.to_vec())?);
    }
    let Ok(([], key)) = SubjectPublicKeyInfo::from_der(der) else {
        return Err(Refusal::BadPublicKey { reason: "damaged DER".to_owned() });
    };
    weak_keys::check_unproven(&key)?;
    Ok(weak_keys::normalised(&key)?)
}

const WANTED: Wanted = Wanted { name: "a certificate request", labels: pem::REQUESTS };

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::private::KeyType;

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
            let good = CsrParts::parse(&der).unwrap().key.raw.to_vec();
            assert_eq!(unproven_key(&good).unwrap(), good);
            let last = good.len() - 1;
            let flipped = [&good[..last], &[good[last] ^ 1]].concat();
            let zeros = [&good[..last - 40], &[0; 41]].concat();
            for bad in [flipped, zeros] {
                let refusal = unproven_key(&bad).unwrap_err().to_string();
                assert!(refusal.contains("its point is not on its curve"), "{refusal}");
            }
        }
    }

    /// The signature is good, so that nothing but the name is wrong.
    #[test]
    fn a_name_that_is_no_utf_8_is_refused() {
        let key = PrivateKey::generate(KeyType::P256).unwrap();
        let der = encode_request("device01", &key).unwrap();
        let mut info = CsrParts::parse(&der).unwrap().content.to_vec();
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
