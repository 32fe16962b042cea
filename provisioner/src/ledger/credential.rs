//! Whose a thumbprint, a public key or a serial is: remembered across runs, so that none is given to
//! two identities.

use std::fmt;

use hub_types::Thumbprint;
use hub_types::thumbprint::{ThumbprintDigest, upper_hex};
use sha2::{Digest, Sha256};

use super::RunId;

/// Something that must belong to one identity only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// What it is.
    pub kind: CredentialKind,
    /// Its value: hex in upper case, and the issuer for a serial.
    pub value: String,
}

impl Credential {
    /// A public key, given its SubjectPublicKeyInfo.
    pub fn public_key(info: &[u8]) -> Self {
        Self { kind: CredentialKind::PublicKey, value: upper_hex(&Sha256::digest(info)) }
    }

    /// A serial number of an issuer's (RFC 5280 §4.1.2.2: unique for each issuer).
    pub fn serial(issuer: &str, serial: &str) -> Self {
        Self { kind: CredentialKind::Serial, value: format!("{serial} of {issuer}") }
    }

    /// The serial number, if it is one, without its issuer.
    pub fn serial_number(&self) -> Option<&str> {
        match self.kind {
            CredentialKind::Serial => self.value.split_once(" of ").map(|(serial, _)| serial),
            _ => None,
        }
    }

    /// A thumbprint.
    pub fn thumbprint(thumbprint: &Thumbprint) -> Self {
        let value = match thumbprint.digest() {
            ThumbprintDigest::Sha1(digest) => upper_hex(digest.as_bytes()),
            ThumbprintDigest::Sha256(digest) => upper_hex(digest.as_bytes()),
        };
        Self { kind: CredentialKind::Thumbprint, value }
    }
}

/// The kinds of credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CredentialKind {
    /// The SHA-256 of a certificate's public key (its SubjectPublicKeyInfo).
    PublicKey,
    /// A certificate's serial number.
    Serial,
    /// A certificate's thumbprint.
    Thumbprint,
}

impl CredentialKind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::PublicKey => "public key",
            Self::Serial => "serial",
            Self::Thumbprint => "thumbprint",
        }
    }
}

/// A credential that is another identity's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The credential.
    pub credential: Credential,
    /// Whose it is: `device` or `device/module`.
    pub owner: String,
    /// The run that it was first seen in.
    pub run: RunId,
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { credential, owner, run } = self;
        write!(f, "this {} belongs to `{owner}` since run {run}", credential.kind.as_str())
    }
}
