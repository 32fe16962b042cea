//! [`read`]: a file, or `path#offset`, the PEM block that begins at that byte of a bundle.

use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::encoding::pem::{self, Block, PemError};
use crate::error::{Error, PFX};
use crate::input::pkcs12;
use crate::platform::fs::{open_file, read_at_most, read_bounded};

/// The name of stdin in errors and records.
pub const STDIN: &str = "stdin";

/// A kind of thing that is looked for in files.
pub(crate) struct Wanted {
    /// Its name in errors.
    pub(crate) name: &'static str,
    /// The labels of its PEM blocks.
    pub(crate) labels: &'static [&'static str],
}

/// The content that a location leads to.
pub(crate) enum Found {
    /// The block at the offset, or the first one of a PEM file that has a wanted label.
    Pem(Block),
    /// A file without PEM.
    Other(Vec<u8>),
}

/// Reads what a location leads to. In a PEM file blocks of other labels are passed over (RFC 7468 §2).
pub(crate) fn read(location: &Path, wanted: &Wanted) -> Result<Found, Error> {
    match split(location) {
        // A file whose own name ends like an offset is read as a whole.
        Some((path, offset)) => match read_at(&path, offset, location, wanted) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                parse(read_file(location)?, location, wanted)
            }
            other => other,
        },
        None => parse(read_file(location)?, location, wanted),
    }
}

/// The content of a file with a certificate, a request or a public key. PEM in UTF-16 becomes UTF-8.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    read_bounded(path, MAX_FILE_BYTES).map(in_utf8)
}

/// The content of an input, as [`read_file`] returns it; `name` stands in errors.
pub(crate) fn read_input(input: impl Read, name: &Path) -> Result<Vec<u8>, Error> {
    read_at_most(input, name, MAX_FILE_BYTES).map(in_utf8)
}

fn in_utf8(bytes: Vec<u8>) -> Vec<u8> {
    match pem::of_utf16(&bytes) {
        Some(text) => text.as_bytes().to_vec(),
        None => bytes,
    }
}

/// Tells PEM from the rest; `name` stands in errors.
pub(crate) fn parse(bytes: Vec<u8>, name: &Path, wanted: &Wanted) -> Result<Found, Error> {
    match pem::first_of(&bytes, wanted.labels) {
        Ok(block) => Ok(Found::Pem(block)),
        Err(PemError::Absent) => match other_kind(&bytes) {
            Some(kind) => Err(not_a(name, wanted.name, kind)),
            None => Ok(Found::Other(pem::bare_base64(&bytes).unwrap_or(bytes))),
        },
        Err(error) => Err(not_a(name, wanted.name, broken_pem(error))),
    }
}

/// Names the kind of the first PEM block of a text; `None` if there is no block. Curve parameters
/// are skipped.
pub(crate) fn other_kind(text: &[u8]) -> Option<String> {
    let mut labels = pem::labels(text);
    let first = labels.next()?;
    let telling = if first == pem::EC_PARAMETERS { labels.next() } else { None };
    Some(kind_of_label(telling.unwrap_or(first)))
}

/// Names the kind of a PEM block by its label.
pub(crate) fn kind_of_label(label: &str) -> String {
    match label {
        "PKCS7" | "CMS" | "PKCS #7 SIGNED DATA" => "a PKCS #7 file".to_owned(),
        _ if pem::CERTIFICATES.contains(&label) => "a certificate".to_owned(),
        _ if pem::REQUESTS.contains(&label) => "a certificate request".to_owned(),
        "X509 CRL" => "a revocation list".to_owned(),
        _ if pem::PUBLIC_KEYS.contains(&label) => "a public key".to_owned(),
        pem::ENCRYPTED_PRIVATE_KEY => "an encrypted private key".to_owned(),
        _ if label.ends_with("PRIVATE KEY") => "a private key".to_owned(),
        // Labels come from outside: what is no word is not shown.
        _ if label.len() <= 40
            && label.chars().all(|c| c.is_ascii_uppercase() || " #0123456789".contains(c)) =>
        {
            format!("PEM with the label {label}")
        }
        _ => "PEM with an unknown label".to_owned(),
    }
}

