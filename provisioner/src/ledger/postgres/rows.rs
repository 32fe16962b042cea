//! Rows in PostgreSQL: one statement for many rows.

use std::time::Duration;

use hub_types::identity::StatusReason;
use hub_types::{DeviceId, Etag, IdentityId, ModuleId};
use tokio_postgres::Row;

use super::super::hold::PastRow;
use super::super::row::{key, stored};
use super::super::stored::json_text;
use super::super::{
    Effect, Ended, Lease, LedgerRow, Record, RowFilter, RowState, RunId, RunOptions, Seen, Sent,
};
use super::client::{Client, Error};
use super::columns::{Json, Number, Parsed, get};
use crate::model::compare::{Difference, Etags};
use crate::model::failure::ReasonCode;
use crate::model::spec::{DesiredIdentity, DesiredState};

pub(super) fn condition(filter: RowFilter) -> &'static str {
    match filter {
        RowFilter::All => "TRUE",
        RowFilter::Created => {
            // What a later run has created again is that run's.
            r#"state = 'done' AND effect = 'created' AND NOT EXISTS (
                 SELECT 1 FROM run AS later JOIN "row" AS again ON again.run = later.id
                 WHERE later.id > "row".run AND later.hub = (SELECT hub FROM run WHERE id = "row".run)
                   AND again.device_id = "row".device_id AND again.module_id = "row".module_id
                   AND again.effect = 'created')"#
        }
        RowFilter::Disabled => "state = 'done' AND held_by = run",
        RowFilter::Failed => "state IN ('conflict', 'failed', 'skipped')",
        RowFilter::GivenKeys => "desired::jsonb #>> '{auth,sas,given}' = 'true'",
        RowFilter::Remarkable => {
            "state IN ('conflict', 'failed', 'skipped', 'sent') OR differences IS NOT NULL OR deviation IS NOT NULL"
        }
        RowFilter::Settled => "state IN ('done', 'unchanged')",
        RowFilter::ToBeIssued => {
            "state = 'pending' AND desired::jsonb #> '{auth,issued_certificate}' IS NOT NULL"
        }
        RowFilter::Updated => "state = 'done' AND effect = 'updated'",
    }
}

