//! [`Documents`]: the certificates, requests, revocation lists and keys in a file of any format.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use x509_parser::prelude::{CertificateRevocationList, FromDer};

use crate::encoding::pem::{self, Block, PemError};
use crate::encoding::pem_stream::{self, MAX_BYTES, PemStream, Start};
use crate::error::Error;
use crate::error::secret_for::SecretFor;
use crate::input::location::{broken_pem, kind_of_bytes, kind_of_label, not_a, split};
use crate::input::pkcs12;
use crate::keys::encrypted;
use crate::keys::public::PublicKey;
use crate::platform::fs;
use crate::secrets::secret::AskSecret;
use crate::weak_keys;
use crate::x509::certificate::{self, Certificate};
use crate::x509::csr::CsrParts;
use crate::x509::pkcs7;

/// A certificate, key, request or revocation list in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The file, or `path#offset` if the file has other documents before it.
    pub place: PathBuf,
    /// The content.
    pub content: Content,
    /// The friendly name in a PFX file.
    pub friendly_name: Option<String>,
}

/// The content of a document. Of a private key, only the public key is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content {
    /// A certificate.
    Certificate(Certificate),
    /// A revocation list, in DER (RFC 5280 §5).
    Crl(Vec<u8>),
    /// A private key that can't be read without its password, as PKCS #8 in DER. The bytes are empty if
    /// it is encrypted in OpenSSL's old format, which is not supported. [`Document::unlock`] decrypts it.
    EncryptedKey(Vec<u8>),
    /// A private key.
    PrivateKey(PublicKey),
    /// A public key.
    PublicKey(PublicKey),
    /// A certificate request, in DER (RFC 2986).
    Request(Vec<u8>),
}

impl Content {
    /// Names the kind, with its article.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Certificate(_) => "a certificate",
            Self::Crl(_) => "a revocation list",
            Self::EncryptedKey(_) => "an encrypted private key",
            Self::PrivateKey(_) => "a private key",
            Self::PublicKey(_) => "a public key",
            Self::Request(_) => "a certificate request",
        }
    }
}

impl Documents {
    /// The name of the input.
    pub(crate) fn name(&self) -> &Path {
        &self.name
    }
}

