//! [`SecretFor`]: the object that a secret opens, as prompts and errors name it.

use hub_types::shown::ShownPath;
use std::fmt;
use std::path::Path;

use hub_types::shown::ShownBare;

/// The purpose that a secret is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecretFor<'a> {
    /// The password of a file that is read: a PFX file, or a private key that is encrypted.
    Document(&'a Path),
    /// The passphrase of a CA's private key in a file.
    Key(&'a Path),
    /// The user PIN of a PKCS#11 token, by its label.
    Token(&'a str),
}

impl fmt::Display for SecretFor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Document(path) => write!(f, "`{}`", ShownPath(path)),
            Self::Key(path) => write!(f, "the key in `{}`", ShownPath(path)),
            Self::Token(label) => write!(f, "the token `{}`", ShownBare(label)),
        }
    }
}
