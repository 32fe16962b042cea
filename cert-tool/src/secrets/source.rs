//! [`SecretSource`]: where a program gets secrets from its user.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use cli_support::secrets;

use crate::error::Error;
use crate::error::secret_for::SecretFor;
use crate::secrets::secret::Secret;

/// Gets secrets from files, the environment or a terminal; never from the command line, which others
/// can read.
///
/// A file wins over the environment, and the environment over the terminal. Of a file the first line
/// counts, and nobody but its owner may read it. It is read once, so it may be a pipe.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let temporary = tempfile::tempdir()?;
/// # let (folder, now) = (temporary.path().join("ca"), time::OffsetDateTime::now_utc());
/// # cert_tool::CertificateAuthority::init(&folder, &Default::default(), now)?;
/// use cert_tool::{CertificateAuthority, SecretSource};
///
/// let secrets = SecretSource::default().with_passphrase_file(Some("passphrase".into()));
/// let ca = CertificateAuthority::open_with(&folder, &mut |asked_for| secrets.ask(asked_for))?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct SecretSource {
    passphrase: SecretFile,
    pin: SecretFile,
    password: SecretFile,
}

/// A file with a secret, and the secret once it was read.
#[derive(Debug, Clone, Default)]
struct SecretFile {
    path: Option<PathBuf>,
    read: Arc<Mutex<Option<Secret>>>,
}

impl SecretSource {
    /// Sets the file with the passphrase of a CA's key; without it, the passphrase is in
    /// `CERT_TOOL_PASSPHRASE`.
    #[must_use]
    pub fn with_passphrase_file(self, path: Option<PathBuf>) -> Self {
        Self { passphrase: SecretFile::new(path), ..self }
    }

    /// Sets the file with the PIN of a PKCS#11 token; without it, the PIN is in `CERT_TOOL_PIN`.
    #[must_use]
    pub fn with_pin_file(self, path: Option<PathBuf>) -> Self {
        Self { pin: SecretFile::new(path), ..self }
    }

    /// Sets the file with the password of PFX files and other files that are read; without it, the
    /// password is in `CERT_TOOL_PASSWORD`.
    #[must_use]
    pub fn with_password_file(self, path: Option<PathBuf>) -> Self {
        Self { password: SecretFile::new(path), ..self }
    }

    /// The secret, which is asked for at a terminal where none was given; as
    /// [`CertificateAuthority::open_with`] calls it.
    ///
    /// [`CertificateAuthority::open_with`]: crate::CertificateAuthority::open_with
    pub fn ask(&self, asked_for: SecretFor<'_>) -> Result<Option<Secret>, Error> {
        if let Some(secret) = self.given(asked_for)? {
            return Ok(Some(secret));
        }
        let what = match asked_for {
            SecretFor::Document(_) => "Password",
            SecretFor::Key(_) => "Passphrase",
            SecretFor::Token(_) => "PIN",
        };
        Ok(prompt(&format!("{what} of {asked_for}: ")))
    }

    /// The secret, if the user has given one.
    pub fn given(&self, asked_for: SecretFor<'_>) -> Result<Option<Secret>, Error> {
        let (file, variable) = match asked_for {
            SecretFor::Document(_) => (&self.password, PASSWORD),
            SecretFor::Key(_) => (&self.passphrase, PASSPHRASE),
            SecretFor::Token(_) => (&self.pin, PIN),
        };
        match file.secret()? {
            Some(secret) => Ok(Some(secret)),
            None => match secrets::variable(variable) {
                Some(text) if text.is_empty() => Err(Error::EmptyVariable { name: variable }),
                found => Ok(found.map(Secret::from)),
            },
        }
    }
}

impl SecretFile {
    fn new(path: Option<PathBuf>) -> Self {
        Self { path, read: Arc::default() }
    }

    /// Returns the secret in the file; `None` if no file is set.
    fn secret(&self) -> Result<Option<Secret>, Error> {
        let Some(path) = &self.path else { return Ok(None) };
        // Locked while it is read: two threads would share out what comes through a pipe.
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.is_none() {
            *read = Some(Secret::read(path)?);
        }
        Ok(read.clone())
    }
}

/// Asks at the terminal. Returns `None` if there is no terminal or nothing is typed.
pub fn prompt(question: &str) -> Option<Secret> {
    secrets::prompt(question).map(Secret::from)
}

const PASSPHRASE: &str = "CERT_TOOL_PASSPHRASE";
const PASSWORD: &str = "CERT_TOOL_PASSWORD";
const PIN: &str = "CERT_TOOL_PIN";