pub(super) fn page(
    client: &mut Client,
    run: RunId,
    filter: RowFilter,
    after: Option<&IdentityId>,
    limit: usize,
) -> Result<Vec<LedgerRow>, Error> {
    let (device, module) = after.map_or(("", ""), key);
    let sql = format!(
        r#"SELECT {COLUMNS} FROM "row"
           WHERE run = $1 AND (device_id, module_id) > ($2, $3) AND ({})
           ORDER BY device_id, module_id LIMIT $4"#,
        condition(filter)
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    client.query(&sql, &[&run.0, &device, &module, &limit])?.iter().map(read_row).collect()
}

pub(super) fn one(
    client: &mut Client,
    run: RunId,
    identity: &IdentityId,
) -> Result<Option<LedgerRow>, Error> {
    let (device, module) = key(identity);
    let sql = format!(r#"SELECT {COLUMNS} FROM "row" WHERE run = $1 AND device_id = $2 AND module_id = $3"#);
    client.query_opt(&sql, &[&run.0, &device, &module])?.as_ref().map(read_row).transpose()
}

/// The records of an identity in runs on a hub, the newest first.
pub(super) fn past(
    client: &mut Client,
    hub: &str,
    identity: &IdentityId,
    before: Option<RunId>,
) -> Result<Vec<PastRow>, Error> {
    let (device, module) = key(identity);
    let sql = format!(
        r#"SELECT {COLUMNS}, (SELECT options FROM run WHERE id = "row".run) AS options FROM "row"
           WHERE run IN (SELECT id FROM run WHERE hub = $1 AND id < $2) AND device_id = $3 AND module_id = $4
           ORDER BY run DESC"#
    );
    let read = |row: &Row| {
        let Json(options): Json<RunOptions> = get(row, 25)?;
        Ok(PastRow { run: RunId(get(row, 24)?), alteration: options.alteration, row: read_row(row)? })
    };
    let before = before.map_or(i64::MAX, |run| run.0);
    client.query(&sql, &[&hub, &before, &device, &module])?.iter().map(read).collect()
}

pub(super) fn count(client: &mut Client, run: RunId, filter: RowFilter) -> Result<u64, Error> {
    let sql = format!(r#"SELECT count(*) FROM "row" WHERE run = $1 AND ({})"#, condition(filter));
    let Number(count) = get(&client.query_one(&sql, &[&run.0])?, 0)?;
    Ok(count)
}

/// Writes only while the lease is valid, and extends it; `None` if it was lost.
const IF_HELD: &str = "WITH held AS (
    UPDATE chunk SET expires = clock_timestamp() + $4 * INTERVAL '1 second'
    WHERE run = $1 AND number = $2 AND fence = $3 AND token = $5 RETURNING 1)";

/// The lease that a write needs, and its new duration.
#[derive(Clone, Copy)]
pub(super) struct Held<'l> {
    pub(super) lease: &'l Lease,
    pub(super) length: Duration,
}

/// Writes within a run, and within a stint if there is one.
pub(super) type At = (RunId, Option<u32>);

pub(super) fn mark_sent(
    client: &mut Client,
    Held { lease, length }: Held<'_>,
    stint: Option<u32>,
    sent: &[Sent],
    now: &str,
) -> Result<Option<()>, Error> {
    let (devices, modules) = keys(sent.iter().map(|sent| &sent.identity));
    let effects: Vec<&str> = sent.iter().map(|sent| sent.effect.as_str()).collect();
    let (identities, twins) = texts(sent.iter().map(|sent| &sent.before));
    let held_by: Vec<Option<i64>> = sent.iter().map(|sent| sent.held_by.map(|run| run.0)).collect();
    let reasons: Vec<Option<&str>> =
        sent.iter().map(|sent| sent.status_reason_before.as_ref().map(StatusReason::as_str)).collect();
    let sql = format!(
        r#"{IF_HELD}, written AS (
               UPDATE "row" SET state = 'sent', effect = new.effect, attempts = attempts + 1,
                   sent = coalesce(sent, $6), stint = $7,
                   identity_etag_before = coalesce(identity_etag_before, new.identity_before),
                   twin_etag_before = coalesce(twin_etag_before, new.twin_before), held_by = new.held_by,
                   status_reason_before = coalesce(status_reason_before, new.reason)
               FROM unnest($8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::bigint[],
                           $14::text[])
                   AS new (device_id, module_id, effect, identity_before, twin_before, held_by, reason)
               WHERE "row".run = $1 AND "row".device_id = new.device_id AND "row".module_id = new.module_id
                 AND EXISTS (SELECT 1 FROM held))
           SELECT 1 FROM held"#
    );
    let held = client.query_opt(
        &sql,
        &[
            &lease.run.0,
            &lease.chunk,
            &lease.fence,
            &length.as_secs_f64(),
            &lease.token.as_bytes(),
            &now,
            &stint.map(i64::from),
            &devices,
            &modules,
            &effects,
            &identities,
            &twins,
            &held_by,
            &reasons,
        ],
    )?;
    Ok(held.map(drop))
}

