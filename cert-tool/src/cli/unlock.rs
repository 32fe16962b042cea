//! [`UnlockArgs`]: what opens the CA's key, or will open a new one.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use cert_tool::{Error, Secret, SecretFor, SecretSource, prompt};
use clap::Args;

use super::failure::Failure;

/// What opens the CA's key.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct UnlockArgs {
    /// A private file whose first line is the passphrase of the CA's key; without, CERT_TOOL_PASSPHRASE
    /// is taken, or it is asked for.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// A private file whose first line is the PIN of the PKCS#11 token; without, CERT_TOOL_PIN is taken,
    /// or it is asked for.
    #[arg(long, value_name = "FILE")]
    pub(crate) pin_file: Option<PathBuf>,
}

impl UnlockArgs {
    /// What the library calls when a key is locked.
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
        let no_secret = || {
            Failure::Usage(anyhow!(
                "--encrypt needs a passphrase: --passphrase-file, CERT_TOOL_PASSPHRASE or a terminal"
            ))
        };
        let first = prompt("New passphrase: ").ok_or_else(no_secret)?;
        let second = prompt("The same again: ").ok_or_else(no_secret)?;
        if first != second {
            return Err(Failure::Usage(anyhow!("the two passphrases are not the same")));
        }
        Ok(Some(first))
    }

    fn source(&self) -> SecretSource {
        let Self { passphrase_file, pin_file } = self.clone();
        SecretSource { passphrase_file, pin_file, password_file: None }
    }
}

/// Where the passwords of files that are read come from. That a file with them is none is told at once.
pub(crate) fn passwords(file: Option<&Path>) -> Result<SecretSource, Failure> {
    file.map(Secret::read).transpose().map_err(Failure::Typed)?;
    Ok(SecretSource { password_file: file.map(Path::to_owned), ..SecretSource::default() })
}
