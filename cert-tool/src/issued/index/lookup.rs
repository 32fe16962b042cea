//! [`Lookup`]: the certificates that are looked up in an index, as conditions in SQL.

use hub_types::{IdentityId, Sha1Thumbprint, Sha256Thumbprint};
use time::OffsetDateTime;

/// The certificates to look up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lookup {
    /// Every one.
    All,
    /// Those of an identity.
    Identity(IdentityId),
    /// Those of CAs with a common name.
    Authority(String),
    /// The one with a serial number.
    Serial(Vec<u8>),
    /// The one with a SHA-1 thumbprint.
    Sha1(Sha1Thumbprint),
    /// The one with a SHA-256 thumbprint.
    Sha256(Sha256Thumbprint),
    /// The newest of each identity, where it is not revoked and ends before a time.
    EndingBefore(OffsetDateTime),
    /// The newest of each identity, where it is on hold and ends before a time.
    OnHoldEndingBefore(OffsetDateTime),
    /// Those that were revoked.
    Revoked,
}

impl Lookup {
    /// The condition for certificates of devices and modules, with the value of its parameter.
    pub(super) fn sql(&self) -> (&'static str, rusqlite::types::Value) {
        use rusqlite::types::Value::{Blob, Integer, Null, Text};

        match self {
            Self::All => ("?1 IS NULL", Null),
            Self::Authority(_) => ("?1 IS NOT NULL", Null),
            Self::Identity(identity) => ("c.identity = ?1", Text(identity.common_name())),
            Self::Serial(serial) => ("c.serial = ?1", Blob(serial.clone())),
            Self::Sha1(sha1) => ("c.sha1 = ?1", Blob(sha1.as_bytes().to_vec())),
            Self::Sha256(sha256) => ("c.sha256 = ?1", Blob(sha256.as_bytes().to_vec())),
            Self::EndingBefore(time) => (
                "c.not_after < ?1 AND c.revoked_at IS NULL
                 AND NOT EXISTS (SELECT 1 FROM certificates n WHERE n.identity = c.identity AND n.id > c.id)",
                Integer(time.unix_timestamp()),
            ),
            Self::OnHoldEndingBefore(time) => (
                "c.not_after < ?1 AND c.revoked_at IS NOT NULL AND c.reason = 6
                 AND NOT EXISTS (SELECT 1 FROM certificates n WHERE n.identity = c.identity AND n.id > c.id)",
                Integer(time.unix_timestamp()),
            ),
            Self::Revoked => ("c.revoked_at IS NOT NULL AND ?1 IS NULL", Null),
        }
    }

    /// The condition for certificates of CAs; `None` where none is meant.
    pub(super) fn authority_sql(&self) -> Option<(&'static str, rusqlite::types::Value)> {
        use rusqlite::types::Value::{Blob, Null, Text};

        Some(match self {
            Self::All => ("?1 IS NULL", Null),
            Self::Authority(common_name) => ("a.common_name = ?1", Text(common_name.clone())),
            Self::Serial(serial) => ("a.serial = ?1", Blob(serial.clone())),
            Self::Sha1(sha1) => ("a.sha1 = ?1", Blob(sha1.as_bytes().to_vec())),
            Self::Sha256(sha256) => ("a.sha256 = ?1", Blob(sha256.as_bytes().to_vec())),
            Self::Revoked => ("a.revoked_at IS NOT NULL AND ?1 IS NULL", Null),
            Self::Identity(_) | Self::EndingBefore(_) | Self::OnHoldEndingBefore(_) => return None,
        })
    }
}
