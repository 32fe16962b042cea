//! Whose credentials are.

use hub_types::IdentityId;
use rusqlite::{Connection, OptionalExtension, params};

use super::super::row::key;
use super::super::{Credential, RunId, Taken};

/// Remembers whose these credentials are.
pub(super) fn remember_all(
    connection: &mut Connection,
    run: RunId,
    owned: &[(IdentityId, Credential)],
) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for (identity, credential) in owned {
        remember(&transaction, run, identity, credential)?;
    }
    transaction.commit()
}

/// Forgets what a run remembered of owners that `undo` found gone or has deleted.
pub(super) fn forget_undone(connection: &Connection, run: RunId, undo: RunId) -> rusqlite::Result<()> {
    connection
        .execute(
            "DELETE FROM credential WHERE run = ?1 AND EXISTS (
                 SELECT 1 FROM row
                 WHERE row.run = ?2 AND row.device_id = credential.device_id
                   AND row.module_id = credential.module_id AND row.state IN ('done', 'unchanged'))",
            params![run.0, undo.0],
        )
        .map(drop)
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
