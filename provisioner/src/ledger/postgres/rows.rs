//! Rows in PostgreSQL: one statement for many of them.

use std::str::FromStr;
use std::time::Duration;

use hub_types::{DeviceId, Etag, IdentityId, ModuleId};
use postgres::types::{FromSql, Type, accepts};
use postgres::{Client, Error, Row};
use serde::Deserialize;

use super::super::row::{json_text, key, stored};
use super::super::{Effect, Lease, LedgerRow, Record, RowFilter, RowState, RunId};
use crate::desired::{DesiredIdentity, DesiredState};
use crate::standing::{Difference, Etags};

fn condition(filter: RowFilter) -> &'static str {
    match filter {
        RowFilter::All => "TRUE",
        RowFilter::Failed => "state IN ('conflict', 'failed')",
        RowFilter::GivenKeys => "desired::jsonb #>> '{auth,sas,given}' = 'true'",
        RowFilter::Remarkable => "state IN ('conflict', 'failed', 'sent') OR differences IS NOT NULL",
        RowFilter::Settled => "state IN ('done', 'unchanged')",
        RowFilter::ToBeIssued => {
            "state = 'pending' AND desired::jsonb #> '{auth,issued_certificate}' IS NOT NULL"
        }
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

pub(super) fn count(client: &mut Client, run: RunId, filter: RowFilter) -> Result<u64, Error> {
    let sql = format!(r#"SELECT count(*) FROM "row" WHERE run = $1 AND ({})"#, condition(filter));
    let count: i64 = client.query_one(&sql, &[&run.0])?.try_get(0)?;
    Ok(u64::try_from(count).unwrap_or_default())
}

/// Writes only while the lease holds, and makes it last as long again; nothing where it was lost.
const HELD: &str = "WITH held AS (
    UPDATE chunk SET expires = clock_timestamp() + $4 * INTERVAL '1 second'
    WHERE run = $1 AND number = $2 AND fence = $3 RETURNING 1)";

pub(super) fn mark_sent(
    client: &mut Client,
    lease: &Lease,
    length: Duration,
    sent: &[(IdentityId, Effect)],
) -> Result<Option<()>, Error> {
    let (devices, modules) = keys(sent.iter().map(|(identity, _)| identity));
    let effects: Vec<&str> = sent.iter().map(|(_, effect)| effect.as_str()).collect();
    let sql = format!(
        r#"{HELD}, written AS (
               UPDATE "row" SET state = 'sent', effect = new.effect, attempts = attempts + 1
               FROM unnest($5::text[], $6::text[], $7::text[]) AS new (device_id, module_id, effect)
               WHERE "row".run = $1 AND "row".device_id = new.device_id AND "row".module_id = new.module_id
                 AND EXISTS (SELECT 1 FROM held))
           SELECT 1 FROM held"#
    );
    let statement = client.prepare(&sql)?;
    let held = client.query_opt(
        &statement,
        &[&lease.run.0, &lease.chunk, &lease.fence, &length.as_secs_f64(), &devices, &modules, &effects],
    )?;
    Ok(held.map(drop))
}

pub(super) fn record(
    client: &mut Client,
    run: RunId,
    lease: Option<(&Lease, Duration)>,
    records: &[(IdentityId, Record)],
    now: &str,
) -> Result<Option<()>, Error> {
    fn of<'r, T>(records: &'r [(IdentityId, Record)], value: impl Fn(&'r Record) -> T) -> Vec<T> {
        records.iter().map(|(_, record)| value(record)).collect()
    }
    let (devices, modules) = keys(records.iter().map(|(identity, _)| identity));
    let states = of(records, |record| record.state.as_str());
    let effects = of(records, |record| record.effect.map(Effect::as_str));
    let presumed = of(records, |record| record.presumed);
    let statuses = of(records, |record| record.http_status.map(i32::from));
    let codes = of(records, |record| record.error_code.as_deref());
    let errors = of(records, |record| record.error.as_deref());
    let trackings = of(records, |record| record.tracking_id.as_deref());
    let differences =
        of(records, |record| (!record.differences.is_empty()).then(|| json_text(&record.differences)));
    let held = match lease {
        Some(_) => HELD,
        // The same parameters, and no lease to hold.
        None => "WITH held AS (SELECT $1::bigint, $2::bigint, $3::bigint, $4::double precision)",
    };
    let sql = format!(
        r#"{held}, written AS (
               UPDATE "row" SET state = new.state, effect = new.effect, presumed = new.presumed,
                   http_status = new.http_status, error_code = new.error_code, error = new.error,
                   tracking_id = new.tracking_id, differences = new.differences, updated = $5
               FROM unnest($6::text[], $7::text[], $8::text[], $9::text[], $10::boolean[], $11::integer[],
                           $12::text[], $13::text[], $14::text[], $15::text[])
                   AS new (device_id, module_id, state, effect, presumed, http_status, error_code, error,
                           tracking_id, differences)
               WHERE "row".run = $1 AND "row".device_id = new.device_id AND "row".module_id = new.module_id
                 AND EXISTS (SELECT 1 FROM held))
           SELECT 1 FROM held"#
    );
    let (chunk, fence, length) =
        lease.map_or((0, 0, 0.0), |(lease, length)| (lease.chunk, lease.fence, length.as_secs_f64()));
    let written = client.query_opt(
        &sql,
        &[
            &run.0,
            &chunk,
            &fence,
            &length,
            &now,
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
        ],
    )?;
    Ok(written.map(drop))
}

