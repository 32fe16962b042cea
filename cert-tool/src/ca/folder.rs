//! The files of a CA.

use std::path::{Path, PathBuf};

use super::init::CaOptions;
use crate::error::Error;
use crate::keys::handle::KeyHandle;
use crate::keys::pkcs11::{TokenKey, TokenUri};
use crate::keys::private::PrivateKey;
use crate::platform::fs;
use crate::secrets::secret::AskSecret;
use crate::weak_keys;
use crate::x509::certificate::Certificate;
use crate::x509::damage::damaged_extension;

/// A CA that is being made in a folder of its own within that of the CA, so that it is there as a whole or not at all,
/// whenever the process is killed or the disk is full.
pub(super) struct Staging {
    folder: PathBuf,
    is_new_folder: bool,
    /// Keeps other processes from making a CA in the folder, and from removing what this one has made.
    #[cfg(unix)]
    _lock: std::fs::File,
    #[cfg(not(unix))]
    _lock: (),
}

impl Staging {
    /// Makes the folder, which may be there already but must be its owner's alone and hold none of `files`. What an
    /// earlier process left that was killed before it had finished goes.
    pub(super) fn begin(folder: &Path, files: &[&str]) -> Result<Self, Error> {
        let is_new_folder = !folder.exists();
        fs::create_private_folder(folder)?;
        let Some(lock) = fs::lock_folder(folder)? else {
            return Err(Error::BeingMade { path: folder.to_owned() });
        };
        fs::check_is_private(folder)?;
        recover(folder)?;
        if let Some(path) = files.iter().map(|file| folder.join(file)).find(|path| path.exists()) {
            return Err(Error::AlreadyExists { path });
        }
        let staging = Self { folder: folder.to_owned(), is_new_folder, _lock: lock };
        let place = staging.place();
        if place.exists() {
            std::fs::remove_dir_all(&place).map_err(Error::io("remove", &place))?;
        }
        fs::create_private_folder(&place)?;
        Ok(staging)
    }

    /// Makes the folder as [`Self::begin`] does, where nothing is in it but what an earlier process left.
    pub(super) fn begin_new(folder: &Path) -> Result<Self, Error> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        if folder.exists() && (!folder.is_dir() || entries.into_iter().any(|it| it.file_name() != STAGING)) {
            return Err(Error::AlreadyExists { path: folder.to_owned() });
        }
        Self::begin(folder, &FILES)
    }

    /// The folder in which the files are made.
    pub(super) fn place(&self) -> PathBuf {
        self.folder.join(STAGING)
    }

    /// Puts the files into the folder of the CA.
    pub(super) fn finish(self) -> Result<(), Error> {
        let place = self.place();
        fs::sync_folder(&place)?;
        // From here on the CA exists: whoever opens it moves the rest.
        std::fs::rename(&place, self.folder.join(READY)).map_err(Error::io("rename", &place))?;
        fs::sync_folder(&self.folder)?;
        recover(&self.folder)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Nothing is left to be removed of what was finished.
        let _ = std::fs::remove_dir_all(self.place());
        if self.is_new_folder {
            let _ = std::fs::remove_dir(&self.folder);
        }
    }
}

/// Puts the files of a CA in their places that was made as a whole, but whose maker was killed before it was done.
pub(super) fn recover(folder: &Path) -> Result<(), Error> {
    let ready = folder.join(READY);
    let Ok(entries) = std::fs::read_dir(&ready) else { return Ok(()) };
    for entry in entries {
        let entry = entry.map_err(Error::io("read", &ready))?;
        match std::fs::rename(entry.path(), folder.join(entry.file_name())) {
            // Another process does the same.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            moved => moved.map_err(Error::io("rename", &entry.path()))?,
        }
    }
    fs::sync_folder(folder)?;
    match std::fs::remove_dir(&ready) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(Error::io("remove", &ready)),
    }
}

/// Tells whether a folder holds a CA that was made as a whole, but is not in its places yet.
pub(super) fn is_ready(folder: &Path) -> bool {
    folder.join(READY).exists()
}

pub(super) fn write_certificates<'a>(
    path: &Path,
    certificates: impl IntoIterator<Item = &'a Certificate>,
) -> Result<(), Error> {
    let text: String = certificates.into_iter().map(Certificate::to_pem).collect();
    fs::write_new_private(path, text.as_bytes())
}

/// The files of a key, of which one is there: the key itself, or a URI of where it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyFiles {
    pub(super) key: &'static str,
    pub(super) token: &'static str,
}

impl KeyFiles {
    /// Tells whether a folder has the key, or says which token has it.
    pub(super) fn is_in(self, folder: &Path) -> bool {
        [self.key, self.token].iter().any(|file| folder.join(file).exists())
    }