/// Names the kind of a file that is neither PEM nor of the expected kind.
pub(crate) fn kind_of_bytes(bytes: &[u8]) -> &'static str {
    match bytes {
        [] => "empty",
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "text in UTF-16",
        _ if bytes.iter().all(|byte| *byte == 0) => "nothing but zero bytes",
        _ if is_utf16(bytes) => "text in UTF-16",
        [0xfe, 0xed, 0xfe, 0xed, ..] => "a Java keystore (JKS)",
        [0xce, 0xce, 0xce, 0xce, ..] => "a Java keystore (JCEKS)",
        _ if pkcs12::is_pfx(bytes) => PFX,
        [0x30, ..] => "DER of a different kind, or damaged",
        _ => "neither PEM nor DER",
    }
}

/// Returns whether every other byte is zero, as in UTF-16 of text without accents, and the rest are
/// not.
fn is_utf16(bytes: &[u8]) -> bool {
    let (pairs, _) = bytes.as_chunks::<2>();
    let begins = |byte: u8| byte.is_ascii() && byte != 0;
    let is_text = |zero: usize, other: usize| {
        pairs
            .iter()
            .all(|pair| pair.get(zero) == Some(&0) && pair.get(other).is_some_and(|byte| begins(*byte)))
    };
    !pairs.is_empty() && (is_text(0, 1) || is_text(1, 0))
}

pub(crate) fn not_a(path: &Path, wanted: &'static str, found: impl Into<String>) -> Error {
    Error::NotA { path: path.to_owned(), wanted, found: found.into() }
}

fn read_at(path: &Path, offset: u64, location: &Path, wanted: &Wanted) -> Result<Found, Error> {
    let mut file = open_file(path)?;
    let text = if path.extension().is_some_and(|extension| extension == "db") {
        crate::input::pem_database::read_row(path, offset)
            .ok_or_else(|| not_a(location, wanted.name, "no row of a database of certificates or keys"))?
    } else {
        file.seek(SeekFrom::Start(offset)).map_err(Error::io("read", path))?;
        let window = Read::take(file, MAX_BLOCK_BYTES);
        Zeroizing::new(read_at_most(window, path, MAX_BLOCK_BYTES)?)
    };
    if !text.starts_with(pem::BEGIN) {
        return Err(not_a(location, wanted.name, "a place where no PEM block begins"));
    }
    match pem::first_block(&text) {
        Ok(block) if wanted.labels.contains(&block.label.as_str()) => Ok(Found::Pem(block)),
        Ok(block) => Err(not_a(location, wanted.name, kind_of_label(&block.label))),
        Err(error) => Err(not_a(location, wanted.name, broken_pem(error))),
    }
}

/// Returns the bytes after the header of a `SEQUENCE`, DER or BER, whatever length it declares.
pub(crate) fn body_of_sequence(bytes: &[u8]) -> Option<&[u8]> {
    match bytes {
        [0x30, length @ 0..0x80, rest @ ..] if *length > 0 => Some(rest),
        [0x30, 0x80, rest @ ..] => Some(rest),
        [0x30, length @ 0x81..=0x84, rest @ ..] => rest.get(usize::from(length & 0x7f)..),
        _ => None,
    }
}

pub(crate) fn split(location: &Path) -> Option<(PathBuf, u64)> {
    let (path, offset) = location.to_str()?.rsplit_once('#')?;
    let is_number = !offset.is_empty() && offset.bytes().all(|byte| byte.is_ascii_digit());
    Some((path.into(), offset.parse().ok().filter(|_| is_number)?))
}

pub(crate) fn broken_pem(error: PemError) -> &'static str {
    match error {
        PemError::Absent => "not PEM",
        PemError::BadBase64 => "damaged PEM",
        PemError::Encrypted => "an encrypted private key",
        PemError::Truncated => "truncated PEM",
    }
}

/// More than any certificate with its chain has.
pub(crate) const MAX_FILE_BYTES: u64 = 1024 * 1024;
const MAX_BLOCK_BYTES: u64 = 64 * 1024;