pub(super) fn set_etags(client: &mut Client, run: RunId, seen: &[(IdentityId, Etags)]) -> Result<(), Error> {
    let (devices, modules) = keys(seen.iter().map(|(identity, _)| identity));
    let identities: Vec<_> =
        seen.iter().map(|(_, etags)| etags.identity.as_ref().map(Etag::as_str)).collect();
    let twins: Vec<_> = seen.iter().map(|(_, etags)| etags.twin.as_ref().map(Etag::as_str)).collect();
    client
        .execute(
            r#"UPDATE "row" SET identity_etag = new.identity, twin_etag = new.twin
               FROM unnest($2::text[], $3::text[], $4::text[], $5::text[])
                   AS new (device_id, module_id, identity, twin)
               WHERE "row".run = $1 AND "row".device_id = new.device_id AND "row".module_id = new.module_id"#,
            &[&run.0, &devices, &modules, &identities, &twins],
        )
        .map(drop)
}

pub(super) fn replace_wanted(
    client: &mut Client,
    run: RunId,
    wanted: &[&DesiredIdentity],
) -> Result<(), Error> {
    let (devices, modules) = keys(wanted.iter().map(|wanted| &wanted.identity));
    let (texts, hashes): (Vec<_>, Vec<_>) = wanted.iter().map(|wanted| stored(&wanted.state)).unzip();
    client
        .execute(
            r#"UPDATE "row" SET desired = new.desired, desired_hash = new.hash
               FROM unnest($2::text[], $3::text[], $4::text[], $5::text[]) AS new (device_id, module_id, desired, hash)
               WHERE "row".run = $1 AND "row".device_id = new.device_id AND "row".module_id = new.module_id"#,
            &[&run.0, &devices, &modules, &texts, &hashes],
        )
        .map(drop)
}

/// The primary keys of identities, as two columns.
pub(super) fn keys<'i>(identities: impl Iterator<Item = &'i IdentityId>) -> (Vec<&'i str>, Vec<&'i str>) {
    identities.map(key).unzip()
}

/// Rows that have not come to an end.
pub(super) const UNDONE: &str = "state IN ('pending', 'claimed', 'sent')";

pub(super) const COLUMNS: &str = "device_id, NULLIF(module_id, ''), line, desired, state, effect, presumed, http_status, \
                                  error_code, error, tracking_id, differences, identity_etag, twin_etag";

pub(super) fn read_row(row: &Row) -> Result<LedgerRow, Error> {
    let Parsed(device): Parsed<DeviceId> = row.try_get(0)?;
    let module: Option<Parsed<ModuleId>> = row.try_get(1)?;
    let Json(state): Json<DesiredState> = row.try_get(3)?;
    let differences: Option<Json<Vec<Difference>>> = row.try_get(11)?;
    let status: Option<i32> = row.try_get(7)?;
    Ok(LedgerRow {
        line: u64::try_from(row.try_get::<_, i64>(2)?).unwrap_or_default(),
        wanted: DesiredIdentity { identity: IdentityId::new(device, module.map(|Parsed(id)| id)), state },
        record: Record {
            state: RowState::parse(row.try_get(4)?),
            effect: row.try_get::<_, Option<&str>>(5)?.map(Effect::parse),
            presumed: row.try_get(6)?,
            http_status: status.and_then(|status| u16::try_from(status).ok()),
            error_code: row.try_get(8)?,
            error: row.try_get(9)?,
            tracking_id: row.try_get(10)?,
            differences: differences.map(|Json(differences)| differences).unwrap_or_default(),
        },
        etags: Etags {
            identity: row.try_get::<_, Option<String>>(12)?.map(Etag::from),
            twin: row.try_get::<_, Option<String>>(13)?.map(Etag::from),
        },
    })
}

/// A text column that holds a `T`.
struct Parsed<T>(T);

impl<'a, T: FromStr<Err: std::error::Error + Send + Sync + 'static>> FromSql<'a> for Parsed<T> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(std::str::from_utf8(raw)?.parse()?))
    }

    accepts!(TEXT);
}

/// A text column that holds a `T` as JSON.
pub(super) struct Json<T>(pub(super) T);

impl<'a, T: Deserialize<'a>> FromSql<'a> for Json<T> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(serde_json::from_slice(raw)?))
    }

    accepts!(TEXT);
}