    /// Opens the key wherever it is.
    pub(super) fn open(self, folder: &Path, ask: &mut AskSecret<'_>) -> Result<Box<dyn KeyHandle>, Error> {
        Ok(match self.token_uri(folder)? {
            Some(uri) => Box::new(TokenKey::open(&uri, ask)?),
            None => Box::new(PrivateKey::read_with(&folder.join(self.key), ask)?),
        })
    }

    /// Makes a key in a file or in a token, where one that is there already will do.
    pub(super) fn create(
        self,
        folder: &Path,
        options: &CaOptions,
        token: Option<&TokenUri>,
        ask: &mut AskSecret<'_>,
    ) -> Result<Box<dyn KeyHandle>, Error> {
        let Some(uri) = token else {
            let key = PrivateKey::generate(options.key_type)?;
            key.write_new_with(&folder.join(self.key), options.passphrase.as_ref())?;
            return Ok(Box::new(key));
        };
        let key = TokenKey::open_or_generate(uri, options.key_type, ask)?;
        self.write_token_uri(folder, uri)?;
        Ok(Box::new(key))
    }

    pub(super) fn write_token_uri(self, folder: &Path, uri: &TokenUri) -> Result<(), Error> {
        fs::write_new_private(&folder.join(self.token), format!("{uri}\n").as_bytes())
    }

    /// Returns the URI of the token that has the key, if a token has it.
    pub(super) fn token_uri(self, folder: &Path) -> Result<Option<TokenUri>, Error> {
        let path = folder.join(self.token);
        if !fs::is_present(&path)? {
            return Ok(None);
        }
        let bytes = fs::read_bounded(&path, MAX_URI_BYTES)?;
        String::from_utf8_lossy(&bytes).trim_end().parse().map(Some)
    }
}

/// Checks that a certificate is a CA's and that the key belongs to it; the error is the reason.
pub(super) fn check_is_ca_for(certificate: &Certificate, key: &dyn KeyHandle) -> Result<(), &'static str> {
    let certificate = certificate.parsed();
    if damaged_extension(&certificate).is_some() {
        return Err("its certificate has a damaged extension (`cert-tool verify FILE --ca FILE` names it)");
    }
    if !certificate.is_ca() {
        return Err("its certificate is not one of a CA");
    }
    let usage = certificate.key_usage().map_err(|_| "its certificate has two key usages")?;
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

/// Refuses a CA whose key is weak, and tells the rule.
pub(super) fn check_is_strong(certificate: &Certificate) -> Result<(), String> {
    weak_keys::check_unproven(certificate.parsed().public_key())
        .map_err(|weak| format!("its key is not acceptable: {weak}"))
}

/// Refuses a CA that may not sign revocation lists.
pub(crate) fn check_signs_lists(certificate: &Certificate, folder: &Path) -> Result<(), Error> {
    let parsed = certificate.parsed();
    let usage = parsed.key_usage().ok().flatten();
    if usage.is_none_or(|usage| usage.value.crl_sign()) {
        return Ok(());
    }
    let reason = "its certificate must not sign revocation lists (key usage lacks cRLSign)".to_owned();
    Err(Error::BadCa { path: folder.to_owned(), reason })
}

pub(super) const ROOT_KEY: KeyFiles = KeyFiles { key: "root.key", token: "root.pkcs11" };
pub(super) const ROOT_CERTIFICATE: &str = "root.pem";
pub(super) const ISSUING_KEY: KeyFiles = KeyFiles { key: "issuing.key", token: "issuing.pkcs11" };
pub(super) const ISSUING_REQUEST: &str = "issuing.csr";
pub(super) const ISSUING_CERTIFICATE: &str = "issuing.pem";
/// The CAs between the issuing one and the root, where there are any.
pub(super) const CHAIN: &str = "chain.pem";
/// The files of a root; where none is there, a root can be made.
pub(super) const ROOT_FILES: [&str; 3] = [ROOT_KEY.key, ROOT_KEY.token, ROOT_CERTIFICATE];
/// The files of a CA; where none is there, one can be made.
pub(super) const FILES: [&str; 7] = [
    ROOT_KEY.key,
    ROOT_KEY.token,
    ROOT_CERTIFICATE,
    ISSUING_KEY.key,
    ISSUING_KEY.token,
    ISSUING_REQUEST,
    ISSUING_CERTIFICATE,
];
/// The files of a CA that is being made.
const STAGING: &str = ".new";
/// The files of a CA that was made as a whole.
const READY: &str = ".ready";
const MAX_URI_BYTES: u64 = 64 * 1024;
