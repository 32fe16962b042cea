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
    // Nearly all are new: those cost one statement.
    let (mut added, mut unbound) = (Vec::new(), Vec::new());
    for credential in credentials {
        if add(connection, run, identity, credential)? {
            added.push(credential);
            continue;
        }
        match owner(connection, run, credential)? {
            Some(owner) if owner.is(identity) => {}
            Some(owner) if owner.is_bound => {
                for credential in added {
                    forget(connection, credential)?;
                }
                return Ok(Some(owner.has(credential)));
            }
            _ => unbound.push(credential),
        }
    }
    for credential in unbound {
        remember(connection, run, identity, credential)?;
    }
    Ok(None)
}

/// Whose a credential is.
struct Owner {
    device: String,
    module: String,
    run: RunId,
    /// Whether nobody else may have it: in this run, or since it is on a hub. What an earlier run could not
    /// do binds nobody: the row may have been wrong.
    is_bound: bool,
}

impl Owner {
    fn is(&self, identity: &IdentityId) -> bool {
        (self.device.as_str(), self.module.as_str()) == key(identity)
    }

    fn has(self, credential: &Credential) -> Taken {
        let Self { device, module, run, .. } = self;
        let owner = if module.is_empty() { device } else { format!("{device}/{module}") };
        Taken { credential: credential.clone(), owner, run }
    }
}

fn owner(connection: &Connection, run: RunId, credential: &Credential) -> rusqlite::Result<Option<Owner>> {
    connection
        .prepare_cached(
            "SELECT c.device_id, c.module_id, c.run, c.run = ?3 OR EXISTS (
                 SELECT 1 FROM run JOIN row ON row.run = run.id
                 WHERE row.device_id = c.device_id AND row.module_id = c.module_id
                   AND row.state IN ('done', 'unchanged', 'sent'))
             FROM credential c WHERE c.kind = ?1 AND c.value = ?2",
        )?
        .query_row(params![credential.kind().as_str(), credential.value(), run.0], |row| {
            let (device, module, run) = (row.get(0)?, row.get(1)?, RunId(row.get(2)?));
            Ok(Owner { device, module, run, is_bound: row.get(3)? })
        })
        .optional()
}

/// Adds a credential that nobody has yet; answers whether it did.
fn add(
    connection: &Connection,
    run: RunId,
    identity: &IdentityId,
    credential: &Credential,
) -> rusqlite::Result<bool> {
    let (device, module) = key(identity);
    let mut add = connection.prepare_cached(
        "INSERT INTO credential (kind, value, device_id, module_id, run) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO NOTHING",
    )?;
    let count =
        add.execute(params![credential.kind().as_str(), credential.value(), device, module, run.0])?;
    Ok(count > 0)
}

fn forget(connection: &Connection, credential: &Credential) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM credential WHERE kind = ?1 AND value = ?2")?
        .execute(params![credential.kind().as_str(), credential.value()])
        .map(drop)
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
        .execute(params![credential.kind().as_str(), credential.value(), device, module, run.0])
        .map(drop)
}
