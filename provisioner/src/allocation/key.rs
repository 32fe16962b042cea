//! The key that a DPS proves itself with: it stands in the address of the function.

use std::path::{Path, PathBuf};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use hub_types::shown::ShownPath;
use zeroize::Zeroizing;

/// A key of the function, as `?code=…` in its address.
#[derive(Clone)]
pub(crate) struct AllocationKey(Zeroizing<String>);

/// The reason why a key can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum AllocationKeyError {
    /// The file can't be read.
    #[error("can't read the key of the allocation in `{}`", ShownPath(path))]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The key is too weak, or can't stand in an address.
    #[error(
        "the key of the allocation in `{}` must have at least {MIN_CHARS} letters, digits and - . _ ~ on one line",
        ShownPath(path)
    )]
    Form {
        /// The file.
        path: PathBuf,
    },
}

impl AllocationKey {
    /// Reads the key from the first line of a file.
    pub(crate) fn read(path: &Path) -> Result<Self, AllocationKeyError> {
        let text = cli_support::text::read(path)
            .map_err(|source| AllocationKeyError::File { path: path.to_owned(), source })?;
        Self::parse(text.lines().next().unwrap_or_default())
            .ok_or_else(|| AllocationKeyError::Form { path: path.to_owned() })
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let key = text.trim();
        let is_legal = key.len() >= MIN_CHARS && key.bytes().all(is_unreserved);
        is_legal.then(|| Self(Zeroizing::new(key.to_owned())))
    }

    /// Returns true if the query of an address has this key, compared in constant time.
    pub(super) fn is_in(&self, query: &str) -> bool {
        let mut codes = query.split('&').filter_map(|part| part.strip_prefix("code="));
        codes.any(|code| verify_slices_are_equal(code.as_bytes(), self.0.as_bytes()).is_ok())
    }
}

impl std::fmt::Debug for AllocationKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AllocationKey(…)")
    }
}

/// The characters that need no encoding in an address (RFC 3986 §2.3).
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

const MIN_CHARS: usize = 20;
