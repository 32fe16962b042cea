//! [`Passwords`]: from a file, the environment or a terminal; never from the command line, which
//! others can read.

use std::fs::File;
use std::io::{IsTerminal, Read, stdin};
use std::path::Path;

use anyhow::Context;
use zeroize::Zeroizing;

use super::failure::Failure;

/// Where the passwords of files that are read come from.
pub(crate) struct Passwords {
    given: Option<Zeroizing<String>>,
}

impl Passwords {
    /// Takes the first line of a file, or what the environment says.
    pub(crate) fn new(file: Option<&Path>) -> Result<Self, Failure> {
        let given = match file {
            Some(file) => Some(first_line(file).map_err(Failure::Usage)?),
            None => std::env::var(VARIABLE).ok().map(Zeroizing::new),
        };
        Ok(Self { given })
    }

    /// The password that was given, if any: for what can be shown without one too.
    pub(crate) fn given(&self) -> Option<Zeroizing<String>> {
        self.given.clone()
    }

    /// The password of a file; at a terminal it is asked for where none was given.
    pub(crate) fn ask(&mut self, file: &Path) -> Option<Zeroizing<String>> {
        if self.given.is_some() || !stdin().is_terminal() {
            return self.given.clone();
        }
        rpassword::prompt_password(format!("Password of {}: ", file.display())).ok().map(Zeroizing::new)
    }
}

fn first_line(file: &Path) -> anyhow::Result<Zeroizing<String>> {
    let read = || -> std::io::Result<Zeroizing<String>> {
        let mut text = Zeroizing::new(String::with_capacity(MAX_BYTES));
        File::open(file)?.take(MAX_BYTES as u64).read_to_string(&mut text)?;
        Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
    };
    read().with_context(|| format!("can't read the password in `{}`", file.display()))
}

const VARIABLE: &str = "CERT_TOOL_PASSWORD";
const MAX_BYTES: usize = 4096;
