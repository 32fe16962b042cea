//! The owners of credentials.

use hub_types::IdentityId;
use rusqlite::{Connection, OptionalExtension, params};

use super::super::column::ResultRow;
use super::super::row::key;
use super::super::{Credential, CredentialConflict};
use crate::model::run_id::RunId;

/// Stores the owner of these credentials.
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

/// Removes a run's credentials of owners that `undo` found missing or has deleted.
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

/// Stores all of an identity's credentials, or none and returns the first that belongs to a
/// different one.
pub(super) fn claim(
    connection: &Connection,
    run: RunId,
    identity: &IdentityId,
    credentials: &[Credential],
) -> rusqlite::Result<Option<CredentialConflict>> {
    // Nearly all are new: those cost one statement.
    let (mut added, mut unbound) = (Vec::new(), Vec::new());
    for credential in credentials {
        if add(connection, run, identity, credential)? {
            added.push(credential);
            continue;
        }
        match owner(connection, credential)? {
            Some(owner) if owner.is(identity) => {}
            Some(owner) if owner.run == run || owner.is_on_a_hub(connection)? => {
                for credential in added {
                    forget(connection, credential)?;
                }
                return Ok(Some(owner.has(credential, Some(run))));
            }
            _ => unbound.push(credential),
        }
    }
    for credential in unbound {
        remember(connection, run, identity, credential)?;
    }
    Ok(None)
}

/// The first of an identity's credentials that is known to be another's on a hub.
pub(super) fn find_conflict(
    connection: &Connection,
    identity: &IdentityId,
    credentials: &[Credential],
) -> rusqlite::Result<Option<CredentialConflict>> {
    for credential in credentials {
        if let Some(owner) = owner(connection, credential)?
            && !owner.is(identity)
            && owner.is_on_a_hub(connection)?
        {
            return Ok(Some(owner.has(credential, None)));
        }
    }
    Ok(None)
}

/// The owner of a credential.
struct CredentialOwner {
    device: String,
    module: String,
    run: RunId,
}

impl CredentialOwner {
    fn is(&self, identity: &IdentityId) -> bool {
        (self.device.as_str(), self.module.as_str()) == key(identity)
    }

    /// Returns true if it is reserved for its owner, in any run. Failed rows of earlier runs do not
    /// reserve credentials, because they may have been wrong.
    fn is_on_a_hub(&self, connection: &Connection) -> rusqlite::Result<bool> {
        connection.prepare_cached(IS_ON_A_HUB)?.query_row(params![self.device, self.module], |row| row.get(0))
    }

    /// `loaded` is the run that is being loaded.
    fn has(self, credential: &Credential, loaded: Option<RunId>) -> CredentialConflict {
        let Self { device, module, run } = self;
        let owner = if module.is_empty() { device } else { format!("{device}/{module}") };
        CredentialConflict {
            credential: credential.clone(),
            owner,
            since: Some(run).filter(|_| loaded != Some(run)),
        }
    }
}

fn owner(connection: &Connection, credential: &Credential) -> rusqlite::Result<Option<CredentialOwner>> {
    connection
        .prepare_cached("SELECT device_id, module_id, run FROM credential WHERE kind = ?1 AND value = ?2")?
        .query_row(params![credential.kind().as_str(), credential.value()], |row| {
            Ok(CredentialOwner { device: row.at(0)?, module: row.at(1)?, run: row.at(2)? })
        })
        .optional()
}

/// Adds a credential without an owner; returns true if it was added.
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

/// Tests whether an identity is on a hub. `CROSS JOIN` keeps the order: of each run, one row is looked up.
const IS_ON_A_HUB: &str = "SELECT EXISTS (
    SELECT 1 FROM run CROSS JOIN row ON row.run = run.id
    WHERE row.device_id = ?1 AND row.module_id = ?2 AND row.state IN ('done', 'unchanged', 'sent'))";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_look_for_an_owner_reads_all_rows() {
        let database = Connection::open_in_memory().unwrap();
        super::super::schema::prepare(&database).unwrap();
        let mut plan = database.prepare(&format!("EXPLAIN QUERY PLAN {IS_ON_A_HUB}")).unwrap();
        let steps = plan.query_map(["a", ""], |step| step.get::<_, String>(3)).unwrap();
        let steps: Vec<String> = steps.map(Result::unwrap).collect();
        assert!(steps.iter().any(|step| step.starts_with("SEARCH row USING PRIMARY KEY")), "{steps:?}");
        assert!(!steps.iter().any(|step| step.starts_with("SCAN row")), "{steps:?}");
    }
}