/// The documents of an input, in their order. One that is damaged does not hide the others.
pub struct Documents {
    name: PathBuf,
    is_first: bool,
    /// The remaining documents of the block that was read last.
    in_block: std::vec::IntoIter<Document>,
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
pub fn read_documents(location: &Path, ask: &mut AskSecret<'_>) -> Result<Documents, Error> {
    match split(location) {
        // A file whose own name ends like an offset is read as a whole.
        Some((path, offset)) if !location.exists() => block_at(location, &path, offset),
        _ => {
            let file = fs::open_file(location)?;
            read_documents_from(file, location, ask)
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
    Ok(Documents { name: name.to_owned(), is_first: true, in_block: Vec::new().into_iter(), left })
}

impl Document {
    /// Decrypts an encrypted private key if `ask` knows its password. All other documents stay
    /// unchanged.
    pub fn unlock(&mut self, ask: &mut AskSecret<'_>) -> Result<(), Error> {
        let Content::EncryptedKey(sealed) = &self.content else {
            return Ok(());
        };
        if sealed.is_empty() {
            return Ok(());
        }
        let asked_for = SecretFor::Document(&self.place);
        let Some(secret) = ask(asked_for)? else { return Ok(()) };
        let key = encrypted::open(sealed, &self.place, asked_for, &mut |_| Ok(Some(secret.clone())))?;
        let key = PublicKey::of_private(&key);
        let key = key.ok_or_else(|| not_a(&self.place, WANTED, "a private key of an unknown kind"))?;
        self.content = Content::PrivateKey(key);
        Ok(())
    }

    /// Returns the reason why a private key is still encrypted: its encryption is not supported, or
    /// its password is missing; `None` for all other documents.
    pub fn why_locked(&self) -> Option<Error> {
        match &self.content {
            Content::EncryptedKey(sealed) if sealed.is_empty() => {
                Some(encrypted::old_encryption(&self.place))
            }
            Content::EncryptedKey(sealed) => {
                let missing = || Error::secret_needed(SecretFor::Document(&self.place));
                Some(encrypted::why_unreadable(sealed, &self.place).unwrap_or_else(missing))
            }
            _ => None,
        }
    }
}

impl Iterator for Documents {
    type Item = Result<Document, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(document) = self.in_block.next() {
            return Some(Ok(document));
        }
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
            if found.block.as_ref().is_ok_and(|block| block.label == pem::EC_PARAMETERS) {
                continue;
            }
            let mut place = self.name.clone();
            if !std::mem::take(&mut self.is_first) {
                place.as_mut_os_string().push(format!("#{}", found.offset));
            }
            match in_block(found.block, &place) {
                Ok(documents) => self.in_block = documents.into_iter(),
                Err(error) => return Some(Err(error)),
            }
            if let Some(document) = self.in_block.next() {
                return Some(Ok(document));
            }
        }
    }
}

fn block_at(location: &Path, path: &Path, offset: u64) -> Result<Documents, Error> {
    let mut file = fs::open_file(path)?;
    file.seek(SeekFrom::Start(offset)).map_err(Error::io("read", path))?;
    let mut begins = [0; pem::BEGIN.len()];
    let is_block = file.read_exact(&mut begins).is_ok() && begins == pem::BEGIN;
    file.seek(SeekFrom::Start(offset)).map_err(Error::io("read", path))?;
    let found = match pem_stream::start(file).map_err(Error::io("read", path))? {
        Start::Pem(mut stream) if is_block => stream.next_block().map_err(Error::io("read", path))?,
        _ => None,
    };
    let Some(found) = found else {
        return Err(not_a(location, WANTED, "a place where no PEM block begins"));
    };
    let left = Left::Read(in_block(found.block, location)?.into_iter());
    Ok(Documents { name: location.to_owned(), is_first: true, in_block: Vec::new().into_iter(), left })
}

/// The documents in a PEM block: one, or the certificates of a PKCS #7 file.
fn in_block(block: Result<Block, PemError>, place: &Path) -> Result<Vec<Document>, Error> {
    let content = match block {
        Ok(block) if pem::CERTIFICATES.contains(&block.label.as_str()) => {
            let certificates = certificate::in_block(&block)
                .ok_or_else(|| not_a(place, WANTED, damaged(&kind_of_label(&block.label))))?;
            return Ok(documents(certificates.into_iter().map(Content::Certificate), place));
        }
        Ok(block) => content_of(&block, place)?,
        Err(PemError::Encrypted) => Content::EncryptedKey(Vec::new()),
        Err(error) => return Err(not_a(place, WANTED, broken_pem(error))),
    };
    Ok(documents([content], place))
}

fn documents(contents: impl IntoIterator<Item = Content>, place: &Path) -> Vec<Document> {
    let document = |content| Document { place: place.to_owned(), content, friendly_name: None };
    contents.into_iter().map(document).collect()
}

fn content_of(block: &Block, place: &Path) -> Result<Content, Error> {
    let der = &block.der;
    let content = match block.label.as_str() {
        label if pem::REQUESTS.contains(&label) => request(der),
        "X509 CRL" => crl(der),
        pem::ENCRYPTED_PRIVATE_KEY => Some(Content::EncryptedKey(der.to_vec())),
        pem::PUBLIC_KEY => PublicKey::from_der(der).map(Content::PublicKey),
        pem::RSA_PUBLIC_KEY => pkcs1_public_key(der),
        label if pem::PLAIN_KEYS.contains(&label) => PublicKey::of_private(der).map(Content::PrivateKey),
        label => return Err(not_a(place, WANTED, kind_of_label(label))),
    };
    content.ok_or_else(|| not_a(place, WANTED, damaged(&kind_of_label(&block.label))))
}

fn damaged(kind: &str) -> String {
    let damage = if kind == "a private key" { "damaged, or of a kind that is not known" } else { "damaged" };
    format!("{kind}, but {damage}")
}

fn pkcs1_public_key(der: &[u8]) -> Option<Content> {
    PublicKey::from_der(&weak_keys::rsa_info(der)?).map(Content::PublicKey)
}

fn read_der(bytes: &[u8], name: &Path, ask: &mut AskSecret<'_>) -> Result<Vec<Document>, Error> {
    if pkcs12::is_pfx(bytes) {
        return read_pfx(bytes, name, ask);
    }
    if let Some(certificates) = pkcs7::certificates(bytes) {
        return Ok(documents(certificates.into_iter().map(Content::Certificate), name));
    }
    let content = Certificate::from_der(bytes)
        .map(Content::Certificate)
        .or_else(|| request(bytes))
        .or_else(|| crl(bytes))
        .or_else(|| PublicKey::of_private(bytes).map(Content::PrivateKey))
        .or_else(|| PublicKey::from_der(bytes).map(Content::PublicKey))
        .or_else(|| pkcs1_public_key(bytes))
        .or_else(|| encrypted::is_encrypted_key(bytes).then(|| Content::EncryptedKey(bytes.to_vec())));
    let content = content.ok_or_else(|| not_a(name, WANTED, kind_of_bytes(bytes)))?;
    Ok(documents([content], name))
}

fn request(der: &[u8]) -> Option<Content> {
    CsrParts::parse(der).is_ok().then(|| Content::Request(der.to_vec()))
}

fn crl(der: &[u8]) -> Option<Content> {
    let (rest, _) = CertificateRevocationList::from_der(der).ok()?;
    rest.is_empty().then(|| Content::Crl(der.to_vec()))
}

fn read_pfx(bytes: &[u8], name: &Path, ask: &mut AskSecret<'_>) -> Result<Vec<Document>, Error> {
    let damaged = |found: &str| not_a(name, WANTED, found);
    let archive = pkcs12::read(bytes, name, WANTED, SecretFor::Document(name), ask)?;
    let document = |content, friendly_name| Document { place: name.to_owned(), content, friendly_name };
    let mut documents = Vec::new();
    for bag in archive.certs {
        let certificate = Certificate::from_der(bag.cert.as_der())
            .ok_or_else(|| damaged("a PFX file with a damaged certificate"))?;
        documents.push(document(Content::Certificate(certificate), bag.friendly_name));
    }
    for bag in archive.keys {
        let key = PublicKey::of_private(bag.key.as_der())
            .ok_or_else(|| damaged("a PFX file with a key of an unknown kind"))?;
        documents.push(document(Content::PrivateKey(key), bag.friendly_name));
    }
    Ok(documents)
}

const WANTED: &str = "a certificate, request, revocation list, key or PFX file";
