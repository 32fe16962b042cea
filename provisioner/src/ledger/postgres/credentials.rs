//! The owners of credentials.

use hub_types::IdentityId;
use tokio_postgres::Row;

use super::super::column::ResultRow;
use super::super::credential::taken_over;
use super::super::row::key;
use super::super::stored::row_name;
use super::super::{Credential, CredentialConflict};
use super::client::{Client, Error};
use super::value::misread;
use crate::clock::Timestamp;
use crate::model::failure::ReasonCode;
use crate::model::run_id::RunId;
use crate::model::unknown_value::UnknownValue;

/// The first of an identity's credentials that belongs to a different one: in the run that is being
/// loaded, or by an earlier run. Failed rows of earlier runs do not count, because the row may have
/// been wrong, and neither do rows for which nothing was sent if no station works on them.
pub(super) fn find_conflict(
    client: &mut Client,
    loaded: Option<RunId>,
    identity: &IdentityId,
    credentials: &[Credential],
) -> Result<Option<CredentialConflict>, Error> {
    let (device, module) = key(identity);
    let kinds: Vec<&str> = credentials.iter().map(|credential| credential.kind().as_str()).collect();
    let values: Vec<String> = credentials.iter().map(Credential::value).collect();
    let sql = format!(
        r#"SELECT wanted.position, c.device_id, c.module_id, c.run
           FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS wanted (kind, value, position)
           JOIN credential c ON c.kind = wanted.kind AND c.value = wanted.value
           WHERE (c.device_id, c.module_id) <> ($3, $4)
             AND (c.run = $5 OR EXISTS (
                 {EARLIER_ROWS} AND run.id IS DISTINCT FROM $5
                   AND ({EFFECTIVE} OR ({PENDING} AND NOT EXISTS (SELECT 1 FROM chunk WHERE {IN_FREE_CHUNK})))))
           ORDER BY wanted.position LIMIT 1"#
    );
    let found = client.query_opt(&sql, &[&kinds, &values, &device, &module, &loaded.map(|run| run.0)])?;
    let Some(found) = found else { return Ok(None) };
    let position: i64 = found.at(0)?;
    let credential = usize::try_from(position - 1).ok().and_then(|position| credentials.get(position));
    let unknown = || misread(&found, 0, UnknownValue::new(position.to_string()).into());
    let credential = credential.cloned().ok_or_else(unknown)?;
    let owner = row_name(&found.at::<String>(1)?, &found.at::<String>(2)?);
    let since = Some(found.at(3)?).filter(|&run| loaded != Some(run));
    Ok(Some(CredentialConflict { credential, owner, since }))
}

