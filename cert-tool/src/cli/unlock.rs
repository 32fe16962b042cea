//! [`UnlockArgs`]: what opens the CA's key, or will open a new one.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::anyhow;
use cert_tool::{Error, Secret, SecretFor, SecretSource, prompt};
use clap::Args;

use super::failure::Failure;

/// The sources of the secrets that open the CA's key.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct UnlockArgs {
    /// A private file whose first line is the passphrase of the CA's key; without it, the
    /// passphrase comes from CERT_TOOL_PASSPHRASE or the terminal.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// A private file whose first line is the PIN of the PKCS#11 token; without it, the PIN comes
    /// from CERT_TOOL_PIN or the terminal.
    #[arg(long, value_name = "FILE")]
    pub(crate) pin_file: Option<PathBuf>,
    /// Kept, because a file may be a pipe, which can be read once.
    #[arg(skip)]
    source: OnceLock<SecretSource>,
}

impl UnlockArgs {
    /// Returns the secret for a locked key; the library calls this.
    pub(crate) fn ask(&self, asked_for: SecretFor<'_>) -> Result<Option<Secret>, Error> {
        self.source().ask(asked_for)
    }

    /// The passphrase for a new key: what is given, or with `--encrypt` what is typed twice.
    pub(crate) fn for_new_key(&self, is_wanted: bool) -> Result<Option<Secret>, Failure> {
        if let Some(secret) = self.source().given(SecretFor::Key(Path::new("")))? {
            return Ok(Some(secret));
        }
        if !is_wanted {
            return Ok(None);
        }
        let typed = typed_twice("passphrase")?;
        typed.map(Some).ok_or_else(|| {
            Failure::Usage(anyhow!(
                "--encrypt needs a passphrase: --passphrase-file, CERT_TOOL_PASSPHRASE or a terminal"
            ))
        })
    }

    fn source(&self) -> &SecretSource {
        self.source.get_or_init(|| {
            SecretSource::default()
                .with_passphrase_file(self.passphrase_file.clone())
                .with_pin_file(self.pin_file.clone())
        })
    }
}

/// Returns the source of the passwords of files that are read. A password file that cannot be used
/// is reported at once.
pub(crate) fn passwords(file: Option<&Path>) -> Result<SecretSource, Failure> {
    let source = SecretSource::default().with_password_file(file.map(Path::to_owned));
    source.given(SecretFor::Document(Path::new(""))).map_err(Failure::Typed)?;
    Ok(source)
}

/// The password for new files: what is given, or what is typed twice.
pub(crate) fn new_password(file: Option<&Path>) -> Result<Secret, Failure> {
    if let Some(secret) = passwords(file)?.given(SecretFor::Document(Path::new("")))? {
        return Ok(secret);
    }
    typed_twice("password")?.ok_or_else(|| {
        Failure::Usage(anyhow!(
            "no password: give it with --password-file, in CERT_TOOL_PASSWORD, or at a terminal"
        ))
    })
}

/// Asks at the terminal for what nobody could correct later; `None` where there is none.
fn typed_twice(what: &str) -> Result<Option<Secret>, Failure> {
    let Some(first) = prompt(&format!("New {what}: ")) else { return Ok(None) };
    if prompt("The same again: ").as_ref() == Some(&first) {
        return Ok(Some(first));
    }
    Err(Failure::Usage(anyhow!("the two {what}s are not the same")))
}
