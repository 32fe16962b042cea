//! The owners of thumbprints, public keys and serial numbers, stored across runs, so that none is
//! given to two identities.

use std::fmt;

use hub_types::Thumbprint;
use hub_types::thumbprint::{ThumbprintDigest, upper_hex};
use sha2::{Digest, Sha256};

use crate::model::run_id::RunId;

/// A credential that must belong to one identity only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credential(Repr);

/// The credential in binary form. Batches have millions of thumbprints: their texts are only made
/// when needed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Repr {
    PublicKey([u8; 32]),
    Serial { serial: String, issuer: String },
    Thumbprint(ThumbprintDigest),
}

impl Credential {
    /// A public key, given its SubjectPublicKeyInfo.
    pub(crate) fn public_key(info: &[u8]) -> Self {
        Self(Repr::PublicKey(Sha256::digest(info).into()))
    }

    /// A serial number of an issuer's (RFC 5280 §4.1.2.2: unique for each issuer).
    pub(crate) fn serial(issuer: &str, serial: &str) -> Self {
        Self(Repr::Serial { serial: serial.to_owned(), issuer: issuer.to_owned() })
    }

    /// A thumbprint.
    pub(crate) fn thumbprint(thumbprint: &Thumbprint) -> Self {
        Self(Repr::Thumbprint(thumbprint.digest()))
    }

    /// The kind of the credential.
    pub(crate) fn kind(&self) -> CredentialKind {
        match self.0 {
            Repr::PublicKey(_) => CredentialKind::PublicKey,
            Repr::Serial { .. } => CredentialKind::Serial,
            Repr::Thumbprint(_) => CredentialKind::Thumbprint,
        }
    }

    /// Its value: hex in upper case, and the issuer for a serial.
    pub(crate) fn value(&self) -> String {
        match &self.0 {
            Repr::PublicKey(digest) => upper_hex(digest),
            Repr::Serial { serial, issuer } => format!("{serial} of {issuer}"),
            Repr::Thumbprint(ThumbprintDigest::Sha1(digest)) => upper_hex(digest.as_bytes()),
            Repr::Thumbprint(ThumbprintDigest::Sha256(digest)) => upper_hex(digest.as_bytes()),
        }
    }

    /// The serial number, if it is one, without its issuer.
    pub(crate) fn serial_number(&self) -> Option<&str> {
        match &self.0 {
            Repr::Serial { serial, .. } => Some(serial),
            Repr::PublicKey(_) | Repr::Thumbprint(_) => None,
        }
    }
}

/// The kinds of credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum CredentialKind {
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
pub(crate) struct CredentialConflict {
    /// The credential.
    pub(crate) credential: Credential,
    /// The owner: `device` or `device/module`.
    pub(crate) owner: String,
    /// The earlier run in which it was first seen; `None` if it occurs twice in one batch.
    pub(crate) since: Option<RunId>,
}

impl fmt::Display for CredentialConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.credential.kind().as_str();
        match self.since {
            Some(run) => f.write_str(&taken_over(kind, &self.owner, run)),
            None => write!(f, "`{}` has the same {kind}", self.owner),
        }
    }
}

/// The reason why a row of an interrupted run is not carried out: a later run has given its
/// credential to a different identity.
pub(super) fn taken_over(kind: &str, owner: &str, run: RunId) -> String {
    format!("this {kind} belongs to `{owner}` since run {run}")
}