/// Stores the owner of the credentials of a run that is being loaded. Returns false if one of them
/// belongs to a different identity by a run that a different station has committed meanwhile, which
/// [`find_conflict`] finds from now on.
pub(super) fn claim(
    client: &mut Client,
    run: RunId,
    owned: &[(IdentityId, Credential)],
    now: &Timestamp,
) -> Result<bool, Error> {
    let (devices, modules) = super::rows::keys(owned.iter().map(|(identity, _)| identity));
    let kinds: Vec<&str> = owned.iter().map(|(_, credential)| credential.kind().as_str()).collect();
    let values: Vec<String> = owned.iter().map(|(_, credential)| credential.value()).collect();
    // Here a station that loads the same credential waits for the end of the other one's transaction.
    let added = client.execute(
        &format!(
            "INSERT INTO credential (kind, value, device_id, module_id, run)
             SELECT DISTINCT ON (kind, value) kind, value, device_id, module_id, $1 FROM {OWNED}
             ORDER BY kind, value
             ON CONFLICT (kind, value) DO NOTHING"
        ),
        &[&run.0, &kinds, &values, &devices, &modules],
    )?;
    if usize::try_from(added) == Ok(owned.len()) {
        return Ok(true);
    }
    // A new statement sees what the other one has committed.
    let others = client.query(
        &format!(
            "SELECT c.kind, c.value, new.device_id, new.module_id FROM {OWNED}
             JOIN credential c ON c.kind = new.kind AND c.value = new.value
             WHERE c.run <> $1 AND (c.device_id, c.module_id) <> (new.device_id, new.module_id)
             ORDER BY c.kind, c.value FOR UPDATE OF c"
        ),
        &[&run.0, &kinds, &values, &devices, &modules],
    )?;
    for other in &others {
        let (kind, value): (String, String) = (other.at(0)?, other.at(1)?);
        let (device, module): (String, String) = (other.at(2)?, other.at(3)?);
        if !take_over(client, run, (&kind, &value), (&device, &module), now)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Gives credentials to identities, and returns those that belong to different ones. Nearly always they
/// are their owners already.
pub(super) fn claim_again(
    client: &mut Client,
    run: RunId,
    wanted: &[(IdentityId, Credential)],
) -> Result<Vec<(IdentityId, CredentialConflict)>, Error> {
    let (devices, modules) = super::rows::keys(wanted.iter().map(|(identity, _)| identity));
    let kinds: Vec<&str> = wanted.iter().map(|(_, credential)| credential.kind().as_str()).collect();
    let values: Vec<String> = wanted.iter().map(|(_, credential)| credential.value()).collect();
    let owners = || {
        client.query(
            "SELECT wanted.position, c.device_id, c.module_id, c.run
             FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
                  WITH ORDINALITY AS wanted (kind, value, device_id, module_id, position)
             LEFT JOIN credential c ON c.kind = wanted.kind AND c.value = wanted.value
             WHERE (c.device_id, c.module_id) IS DISTINCT FROM (wanted.device_id, wanted.module_id)
             ORDER BY wanted.position",
            &[&kinds, &values, &devices, &modules],
        )
    };
    let mut others = owners()?;
    let is_free = |row: &Row| Ok::<_, Error>(row.at::<Option<String>>(1)?.is_none());
    if others.iter().map(is_free).collect::<Result<Vec<_>, _>>()?.contains(&true) {
        // A station that loads the same credential is waited for.
        client.execute(
            &format!(
                "INSERT INTO credential (kind, value, device_id, module_id, run)
                 SELECT DISTINCT ON (kind, value) kind, value, device_id, module_id, $1 FROM {OWNED}
                 ORDER BY kind, value
                 ON CONFLICT (kind, value) DO NOTHING"
            ),
            &[&run.0, &kinds, &values, &devices, &modules],
        )?;
        others = owners()?;
    }
    others.iter().map(|found| other_owner(found, wanted)).collect()
}

/// The identity and the conflict of a row that [`claim_again`] has read.
fn other_owner(
    found: &Row,
    wanted: &[(IdentityId, Credential)],
) -> Result<(IdentityId, CredentialConflict), Error> {
    let position: i64 = found.at(0)?;
    let place = usize::try_from(position - 1).ok().and_then(|position| wanted.get(position));
    let unknown = || misread(found, 0, UnknownValue::new(position.to_string()).into());
    let (identity, credential) = place.cloned().ok_or_else(unknown)?;
    let owner = row_name(&found.at::<String>(1)?, &found.at::<String>(2)?);
    Ok((identity, CredentialConflict { credential, owner, since: Some(found.at(3)?) }))
}

/// Gives a credential of a different identity to this one. Rows of interrupted runs that would send
/// the credential end as conflicts. Returns false, and leaves the credential, if it is in use.
fn take_over(
    client: &Client,
    run: RunId,
    (kind, value): (&str, &str),
    (device, module): (&str, &str),
    now: &Timestamp,
) -> Result<bool, Error> {
    let error = taken_over(kind, &row_name(device, module), run);
    client.execute(
        &format!(
            r#"WITH free AS (SELECT chunk.run, chunk.level, "row".device_id, "row".module_id
                   FROM credential c, run JOIN "row" ON "row".run = run.id, chunk
                   WHERE c.kind = $1 AND c.value = $2 AND run.id >= c.run AND run.id <> $3
                     AND "row".device_id = c.device_id AND "row".module_id = c.module_id
                     AND {PENDING} AND {IN_FREE_CHUNK} FOR UPDATE OF chunk)
               UPDATE "row" SET state = 'conflict', reason = $4, error = $5, updated = $6 FROM free
               WHERE "row".run = free.run AND "row".level = free.level AND "row".device_id = free.device_id
                 AND "row".module_id = free.module_id AND "row".state IN ('pending', 'claimed')"#
        ),
        &[&kind, &value, &run.0, &ReasonCode::CredentialTaken.as_str(), &error, &now.as_str()],
    )?;
    let given = client.execute(
        &format!(
            r#"UPDATE credential c SET device_id = $4, module_id = $5, run = $3
               WHERE c.kind = $1 AND c.value = $2
                 AND NOT EXISTS ({EARLIER_ROWS} AND run.id <> $3 AND ({EFFECTIVE} OR {PENDING}))"#
        ),
        &[&kind, &value, &run.0, &device, &module],
    )?;
    Ok(given > 0)
}

/// Removes the credentials that a run gave to identities for which it did nothing, unless a later run
/// gave them to the same identity.
pub(super) fn free_unused(client: &Client, run: RunId) -> Result<(), Error> {
    client
        .execute(
            &format!(
                r#"DELETE FROM credential c USING "row" AS own
                   WHERE c.run = $1 AND own.run = $1 AND own.device_id = c.device_id AND own.module_id = c.module_id
                     AND own.state IN ('conflict', 'failed', 'skipped') AND own.effect IS NULL
                     AND NOT EXISTS ({EARLIER_ROWS} AND run.id > $1 AND ({EFFECTIVE} OR {PENDING}))"#
            ),
            &[&run.0],
        )
        .map(drop)
}

/// Removes the thumbprints that a run has taken out of its identities, and the keys and serial numbers
/// that came with no other thumbprint.
pub(super) fn forget_reverted(client: &mut Client, run: RunId) -> Result<(), Error> {
    client
        .execute(
            &format!(
                r#"WITH gone AS (
                       DELETE FROM credential c USING "row"
                       WHERE {REVERTED} AND c.kind = 'thumbprint' AND strpos(upper("row".desired), c.value) > 0
                       RETURNING c.kind, c.value, c.device_id, c.module_id, c.run)
                   DELETE FROM credential c USING gone
                   WHERE c.kind <> 'thumbprint' AND c.run = gone.run AND c.device_id = gone.device_id
                     AND c.module_id = gone.module_id AND NOT EXISTS (
                         SELECT 1 FROM credential AS kept
                         WHERE kept.kind = 'thumbprint' AND kept.run = c.run AND kept.device_id = c.device_id
                           AND kept.module_id = c.module_id
                           AND NOT EXISTS (SELECT 1 FROM gone WHERE gone.kind = kept.kind AND gone.value = kept.value))"#
            ),
            &[&run.0],
        )
        .map(drop)
}

