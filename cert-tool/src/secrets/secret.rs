//! [`Secret`]: a password, passphrase or PIN, wiped from memory and never shown.

use std::fmt;
use std::path::Path;

use zeroize::Zeroizing;

use crate::error::Error;
use crate::error::secret_for::SecretFor;
use crate::platform::fs;

/// A password, passphrase or PIN.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text; the caller's copy is the caller's to wipe.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// Reads the first line of a file that only its owner can read, of at most 4 KiB.
    pub fn read(path: &Path) -> Result<Self, Error> {
        fs::check_is_private(path)?;
        let bytes = Zeroizing::new(fs::read_bounded_or_pipe(path, MAX_BYTES)?);
        let not_a = |found: &str| Error::NoSecret { path: path.to_owned(), found: found.to_owned() };
        let text = cli_support::text::decode(&bytes).map_err(|error| not_a(&format!("no text ({error})")))?;
        match text.lines().next() {
            _ if text.trim().is_empty() => Err(not_a("empty")),
            None | Some("") => Err(not_a("a file whose line 1 is empty")),
            Some(line) => Ok(Self::new(line)),
        }
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl From<Zeroizing<String>> for Secret {
    fn from(text: Zeroizing<String>) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Gets secrets from where the user has them; `None` where there is nothing to give.
pub type AskSecret<'a> = dyn FnMut(SecretFor<'_>) -> Result<Option<Secret>, Error> + 'a;

const MAX_BYTES: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_nothing_and_is_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passphrase");
        fs::write_new_private(&path, b"open sesame\r\nnot this\n").unwrap();
        let secret = Secret::read(&path).unwrap();
        assert_eq!(secret.expose(), "open sesame");
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_secret() {
        let folder = tempfile::tempdir().unwrap();
        let utf16: Vec<u8> = "\u{FEFF}open sesame\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (name, bytes) in [("utf8", "\u{FEFF}open sesame\r\n".as_bytes()), ("utf16", &utf16)] {
            let path = folder.path().join(name);
            fs::write_new_private(&path, bytes).unwrap();
            assert_eq!(Secret::read(&path).unwrap().expose(), "open sesame");
        }
        let path = folder.path().join("empty");
        fs::write_new_private(&path, "\u{FEFF}\r\n".as_bytes()).unwrap();
        let error = Secret::read(&path).unwrap_err().to_string();
        assert!(error.contains("empty` is empty, not a password"), "{error}");
    }

    #[test]
    fn an_empty_file_is_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passphrase");
        fs::write_new_private(&path, b"\nsecond line").unwrap();
        let error = Secret::read(&path).unwrap_err().to_string();
        assert!(error.ends_with("is empty, not a password, passphrase or PIN"), "{error}");
    }
}
