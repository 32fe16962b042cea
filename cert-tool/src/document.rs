//! [`Documents`]: what stands in a file of any kind: certificates, requests, revocation lists, keys.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use p12_keystore::Pkcs12Archive;
use p12_keystore::error::Error as PfxError;
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509CertificationRequest};

use crate::certificate::Certificate;
use crate::encrypted_key;
use crate::error::Error;
use crate::pem::{self, Block, PemError};
use crate::pem_stream::{self, MAX_BYTES, PemStream, Start};
use crate::public_key::PublicKey;
use crate::reference::{broken_pem, kind_of_bytes, kind_of_label, not_a, split};
use crate::secret::{AskSecret, SecretFor};

/// One thing in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The file, or `path#offset` where more stands before it.
    pub place: PathBuf,
    /// What it is.
    pub content: Content,
    /// The name that a PFX file gives it.
    pub friendly_name: Option<String>,
}

/// What a document is. Of private keys only the public half is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content {
    /// A certificate.
    Certificate(Certificate),
    /// A revocation list, in DER (RFC 5280 §5).
    Crl(Vec<u8>),
    /// A private key that can't be read without its password: PKCS#8 in DER, or nothing where it is
    /// encrypted in OpenSSL's old way, which is not read. [`Document::unlock`] opens it.
    EncryptedKey(Vec<u8>),
    /// A private key.
    PrivateKey(PublicKey),
    /// A public key.
    PublicKey(PublicKey),
    /// A certificate request, in DER (RFC 2986).
    Request(Vec<u8>),
}

/// The documents of an input, in their order. One that is damaged does not hide the others.
pub struct Documents {
    name: PathBuf,
    is_first: bool,
    left: Left,
}

enum Left {
    Pem(PemStream<Box<dyn Read>>),
    Read(std::vec::IntoIter<Document>),
}

/// Reads a file, PEM, DER or PFX, or `path#offset`, the PEM block that begins at that byte.
///
/// PEM may be of any length: only one block of it is in memory at a time. Anything else has at most
/// 16 MiB.
pub fn read_documents(reference: &Path, ask: &mut AskSecret<'_>) -> Result<Documents, Error> {
    match split(reference) {
        // A file whose own name ends like an offset is read as a whole.
        Some((path, offset)) if !reference.exists() => block_at(reference, &path, offset),
        _ => {
            let file = File::open(reference).map_err(Error::io("open", reference))?;
            read_documents_from(file, reference, ask)
        }
    }
}

/// Reads an input; `name` stands in errors.
pub fn read_documents_from(
    input: impl Read + 'static,
    name: &Path,
    ask: &mut AskSecret<'_>,
) -> Result<Documents, Error> {
    let input: Box<dyn Read> = Box::new(input);
    let left = match pem_stream::start(input).map_err(Error::io("read", name))? {
        Start::Pem(stream) => Left::Pem(stream),
        Start::Other(bytes) => Left::Read(read_der(&bytes, name, ask)?.into_iter()),
        Start::TooLarge => {
            return Err(Error::TooLarge { path: name.to_owned(), limit: MAX_BYTES as u64 });
        }
    };
    Ok(Documents { name: name.to_owned(), is_first: true, left })
}

impl Document {
    /// Opens a private key that is encrypted; every other document stays as it is, and so does the key
    /// when nobody knows its password.
    pub fn unlock(&mut self, ask: &mut AskSecret<'_>) -> Result<(), Error> {
        let Content::EncryptedKey(sealed) = &self.content else {
            return Ok(());
        };
        if sealed.is_empty() {
            return Ok(());
        }
        let asked_for = SecretFor::Document(&self.place);
        let Some(secret) = ask(asked_for)? else { return Ok(()) };
        let key = encrypted_key::open(sealed, &self.place, asked_for, &mut |_| Ok(Some(secret.clone())))?;
        let key = PublicKey::of_private(&key);
        let key = key.ok_or_else(|| not_a(&self.place, WANTED, "a private key of an unknown kind"))?;
        self.content = Content::PrivateKey(key);
        Ok(())
    }

    /// Why a private key is still encrypted: it can't be read here, or its password is missing; `None` of
    /// all other documents.
    pub fn why_locked(&self) -> Option<Error> {
        match &self.content {
            Content::EncryptedKey(sealed) if sealed.is_empty() => {
                Some(encrypted_key::old_encryption(&self.place))
            }
            Content::EncryptedKey(_) => {
                Some(Error::SecretNeeded { what: SecretFor::Document(&self.place).to_string() })
            }
            _ => None,
        }
    }
}