/// The condition of credentials whose owner a run has changed as asked.
const REVERTED: &str = r#""row".run = $1 AND "row".device_id = c.device_id AND "row".module_id = c.module_id
    AND "row".state IN ('done', 'unchanged')"#;

/// The credentials of a run that is being loaded, as a table.
const OWNED: &str = "unnest($2::text[], $3::text[], $4::text[], $5::text[])
                     AS new (kind, value, device_id, module_id)";

/// The rows of the owner of the credential `c` in the run that gave it to the owner, and in later ones.
const EARLIER_ROWS: &str = r#"SELECT 1 FROM run JOIN "row" ON "row".run = run.id
    WHERE run.id >= c.run AND "row".device_id = c.device_id AND "row".module_id = c.module_id"#;

/// The condition of rows that have left their credentials on a service, or may have done so.
const EFFECTIVE: &str = r#"("row".state IN ('done', 'unchanged', 'sent')
    OR ("row".state = 'failed' AND "row".effect IN ('created', 'updated')))"#;

/// The condition of rows that would send the credential `c`. Of keys and serial numbers, rows only
/// have the thumbprint beside them.
const PENDING: &str = r#"("row".state IN ('pending', 'claimed')
    AND (c.kind <> 'thumbprint' OR strpos(upper("row".desired), c.value) > 0))"#;

/// The condition of the chunk of such a row, if no station works on it.
const IN_FREE_CHUNK: &str = r#"chunk.run = "row".run AND chunk.level = "row".level
    AND chunk.first_device <= "row".device_id AND chunk.last_device >= "row".device_id
    AND NOT chunk.done AND (chunk.expires IS NULL OR chunk.expires <= clock_timestamp())"#;

/// Stores the owner of these credentials.
pub(super) fn remember(
    client: &mut Client,
    run: RunId,
    owned: &[(IdentityId, Credential)],
) -> Result<(), Error> {
    let (devices, modules) = super::rows::keys(owned.iter().map(|(identity, _)| identity));
    let kinds: Vec<&str> = owned.iter().map(|(_, credential)| credential.kind().as_str()).collect();
    let values: Vec<String> = owned.iter().map(|(_, credential)| credential.value()).collect();
    client
        .execute(
            "INSERT INTO credential (kind, value, device_id, module_id, run)
             SELECT DISTINCT ON (kind, value) kind, value, device_id, module_id, $1
             FROM unnest($2::text[], $3::text[], $4::text[], $5::text[]) AS new (kind, value, device_id, module_id)
             ON CONFLICT (kind, value) DO UPDATE
                 SET device_id = excluded.device_id, module_id = excluded.module_id, run = excluded.run
                 WHERE (credential.device_id, credential.module_id) <> (excluded.device_id, excluded.module_id)",
            &[&run.0, &kinds, &values, &devices, &modules],
        )
        .map(drop)
}

/// Removes a run's credentials of owners that `undo` found missing or has deleted.
pub(super) fn forget_undone(client: &mut Client, run: RunId, undo: RunId) -> Result<(), Error> {
    client
        .execute(
            r#"DELETE FROM credential USING "row"
               WHERE credential.run = $1 AND "row".run = $2 AND "row".device_id = credential.device_id
                 AND "row".module_id = credential.module_id AND "row".state IN ('done', 'unchanged')"#,
            &[&run.0, &undo.0],
        )
        .map(drop)
}