pub(super) fn record(
    client: &mut Client,
    (run, stint): At,
    held: Option<Held<'_>>,
    ended: &[Ended],
    now: &str,
) -> Result<Option<()>, Error> {
    fn of<'r, T>(ended: &'r [Ended], value: impl Fn(&'r Record) -> T) -> Vec<T> {
        ended.iter().map(|ended| value(&ended.record)).collect()
    }
    let (devices, modules) = keys(ended.iter().map(|ended| &ended.identity));
    let states = of(ended, |record| record.state.as_str());
    let effects = of(ended, |record| record.effect.map(Effect::as_str));
    let presumed = of(ended, |record| record.presumed);
    let statuses = of(ended, |record| record.http_status.map(i32::from));
    let codes = of(ended, |record| record.error_code.as_deref());
    let errors = of(ended, |record| record.error.as_deref());
    let trackings = of(ended, |record| record.tracking_id.as_deref());
    let differences = of(ended, |record| {
        (!record.differences.is_empty()).then(|| json_text(&record.differences)).transpose()
    });
    let differences = differences.into_iter().collect::<Result<Vec<_>, _>>()?;
    let reasons = of(ended, |record| record.reason.map(ReasonCode::as_str));
    let (identities_before, twins_before) = texts(ended.iter().map(|ended| &ended.before));
    let (identities, twins) = texts(ended.iter().map(|ended| &ended.after));
    let held_by = of(ended, |record| record.held_by.map(|run| run.0));
    let if_held = match held {
        Some(_) => IF_HELD,
        // The same parameters, and no lease to hold.
        None => "WITH held AS (SELECT $1::bigint, $2::bigint, $3::bigint, $4::double precision, $5::bytea)",
    };
    let sql = format!(
        r#"{if_held}, written AS (
               UPDATE "row" SET state = new.state, effect = new.effect, presumed = new.presumed,
                   http_status = new.http_status, error_code = new.error_code, error = new.error,
                   tracking_id = new.tracking_id, differences = new.differences, updated = $6, stint = $7,
                   identity_etag_before = CASE new.effect WHEN 'created' THEN NULL
                       ELSE coalesce(identity_etag_before, new.identity_before) END,
                   twin_etag_before = CASE new.effect WHEN 'created' THEN NULL
                       ELSE coalesce(twin_etag_before, new.twin_before) END,
                   identity_etag = new.identity, twin_etag = new.twin, reason = new.reason,
                   held_by = new.held_by
               FROM unnest($8::text[], $9::text[], $10::text[], $11::text[], $12::boolean[], $13::integer[],
                           $14::text[], $15::text[], $16::text[], $17::text[], $18::text[], $19::text[],
                           $20::text[], $21::text[], $22::text[], $23::bigint[])
                   AS new (device_id, module_id, state, effect, presumed, http_status, error_code, error,
                           tracking_id, differences, identity_before, twin_before, identity, twin, reason,
                           held_by)
               WHERE "row".run = $1 AND "row".device_id = new.device_id AND "row".module_id = new.module_id
                 AND EXISTS (SELECT 1 FROM held))
           SELECT 1 FROM held"#
    );
    let (chunk, fence, length) =
        held.map_or((0, 0, 0.0), |held| (held.lease.chunk, held.lease.fence, held.length.as_secs_f64()));
    let token = held.map(|held| held.lease.token.as_bytes());
    let written = client.query_opt(
        &sql,
        &[
            &run.0,
            &chunk,
            &fence,
            &length,
            &token,
            &now,
            &stint.map(i64::from),
            &devices,
            &modules,
            &states,
            &effects,
            &presumed,
            &statuses,
            &codes,
            &errors,
            &trackings,
            &differences,
            &identities_before,
            &twins_before,
            &identities,
            &twins,
            &reasons,
            &held_by,
        ],
    )?;
    Ok(written.map(drop))
}

/// Writes down the version tags that a plan expects.
pub(super) fn expect(client: &mut Client, run: RunId, seen: &[(IdentityId, Etags)]) -> Result<(), Error> {
    let (devices, modules) = keys(seen.iter().map(|(identity, _)| identity));
    let (identities, twins) = texts(seen.iter().map(|(_, etags)| etags));
    client
        .execute(
            r#"UPDATE "row" SET identity_etag_before = new.identity, twin_etag_before = new.twin
               FROM unnest($2::text[], $3::text[], $4::text[], $5::text[])
                   AS new (device_id, module_id, identity, twin)
               WHERE "row".run = $1 AND "row".device_id = new.device_id AND "row".module_id = new.module_id"#,
            &[&run.0, &devices, &modules, &identities, &twins],
        )
        .map(drop)
}

pub(super) fn set_seen(client: &mut Client, run: RunId, seen: &[Seen]) -> Result<(), Error> {
    let (devices, modules) = keys(seen.iter().map(|seen| &seen.identity));
    let (identities, twins) = texts(seen.iter().map(|seen| &seen.etags));
    let deviations = seen.iter().map(|seen| seen.deviation.as_ref().map(json_text).transpose());
    let deviations: Vec<Option<String>> = deviations.collect::<Result<_, _>>()?;
    client
        .execute(
            r#"UPDATE "row" SET identity_etag = new.identity, twin_etag = new.twin, deviation = new.deviation
               FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
                   AS new (device_id, module_id, identity, twin, deviation)
               WHERE "row".run = $1 AND "row".device_id = new.device_id AND "row".module_id = new.module_id"#,
            &[&run.0, &devices, &modules, &identities, &twins, &deviations],
        )
        .map(drop)
}