impl Iterator for Documents {
    type Item = Result<Document, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let stream = match &mut self.left {
            Left::Read(documents) => return documents.next().map(Ok),
            Left::Pem(stream) => stream,
        };
        loop {
            let found = match stream.next_block() {
                Ok(found) => found?,
                Err(error) => {
                    self.left = Left::Read(Vec::new().into_iter());
                    return Some(Err(Error::io("read", &self.name)(error)));
                }
            };
            // The name of a curve, which OpenSSL writes before a key on it.
            if found.block.as_ref().is_ok_and(|block| block.label == "EC PARAMETERS") {
                continue;
            }
            let mut place = self.name.clone();
            if !std::mem::take(&mut self.is_first) {
                place.as_mut_os_string().push(format!("#{}", found.offset));
            }
            let content = content_of(found.block, &place);
            return Some(content.map(|content| Document { place, content, friendly_name: None }));
        }
    }
}

fn block_at(reference: &Path, path: &Path, offset: u64) -> Result<Documents, Error> {
    let mut file = File::open(path).map_err(Error::io("open", path))?;
    file.seek(SeekFrom::Start(offset)).map_err(Error::io("read", path))?;
    let mut begins = [0; pem::BEGIN.len()];
    let is_block = file.read_exact(&mut begins).is_ok() && begins == pem::BEGIN;
    file.seek(SeekFrom::Start(offset)).map_err(Error::io("read", path))?;
    let found = match pem_stream::start(file).map_err(Error::io("read", path))? {
        Start::Pem(mut stream) if is_block => stream.next_block().map_err(Error::io("read", path))?,
        _ => None,
    };
    let Some(found) = found else {
        return Err(not_a(reference, WANTED, "a place where no PEM block begins"));
    };
    let content = content_of(found.block, reference)?;
    let document = Document { place: reference.to_owned(), content, friendly_name: None };
    let left = Left::Read(vec![document].into_iter());
    Ok(Documents { name: reference.to_owned(), is_first: true, left })
}

fn content_of(block: Result<Block, PemError>, place: &Path) -> Result<Content, Error> {
    let block = match block {
        Ok(block) => block,
        Err(PemError::Encrypted) => return Ok(Content::EncryptedKey(Vec::new())),
        Err(error) => return Err(not_a(place, WANTED, broken_pem(error))),
    };
    let der = &block.der;
    let content = match block.label.as_str() {
        pem::CERTIFICATE | "X509 CERTIFICATE" => Certificate::from_der(der).map(Content::Certificate),
        pem::CERTIFICATE_REQUEST | "NEW CERTIFICATE REQUEST" => request(der),
        "X509 CRL" => crl(der),
        pem::ENCRYPTED_PRIVATE_KEY => Some(Content::EncryptedKey(der.to_vec())),
        "PUBLIC KEY" => PublicKey::from_der(der).map(Content::PublicKey),
        pem::PRIVATE_KEY | "EC PRIVATE KEY" | "RSA PRIVATE KEY" => {
            PublicKey::of_private(der).map(Content::PrivateKey)
        }
        label => return Err(not_a(place, WANTED, kind_of_label(label))),
    };
    content.ok_or_else(|| {
        let kind = kind_of_label(&block.label);
        let damage =
            if kind == "a private key" { "damaged, or of a kind that is not known" } else { "damaged" };
        not_a(place, WANTED, format!("{kind}, but {damage}"))
    })
}

fn read_der(bytes: &[u8], name: &Path, ask: &mut AskSecret<'_>) -> Result<Vec<Document>, Error> {
    if is_pfx(bytes) {
        return read_pfx(bytes, name, ask);
    }
    let content = Certificate::from_der(bytes)
        .map(Content::Certificate)
        .or_else(|| request(bytes))
        .or_else(|| crl(bytes))
        .or_else(|| PublicKey::of_private(bytes).map(Content::PrivateKey))
        .or_else(|| PublicKey::from_der(bytes).map(Content::PublicKey))
        .or_else(|| is_encrypted_key(bytes).then(|| Content::EncryptedKey(bytes.to_vec())));
    let content = content.ok_or_else(|| not_a(name, WANTED, kind_of_bytes(bytes)))?;
    Ok(vec![Document { place: name.to_owned(), content, friendly_name: None }])
}

