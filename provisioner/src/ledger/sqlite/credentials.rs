//! The owners of credentials.

use hub_types::IdentityId;
use rusqlite::{Connection, OptionalExtension, params};

use super::super::column::ResultRow;
use super::super::credential::taken_over;
use super::super::row::key;
use super::super::{Credential, CredentialConflict};
use crate::clock::Timestamp;
use crate::model::failure::ReasonCode;
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

/// Removes the credentials that a run gave to identities for which it did nothing, unless a later run
/// gave them to the same identity.
pub(super) fn free_unused(connection: &Connection, run: RunId) -> rusqlite::Result<()> {
    connection
        .execute(
            "DELETE FROM credential
             WHERE run = ?1
               AND EXISTS (SELECT 1 FROM row WHERE run = ?1 AND state IN ('conflict', 'failed', 'skipped'))
               AND EXISTS (
                   SELECT 1 FROM row
                   WHERE row.run = ?1 AND row.device_id = credential.device_id
                     AND row.module_id = credential.module_id
                     AND row.state IN ('conflict', 'failed', 'skipped') AND row.effect IS NULL)
               AND NOT EXISTS (
                   SELECT 1 FROM run AS later CROSS JOIN row ON row.run = later.id
                   WHERE later.id > ?1 AND row.device_id = credential.device_id
                     AND row.module_id = credential.module_id
                     AND row.state NOT IN ('conflict', 'failed', 'skipped'))",
            [run.0],
        )
        .map(drop)
}

/// Removes the thumbprints that a run has taken out of its identities, and the keys and serial numbers
/// that came with no other thumbprint.
pub(super) fn forget_reverted(connection: &mut Connection, run: RunId) -> rusqlite::Result<()> {
    const REVERTED: &str = "EXISTS (SELECT 1 FROM row
        WHERE row.run = ?1 AND row.device_id = credential.device_id AND row.module_id = credential.module_id
          AND row.state IN ('done', 'unchanged')";
    let transaction = connection.transaction()?;
    // The keys first: they are found by the thumbprints of the same run.
    transaction.execute(
        &format!(
            "DELETE FROM credential WHERE kind <> 'thumbprint' AND {REVERTED}
                 AND EXISTS (SELECT 1 FROM credential AS gone
                     WHERE gone.kind = 'thumbprint' AND gone.run = credential.run
                       AND gone.device_id = row.device_id AND gone.module_id = row.module_id
                       AND instr(upper(row.desired), gone.value) > 0)
                 AND NOT EXISTS (SELECT 1 FROM credential AS kept
                     WHERE kept.kind = 'thumbprint' AND kept.run = credential.run
                       AND kept.device_id = row.device_id AND kept.module_id = row.module_id
                       AND instr(upper(row.desired), kept.value) = 0))"
        ),
        [run.0],
    )?;
    transaction.execute(
        &format!(
            "DELETE FROM credential WHERE kind = 'thumbprint' AND {REVERTED}
                 AND instr(upper(row.desired), credential.value) > 0)"
        ),
        [run.0],
    )?;
    transaction.commit()
}

/// Stores all of an identity's credentials, or none and returns the first that belongs to a
/// different one. Rows of interrupted runs that would send one of them for a different identity end
/// as conflicts: no other process works on them, because this one has locked the ledger.
pub(super) fn claim(
    connection: &Connection,
    run: RunId,
    identity: &IdentityId,
    credentials: &[Credential],
    now: &Timestamp,
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
            owner => unbound.push((credential, owner)),
        }
    }
    for (credential, owner) in unbound {
        if let Some(owner) = owner {
            owner.end_interrupted_rows(connection, credential, run, identity, now)?;
        }
        remember(connection, run, identity, credential)?;
    }
    Ok(None)
}

/// Gives credentials to identities, and returns those that belong to different ones.
pub(super) fn claim_again(
    connection: &mut Connection,
    run: RunId,
    wanted: &[(IdentityId, Credential)],
) -> rusqlite::Result<Vec<(IdentityId, CredentialConflict)>> {
    let transaction = connection.transaction()?;
    let mut taken = Vec::new();
    for (identity, credential) in wanted {
        match owner(&transaction, credential)? {
            Some(owner) if owner.is(identity) => {}
            Some(owner) => taken.push((identity.clone(), owner.has(credential, None))),
            None => drop(add(&transaction, run, identity, credential)?),
        }
    }
    transaction.commit()?;
    Ok(taken)
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
        connection
            .prepare_cached(IS_ON_A_HUB)?
            .query_row(params![self.device, self.module, self.run.0], |row| row.get(0))
    }

    /// Ends the owner's rows that would send a credential, which `run` gives to a different identity.
    fn end_interrupted_rows(
        &self,
        connection: &Connection,
        credential: &Credential,
        run: RunId,
        identity: &IdentityId,
        now: &Timestamp,
    ) -> rusqlite::Result<()> {
        let kind = credential.kind().as_str();
        let error = taken_over(kind, &identity.to_string(), run);
        connection
            .prepare_cached(END_INTERRUPTED_ROWS)?
            .execute(params![
                self.device,
                self.module,
                self.run.0,
                run.0,
                kind,
                credential.value(),
                ReasonCode::CredentialTaken.as_str(),
                error,
                now.as_str()
            ])
            .map(drop)
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

/// Tests whether an identity is on a hub by a run that may have given it the credential. `CROSS JOIN`
/// keeps the order: of each run, one row is looked up.
const IS_ON_A_HUB: &str = "SELECT EXISTS (
    SELECT 1 FROM run CROSS JOIN row ON row.run = run.id
    WHERE run.id >= ?3 AND row.device_id = ?1 AND row.module_id = ?2
      AND (row.state IN ('done', 'unchanged', 'sent')
           OR (row.state = 'failed' AND row.effect IN ('created', 'updated'))))";

/// Of keys and serial numbers, rows only have the thumbprint beside them.
const END_INTERRUPTED_ROWS: &str = "UPDATE row SET state = 'conflict', reason = ?7, error = ?8, updated = ?9
    WHERE run IN (SELECT id FROM run WHERE id >= ?3 AND id <> ?4) AND device_id = ?1 AND module_id = ?2
      AND state IN ('pending', 'claimed') AND (?5 <> 'thumbprint' OR instr(upper(desired), ?6) > 0)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_look_for_an_owner_reads_all_rows() {
        let database = Connection::open_in_memory().unwrap();
        super::super::schema::prepare(&database).unwrap();
        let mut plan = database.prepare(&format!("EXPLAIN QUERY PLAN {IS_ON_A_HUB}")).unwrap();
        let steps = plan.query_map(params!["a", "", 1], |step| step.get::<_, String>(3)).unwrap();
        let steps: Vec<String> = steps.map(Result::unwrap).collect();
        assert!(steps.iter().any(|step| step.starts_with("SEARCH row USING PRIMARY KEY")), "{steps:?}");
        assert!(!steps.iter().any(|step| step.starts_with("SCAN row")), "{steps:?}");
    }
}
