//! Inputs that arguments name: files, or `-` for stdin.

use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use cert_tool::{
    AskSecret, Certificate, Documents, Error, PrivateKey, Refusal, STDIN, UnverifiedCsr, read_certificate,
    read_certificate_from, read_certificates, read_certificates_from, read_documents, read_documents_from,
    read_request_file,
};

/// The name of an input in messages and records.
pub(crate) fn name(argument: &Path) -> &Path {
    if is_stdin(argument) { Path::new(STDIN) } else { argument }
}

/// Tells whether an argument stands for stdin.
pub(crate) fn is_stdin(argument: &Path) -> bool {
    argument == Path::new("-")
}

/// The first certificate of an input.
pub(crate) fn certificate(argument: &Path) -> Result<Certificate, Error> {
    match is_stdin(argument) {
        true => read_certificate_from(stdin()?, name(argument)),
        false => read_certificate(argument),
    }
}

/// All certificates of an input.
pub(crate) fn certificates(argument: &Path) -> Result<Vec<Certificate>, Error> {
    match is_stdin(argument) {
        true => read_certificates_from(stdin()?, name(argument)),
        false => read_certificates(argument),
    }
}

/// All documents of an input.
pub(crate) fn documents(argument: &Path, ask: &mut AskSecret<'_>) -> Result<Documents, Error> {
    match is_stdin(argument) {
        true => read_documents_from(stdin()?, name(argument), ask),
        false => read_documents(argument, ask),
    }
}

/// A private key; a file must be private.
pub(crate) fn private_key(argument: &Path, ask: &mut AskSecret<'_>) -> Result<PrivateKey, Error> {
    match is_stdin(argument) {
        true => PrivateKey::read_from(stdin()?, name(argument), ask),
        false => PrivateKey::read_with(argument, ask),
    }
}

/// A certificate request.
pub(crate) fn request(argument: &Path) -> Result<UnverifiedCsr, Refusal> {
    match is_stdin(argument) {
        true => {
            let stdin = stdin().map_err(|error| Refusal::BadCsr(Box::new(error)))?;
            UnverifiedCsr::read_from(stdin, name(argument))
        }
        false => UnverifiedCsr::read(argument),
    }
}

/// The bytes of a certificate request of a CA.
pub(crate) fn request_bytes(argument: &Path) -> Result<Vec<u8>, Error> {
    match is_stdin(argument) {
        true => {
            let mut bytes = Vec::new();
            let read = stdin()?.take(MAX_BYTES).read_to_end(&mut bytes);
            read.map_err(|source| Error::Io { action: "read", path: STDIN.into(), source })?;
            Ok(bytes)
        }
        false => read_request_file(argument),
    }
}

/// Stdin, which can be read once.
fn stdin() -> Result<io::Stdin, Error> {
    static IS_READ: AtomicBool = AtomicBool::new(false);
    if IS_READ.swap(true, Ordering::Relaxed) {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "`-` stands twice, and stdin is read once");
        return Err(Error::Io { action: "read", path: STDIN.into(), source });
    }
    Ok(io::stdin())
}

/// More than any request has.
const MAX_BYTES: u64 = 1024 * 1024;