fn request(der: &[u8]) -> Option<Content> {
    let (rest, _) = X509CertificationRequest::from_der(der).ok()?;
    rest.is_empty().then(|| Content::Request(der.to_vec()))
}

fn crl(der: &[u8]) -> Option<Content> {
    let (rest, _) = CertificateRevocationList::from_der(der).ok()?;
    rest.is_empty().then(|| Content::Crl(der.to_vec()))
}

/// `PFX ::= SEQUENCE { version INTEGER (3), … }` (RFC 7292 §4).
fn is_pfx(bytes: &[u8]) -> bool {
    body_of_sequence(bytes).is_some_and(|body| body.starts_with(&[0x02, 0x01, 0x03, 0x30]))
}

/// `EncryptedPrivateKeyInfo ::= SEQUENCE { SEQUENCE { OID of PKCS#5 or PKCS#12, … }, OCTET STRING }`.
fn is_encrypted_key(bytes: &[u8]) -> bool {
    const PKCS: [u8; 7] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01];
    let oid = body_of_sequence(bytes).and_then(body_of_sequence).and_then(|body| body.get(2..));
    oid.is_some_and(|oid| oid.starts_with(&PKCS) && matches!(oid.get(PKCS.len()), Some(0x05 | 0x0c)))
}

fn body_of_sequence(bytes: &[u8]) -> Option<&[u8]> {
    match bytes {
        [0x30, length @ 0..0x80, rest @ ..] if *length > 0 => Some(rest),
        [0x30, 0x80, rest @ ..] => Some(rest),
        [0x30, length @ 0x81..=0x84, rest @ ..] => rest.get(usize::from(length & 0x7f)..),
        _ => None,
    }
}

fn read_pfx(bytes: &[u8], name: &Path, ask: &mut AskSecret<'_>) -> Result<Vec<Document>, Error> {
    let damaged = |found: String| not_a(name, WANTED, found);
    let archive = match Pkcs12Archive::from_pkcs12(bytes, "") {
        Ok(archive) => archive,
        Err(error) if !may_be_the_password(&error) => {
            return Err(pfx_fault(&error, name));
        }
        Err(_) => {
            let asked_for = SecretFor::Document(name);
            let password = ask(asked_for)?;
            let password = password.ok_or_else(|| Error::SecretNeeded { what: asked_for.to_string() })?;
            Pkcs12Archive::from_pkcs12(bytes, password.expose()).map_err(|error| {
                if may_be_the_password(&error) {
                    Error::WrongSecret { what: asked_for.to_string() }
                } else {
                    pfx_fault(&error, name)
                }
            })?
        }
    };
    let document = |content, friendly_name| Document { place: name.to_owned(), content, friendly_name };
    let mut documents = Vec::new();
    for bag in archive.certs {
        let certificate = Certificate::from_der(bag.cert.as_der())
            .ok_or_else(|| damaged("a PFX file with a damaged certificate".to_owned()))?;
        documents.push(document(Content::Certificate(certificate), bag.friendly_name));
    }
    for bag in archive.keys {
        let key = PublicKey::of_private(bag.key.as_der())
            .ok_or_else(|| damaged("a PFX file with a key of an unknown kind".to_owned()))?;
        documents.push(document(Content::PrivateKey(key), bag.friendly_name));
    }
    Ok(documents)
}

/// A wrong password shows itself in the MAC, or in a padding that makes no sense.
fn may_be_the_password(error: &PfxError) -> bool {
    matches!(
        error,
        PfxError::MacError(_) | PfxError::UnpadError | PfxError::Pkcs5Error(_) | PfxError::InvalidLength
    )
}

/// What is wrong with a PFX file, whatever its password.
fn pfx_fault(error: &PfxError, name: &Path) -> Error {
    let found = match error {
        PfxError::InvalidVersion => "a PFX file of another version than 3",
        PfxError::UnsupportedContentType => "a PFX file that is encrypted or signed with certificates",
        PfxError::UnsupportedCertificateType => "a PFX file with a certificate of another kind than X.509",
        PfxError::UnsupportedEncryptionScheme => {
            "a PFX file that is encrypted in a way that is not read here"
        }
        PfxError::UnsupportedMacAlgorithm => "a PFX file whose password check (MAC) is not read here",
        PfxError::InvalidParameters => {
            "a PFX file that needs more than 1000000 rounds, or more memory, to be opened than is allowed"
        }
        _ => "a damaged PFX file",
    };
    not_a(name, WANTED, found)
}

const WANTED: &str = "a certificate, request, revocation list, key or PFX file";
