//! [`SecretSource`]: where a program gets secrets from its user.

use std::io::{IsTerminal, stdin};
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::error::Error;
use crate::secret::{Secret, SecretFor};

/// Gets secrets from files, the environment or a terminal; never from the command line, which others
/// can read.
///
/// A file wins over the environment, and the environment over the terminal. Of a file the first line
/// counts, and nobody but its owner may read it.
#[derive(Debug, Clone, Default)]
pub struct SecretSource {
    /// The passphrase of a CA's key; without, `CERT_TOOL_PASSPHRASE`.
    pub passphrase_file: Option<PathBuf>,
    /// The PIN of a PKCS#11 token; without, `CERT_TOOL_PIN`.
    pub pin_file: Option<PathBuf>,
    /// The password of a PFX file or of another file that is read; without, `CERT_TOOL_PASSWORD`.
    pub password_file: Option<PathBuf>,
}

impl SecretSource {
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
            SecretFor::Document(_) => (&self.password_file, PASSWORD),
            SecretFor::Key(_) => (&self.passphrase_file, PASSPHRASE),
            SecretFor::Token(_) => (&self.pin_file, PIN),
        };
        match file {
            Some(file) => Secret::read(file).map(Some),
            None => Ok(std::env::var(variable).ok().filter(|text| !text.is_empty()).map(Secret::new)),
        }
    }
}

/// Asks at the terminal; `None` where there is none, or nothing is typed.
pub fn prompt(question: &str) -> Option<Secret> {
    if !stdin().is_terminal() {
        return None;
    }
    let typed = Zeroizing::new(rpassword::prompt_password(question).ok()?);
    (!typed.is_empty()).then(|| Secret::new(typed.as_str()))
}

const PASSPHRASE: &str = "CERT_TOOL_PASSPHRASE";
const PASSWORD: &str = "CERT_TOOL_PASSWORD";
const PIN: &str = "CERT_TOOL_PIN";
