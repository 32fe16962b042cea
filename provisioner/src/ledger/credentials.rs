//! Whose a thumbprint, a public key or a serial is: remembered across runs, so that none is given to
//! two identities.

use std::fmt;

use hub_types::{IdentityId, Thumbprint};
use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

use super::rows::key;
use super::{Ledger, LedgerError, RunId};

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
        let value = Sha256::digest(info).iter().map(|byte| format!("{byte:02X}")).collect();
        Self { kind: CredentialKind::PublicKey, value }
    }

    /// A serial number of an issuer's (RFC 5280 §4.1.2.2: unique for each issuer).
    pub fn serial(issuer: &str, serial: &str) -> Self {
        Self { kind: CredentialKind::Serial, value: format!("{serial} of {issuer}") }
    }

    /// A thumbprint.
    pub fn thumbprint(thumbprint: &Thumbprint) -> Self {
        Self { kind: CredentialKind::Thumbprint, value: thumbprint.to_string().to_uppercase() }
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
    fn as_str(self) -> &'static str {
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

impl Ledger {
    /// Remembers whose these credentials are.
    pub fn remember(&mut self, run: RunId, owned: &[(IdentityId, Credential)]) -> Result<(), LedgerError> {
        let Self { connection, path, .. } = self;
        let mut remember_all = || -> rusqlite::Result<()> {
            let transaction = connection.transaction()?;
            for (identity, credential) in owned {
                remember(&transaction, run, identity, credential)?;
            }
            transaction.commit()
        };
        remember_all().map_err(|source| LedgerError::Database { path: path.clone(), source })
    }
}

/// Remembers all of an identity's credentials, or none and answers the first that is another's.
pub(super) fn claim(
    connection: &Connection,
    run: RunId,
    identity: &IdentityId,
    credentials: &[Credential],
) -> rusqlite::Result<Option<Taken>> {
    for credential in credentials {
        if let Some(taken) = owner_other_than(connection, run, identity, credential)? {
            return Ok(Some(taken));
        }
    }
    for credential in credentials {
        remember(connection, run, identity, credential)?;
    }
    Ok(None)
}

/// The other identity that has the credential: in this run, or on a hub. What an earlier run could not
/// do binds nobody: the row may have been wrong.
fn owner_other_than(
    connection: &Connection,
    run: RunId,
    identity: &IdentityId,
    credential: &Credential,
) -> rusqlite::Result<Option<Taken>> {
    let (device, module) = key(identity);
    connection
        .prepare_cached(
            "SELECT c.device_id, c.module_id, c.run FROM credential c
             WHERE c.kind = ?1 AND c.value = ?2 AND (c.device_id, c.module_id) <> (?3, ?4)
               AND (c.run = ?5 OR EXISTS (
                   SELECT 1 FROM run JOIN row ON row.run = run.id
                   WHERE row.device_id = c.device_id AND row.module_id = c.module_id
                     AND row.state IN ('done', 'unchanged', 'sent')))",
        )?
        .query_row(params![credential.kind.as_str(), credential.value, device, module, run.0], |row| {
            let (device, module): (String, String) = (row.get(0)?, row.get(1)?);
            let owner = if module.is_empty() { device } else { format!("{device}/{module}") };
            Ok(Taken { credential: credential.clone(), owner, run: RunId(row.get(2)?) })
        })
        .optional()
}

fn remember(
    connection: &Connection,
    run: RunId,
    identity: &IdentityId,
    credential: &Credential,
) -> rusqlite::Result<()> {
    let (device, module) = key(identity);
    connection
        .prepare_cached(
            "INSERT INTO credential (kind, value, device_id, module_id, run) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET device_id = ?3, module_id = ?4, run = ?5
             WHERE (device_id, module_id) <> (?3, ?4)",
        )?
        .execute(params![credential.kind.as_str(), credential.value, device, module, run.0])
        .map(drop)
}
