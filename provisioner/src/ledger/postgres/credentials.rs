//! The owners of credentials.

use hub_types::IdentityId;

use super::super::column::ResultRow;
use super::super::row::key;
use super::super::stored::row_name;
use super::super::{Credential, CredentialConflict};
use super::client::{Client, Error};
use super::value::misread;
use crate::model::run_id::RunId;
use crate::model::unknown_value::UnknownValue;

/// The first of an identity's credentials that belongs to a different one: in the run that is being
/// loaded, or on a hub. Failed rows of earlier runs do not count: the row may have been wrong.
pub(super) fn find_conflict(
    client: &mut Client,
    loaded: Option<RunId>,
    identity: &IdentityId,
    credentials: &[Credential],
) -> Result<Option<CredentialConflict>, Error> {
    let (device, module) = key(identity);
    let kinds: Vec<&str> = credentials.iter().map(|credential| credential.kind().as_str()).collect();
    let values: Vec<String> = credentials.iter().map(Credential::value).collect();
    let found = client.query_opt(
        r#"SELECT wanted.position, c.device_id, c.module_id, c.run
           FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS wanted (kind, value, position)
           JOIN credential c ON c.kind = wanted.kind AND c.value = wanted.value
           WHERE (c.device_id, c.module_id) <> ($3, $4)
             AND (c.run = $5 OR EXISTS (
                 SELECT 1 FROM run JOIN "row" ON "row".run = run.id
                 WHERE "row".device_id = c.device_id AND "row".module_id = c.module_id
                   AND "row".state IN ('done', 'unchanged', 'sent')))
           ORDER BY wanted.position LIMIT 1"#,
        &[&kinds, &values, &device, &module, &loaded.map(|run| run.0)],
    )?;
    let Some(found) = found else { return Ok(None) };
    let position: i64 = found.at(0)?;
    let credential = usize::try_from(position - 1).ok().and_then(|position| credentials.get(position));
    let unknown = || misread(&found, 0, UnknownValue::new(position.to_string()).into());
    let credential = credential.cloned().ok_or_else(unknown)?;
    let owner = row_name(&found.at::<String>(1)?, &found.at::<String>(2)?);
    let since = Some(found.at(3)?).filter(|&run| loaded != Some(run));
    Ok(Some(CredentialConflict { credential, owner, since }))
}

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
