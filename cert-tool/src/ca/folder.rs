//! The files of a CA.

use std::path::Path;

use x509_parser::prelude::{FromDer, X509Certificate};

use crate::certificate::Certificate;
use crate::error::Error;
use crate::fs;
use crate::key::PrivateKey;
use crate::secret::AskSecret;
use crate::signer::KeyHandle;

/// Makes the folder, which may be there already but must be its owner's alone and hold none of `files`.
pub(super) fn prepare(folder: &Path, files: &[&str]) -> Result<(), Error> {
    fs::create_private_folder(folder)?;
    fs::check_is_private(folder)?;
    match files.iter().map(|file| folder.join(file)).find(|path| path.exists()) {
        Some(path) => Err(Error::AlreadyExists { path }),
        None => Ok(()),
    }
}

pub(super) fn write_certificates<'a>(
    path: &Path,
    certificates: impl IntoIterator<Item = &'a Certificate>,
) -> Result<(), Error> {
    let text: String = certificates.into_iter().map(Certificate::to_pem).collect();
    fs::write_new_private(path, text.as_bytes())
}

/// Opens a key wherever it is.
pub(super) fn open_key(
    folder: &Path,
    file: &str,
    ask: &mut AskSecret<'_>,
) -> Result<Box<dyn KeyHandle>, Error> {
    Ok(Box::new(PrivateKey::read_with(&folder.join(file), ask)?))
}

/// Why a certificate and a key are not those of one CA.
pub(super) fn check_is_ca_for(certificate: &Certificate, key: &dyn KeyHandle) -> Result<(), &'static str> {
    let parsed = X509Certificate::from_der(certificate.der());
    let (_, certificate) = parsed.map_err(|_| "its certificate is damaged")?;
    if !certificate.is_ca() {
        return Err("its certificate is not one of a CA");
    }
    let usage = certificate.key_usage().map_err(|_| "its certificate has a damaged key usage")?;
    if usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
        return Err("its certificate must not sign certificates (key usage)");
    }
    if certificate.public_key().subject_public_key.data.as_ref() != key.public_key() {
        return Err("its key is not the one of its certificate");
    }
    if certificate.subject().iter().next().is_none() {
        return Err("its certificate has no name");
    }
    Ok(())
}

pub(super) const ROOT_KEY: &str = "root.key";
pub(super) const ROOT_CERTIFICATE: &str = "root.pem";
pub(super) const ISSUING_KEY: &str = "issuing.key";
pub(super) const ISSUING_REQUEST: &str = "issuing.csr";
pub(super) const ISSUING_CERTIFICATE: &str = "issuing.pem";
/// The CAs between the issuing one and the root, where there are any.
pub(super) const CHAIN: &str = "chain.pem";
pub(super) const FILES: [&str; 4] = [ROOT_KEY, ROOT_CERTIFICATE, ISSUING_KEY, ISSUING_CERTIFICATE];
