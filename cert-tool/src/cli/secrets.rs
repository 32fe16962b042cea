//! [`Secrets`]: passphrases and PINs from a file, the environment or a terminal; never from the command
//! line, which others can read.

use std::io::{IsTerminal, stdin};
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use cert_tool::{Error, Secret, SecretFor};
use clap::Args;
use zeroize::Zeroizing;

use super::failure::Failure;

/// What opens the CA's key.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct UnlockArgs {
    /// A file whose first line is the passphrase of the CA's key; without, CERT_TOOL_PASSPHRASE is taken,
    /// or it is asked for.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// A file whose first line is the PIN of the PKCS#11 token; without, CERT_TOOL_PIN is taken, or it is
    /// asked for.
    #[arg(long, value_name = "FILE")]
    pub(crate) pin_file: Option<PathBuf>,
}

impl UnlockArgs {
    /// What the library calls when a key is locked.
    pub(crate) fn ask(&self, asked_for: SecretFor<'_>) -> Result<Option<Secret>, Error> {
        let (file, variable) = match asked_for {
            SecretFor::Token(_) => (self.pin_file.as_deref(), PIN),
            _ => (self.passphrase_file.as_deref(), PASSPHRASE),
        };
        if let Some(secret) = given(file, variable)? {
            return Ok(Some(secret));
        }
        let what = if matches!(asked_for, SecretFor::Token(_)) { "PIN" } else { "Passphrase" };
        Ok(prompt(&format!("{what} of {asked_for}: ")))
    }

    /// The passphrase for a new key: what is given, or with `--encrypt` what is typed twice.
    pub(crate) fn for_new_key(&self, is_wanted: bool) -> Result<Option<Secret>, Failure> {
        if let Some(secret) = given(self.passphrase_file.as_deref(), PASSPHRASE)? {
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
}

fn given(file: Option<&Path>, variable: &str) -> Result<Option<Secret>, Error> {
    match file {
        Some(file) => Secret::read(file).map(Some),
        None => Ok(std::env::var(variable).ok().filter(|text| !text.is_empty()).map(Secret::new)),
    }
}

fn prompt(question: &str) -> Option<Secret> {
    if !stdin().is_terminal() {
        return None;
    }
    let typed = Zeroizing::new(rpassword::prompt_password(question).ok()?);
    (!typed.is_empty()).then(|| Secret::new(typed.as_str()))
}

const PASSPHRASE: &str = "CERT_TOOL_PASSPHRASE";
const PIN: &str = "CERT_TOOL_PIN";
