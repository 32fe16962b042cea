//! [`IndexEntry`]: a certificate as the index knows it, read from a row.

use std::path::PathBuf;

use hub_types::thumbprint::upper_hex;
use hub_types::{IdentityId, Sha1Thumbprint, Sha256Thumbprint};
use rusqlite::Row;
use time::OffsetDateTime;

use super::revocation::{self, Revocation};
use crate::error::refusal::Refusal;
use crate::issued::record::{IssuedAuth, IssuedCertificate};
use crate::issued::sink::{Place, Sink};
use crate::keys::fingerprint::Fingerprint;

/// A certificate as the index knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    pub(crate) id: i64,
    /// The identity that the certificate is for.
    pub identity: IdentityId,
    /// The record of the certificate, with its place.
    pub record: IssuedCertificate,
    /// SHA-256 of its `SubjectPublicKeyInfo`.
    pub key: Fingerprint,
    /// True for the newest certificate of its identity.
    pub is_current: bool,
    /// The time and the reason of its revocation, if it is revoked.
    pub revocation: Option<Revocation>,
    pub(crate) output: i64,
}

impl IndexEntry {
    /// Returns the reason why its identity gets no certificate in an output, if there is one; `is_here` says
    /// whether this one is there.
    pub(crate) fn refusal(&self, is_here: bool) -> Option<Refusal> {
        match (self.revocation.map(Revocation::refusal), is_here) {
            (Some(refusal), _) => Some(refusal),
            (None, true) => None,
            (None, false) => Some(Refusal::IssuedElsewhere { certificate: self.record.certificate.clone() }),
        }
    }
}

pub(super) fn entry(row: &Row<'_>) -> Result<IndexEntry, rusqlite::Error> {
    let identity = identity(row, 1)?;
    let sink = sink_of(row, 13)?;
    let folder = PathBuf::from(row.get::<_, String>(12)?);
    let place = Place { entry: row.get(16)?, certificate: row.get(9)?, private_key: row.get(10)?, list: 0 };
    let elsewhere: Option<String> = row.get(15)?;
    let private_key = match elsewhere {
        Some(path) => Some(path.into()),
        None => sink.key_location(&identity, &place).map(|path| folder.join(path)),
    };
    Ok(IndexEntry {
        id: row.get(0)?,
        record: IssuedCertificate {
            auth: auth_of(row, 8)?,
            sha256: Sha256Thumbprint::from_bytes(row.get(3)?),
            sha1: Sha1Thumbprint::from_bytes(row.get(4)?),
            serial: upper_hex(&row.get::<_, Vec<u8>>(2)?),
            not_before: time_of(row, 6)?,
            not_after: time_of(row, 7)?,
            certificate: folder.join(sink.certificate_location(&identity, &place)),
            private_key,
            replaced: row.get::<_, Option<_>>(14)?.map(Sha256Thumbprint::from_bytes),
        },
        identity,
        key: Fingerprint::from_bytes(row.get(5)?),
        is_current: row.get(19)?,
        revocation: revocation::of_row(row, 17)?,
        output: row.get(11)?,
    })
}

fn auth_of(row: &Row<'_>, column: usize) -> Result<IssuedAuth, rusqlite::Error> {
    let number = row.get(column)?;
    IssuedAuth::from_number(number).ok_or(rusqlite::Error::IntegralValueOutOfRange(column, number))
}

pub(super) fn sink_of(row: &Row<'_>, column: usize) -> Result<Sink, rusqlite::Error> {
    let name: String = row.get(column)?;
    Sink::parse(&name).ok_or_else(|| rusqlite::Error::InvalidColumnName(name))
}

pub(super) fn time_of(row: &Row<'_>, column: usize) -> Result<OffsetDateTime, rusqlite::Error> {
    let seconds: i64 = row.get(column)?;
    OffsetDateTime::from_unix_timestamp(seconds)
        .map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, seconds))
}

pub(super) fn identity(row: &Row<'_>, column: usize) -> Result<IdentityId, rusqlite::Error> {
    let text: String = row.get(column)?;
    IdentityId::from_common_name(&text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
    })
}

/// Selects the columns that [`entry`] reads, in its order.
pub(super) const SELECT: &str =
    "SELECT c.id, c.identity, c.serial, c.sha256, c.sha1, c.key, c.not_before, c.not_after,
    c.auth, c.certificate_at, c.key_at, c.output, o.path, o.sink, c.replaced, c.private_key, c.entry_at,
    c.revoked_at, c.reason,
    NOT EXISTS (SELECT 1 FROM certificates n WHERE n.identity = c.identity AND n.id > c.id)
    FROM certificates c JOIN outputs o ON o.id = c.output";