pub(super) fn replace_wanted(
    client: &mut Client,
    run: RunId,
    issued: &[(&DesiredIdentity, &str)],
) -> Result<(), Error> {
    let (devices, modules) = keys(issued.iter().map(|(wanted, _)| &wanted.identity));
    let stored = issued.iter().map(|(wanted, _)| stored(&wanted.state));
    let (texts, hashes): (Vec<_>, Vec<_>) = stored.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
    let serials: Vec<&str> = issued.iter().map(|(_, serial)| *serial).collect();
    client
        .execute(
            r#"UPDATE "row" SET desired = new.desired, desired_hash = new.hash, serial = new.serial
               FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
                   AS new (device_id, module_id, desired, hash, serial)
               WHERE "row".run = $1 AND "row".device_id = new.device_id AND "row".module_id = new.module_id"#,
            &[&run.0, &devices, &modules, &texts, &hashes, &serials],
        )
        .map(drop)
}

/// Etags as two columns: those of identities and of twins.
fn texts<'e>(etags: impl Iterator<Item = &'e Etags>) -> (Vec<Option<&'e str>>, Vec<Option<&'e str>>) {
    etags
        .map(|etags| (etags.identity.as_ref().map(Etag::as_str), etags.twin.as_ref().map(Etag::as_str)))
        .unzip()
}

/// The primary keys of identities, as two columns.
pub(super) fn keys<'i>(identities: impl Iterator<Item = &'i IdentityId>) -> (Vec<&'i str>, Vec<&'i str>) {
    identities.map(key).unzip()
}

/// Unfinished rows.
pub(super) const UNDONE: &str = "state IN ('pending', 'claimed', 'sent')";

pub(super) const COLUMNS: &str = "device_id, NULLIF(module_id, '') AS module, line, desired, state, effect, presumed, http_status, \
                                  error_code, error, tracking_id, differences, identity_etag, twin_etag, \
                                  identity_etag_before, twin_etag_before, deviation, serial, stint, sent, updated, \
                                  reason, held_by, status_reason_before, run";

pub(super) fn read_row(row: &Row) -> Result<LedgerRow, Error> {
    let Parsed(device): Parsed<DeviceId> = get(row, 0)?;
    let module: Option<Parsed<ModuleId>> = get(row, 1)?;
    let Number(line) = get(row, 2)?;
    let Json(state): Json<DesiredState> = get(row, 3)?;
    let Parsed(row_state): Parsed<RowState> = get(row, 4)?;
    let effect: Option<Parsed<Effect>> = get(row, 5)?;
    let status: Option<Number<u16>> = get(row, 7)?;
    let stint: Option<Number<u32>> = get(row, 18)?;
    let reason: Option<Parsed<ReasonCode>> = get(row, 21)?;
    let differences = |column: usize| {
        let differences: Option<Json<Vec<Difference>>> = get(row, column)?;
        Ok::<_, Error>(differences.map(|Json(differences)| differences))
    };
    let etags = |identity: usize, twin: usize| {
        let etag = |column| get::<Option<String>>(row, column).map(|text| text.map(Etag::from));
        Ok::<_, Error>(Etags { identity: etag(identity)?, twin: etag(twin)? })
    };
    Ok(LedgerRow {
        line,
        wanted: DesiredIdentity { identity: IdentityId::new(device, module.map(|Parsed(id)| id)), state },
        record: Record {
            state: row_state,
            effect: effect.map(|Parsed(effect)| effect),
            presumed: get(row, 6)?,
            held_by: get::<Option<i64>>(row, 22)?.map(RunId),
            http_status: status.map(|Number(status)| status),
            error_code: get(row, 8)?,
            error: get(row, 9)?,
            tracking_id: get(row, 10)?,
            differences: differences(11)?.unwrap_or_default(),
            reason: reason.map(|Parsed(reason)| reason),
        },
        etags: etags(12, 13)?,
        before: etags(14, 15)?,
        deviation: differences(16)?,
        serial: get(row, 17)?,
        stint: stint.map(|Number(stint)| stint),
        sent: get(row, 19)?,
        ended: get(row, 20)?,
        status_reason_before: get::<Option<Parsed<_>>>(row, 23)?.map(|Parsed(reason)| reason),
    })
}
