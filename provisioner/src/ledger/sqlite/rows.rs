//! Rows in SQLite.

use hub_types::identity::StatusReason;
use hub_types::{Etag, IdentityId};
use rusqlite::{Connection, OptionalExtension, Row, Statement, TransactionBehavior, params};

use super::super::hold::PastRow;
use super::super::row::{key, stored};
use super::super::stored::json_text;
use super::super::{Effect, Ended, Lease, LedgerRow, Record, RowFilter, RunId, RunOptions, Seen, Sent};
use super::chunks;
use super::error::{json, optional, parsed, read, unknown, unstorable};
use crate::model::compare::Etags;
use crate::model::failure::ReasonCode;
use crate::model::spec::DesiredIdentity;

pub(super) fn condition(filter: RowFilter) -> &'static str {
    match filter {
        RowFilter::All => "1",
        RowFilter::Created => {
            // What a later run has created again is that run's.
            "state = 'done' AND effect = 'created' AND NOT EXISTS (
                 SELECT 1 FROM run AS later JOIN row AS again ON again.run = later.id
                 WHERE later.id > row.run AND later.hub = (SELECT hub FROM run WHERE id = row.run)
                   AND again.device_id = row.device_id AND again.module_id = row.module_id
                   AND again.effect = 'created')"
        }
        RowFilter::Disabled => "state = 'done' AND held_by = run",
        RowFilter::Failed => "state IN ('conflict', 'failed', 'skipped')",
        RowFilter::GivenKeys => "json_extract(desired, '$.auth.sas.given') = 1",
        RowFilter::Remarkable => {
            "state IN ('conflict', 'failed', 'skipped', 'sent') OR differences IS NOT NULL OR deviation IS NOT NULL"
        }
        RowFilter::Settled => "state IN ('done', 'unchanged')",
        RowFilter::ToBeIssued => {
            "state = 'pending' AND json_extract(desired, '$.auth.issued_certificate') IS NOT NULL"
        }
        RowFilter::Updated => "state = 'done' AND effect = 'updated'",
    }
}

pub(super) fn page(
    connection: &Connection,
    run: RunId,
    filter: RowFilter,
    after: Option<&IdentityId>,
    limit: usize,
) -> rusqlite::Result<Vec<LedgerRow>> {
    let (device, module) = after.map_or(("", ""), key);
    let mut rows = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM row
         WHERE run = ?1 AND (device_id, module_id) > (?2, ?3) AND ({})
         ORDER BY device_id, module_id LIMIT ?4",
        condition(filter)
    ))?;
    rows.query_map(params![run.0, device, module, limit], read_row)?.collect()
}

pub(super) fn one(
    connection: &Connection,
    run: RunId,
    identity: &IdentityId,
) -> rusqlite::Result<Option<LedgerRow>> {
    let (device, module) = key(identity);
    let sql = format!("SELECT {COLUMNS} FROM row WHERE run = ?1 AND device_id = ?2 AND module_id = ?3");
    let mut found = connection.prepare_cached(&sql)?;
    found.query_row(params![run.0, device, module], read_row).optional()
}

/// The records of an identity in runs on a hub, the newest first.
pub(super) fn past(
    connection: &Connection,
    hub: &str,
    identity: &IdentityId,
    before: Option<RunId>,
) -> rusqlite::Result<Vec<PastRow>> {
    let (device, module) = key(identity);
    let sql = format!(
        "SELECT {COLUMNS}, (SELECT options FROM run WHERE id = row.run) AS options FROM row
         WHERE run IN (SELECT id FROM run WHERE hub = ?1 AND id < ?2) AND device_id = ?3 AND module_id = ?4
         ORDER BY run DESC"
    );
    let before = before.map_or(i64::MAX, |run| run.0);
    let mut rows = connection.prepare_cached(&sql)?;
    let read = |row: &Row<'_>| {
        let options: RunOptions = read(row, |row| json(row, 25))?;
        Ok(PastRow { run: RunId(row.get(24)?), alteration: options.alteration, row: read_row(row)? })
    };
    rows.query_map(params![hub, before, device, module], read)?.collect()
}

pub(super) fn count(connection: &Connection, run: RunId, filter: RowFilter) -> rusqlite::Result<u64> {
    let sql = format!("SELECT count(*) FROM row WHERE run = ?1 AND ({})", condition(filter));
    connection.prepare_cached(&sql)?.query_row([run.0], |row| row.get(0))
}

/// Writes within a run, and within a stint if there is one.
pub(super) type At = (RunId, Option<u32>);

/// Writes nothing and returns `None` if the lease is lost.
pub(super) fn mark_sent(
    connection: &mut Connection,
    lease: &Lease,
    stint: Option<u32>,
    sent: &[Sent],
    now: &str,
) -> rusqlite::Result<Option<()>> {
    let run = lease.run;
    let sql =
        "UPDATE row SET state = 'sent', effect = ?4, attempts = attempts + 1, sent = coalesce(sent, ?5),
                   stint = ?6, identity_etag_before = coalesce(identity_etag_before, ?7),
                   twin_etag_before = coalesce(twin_etag_before, ?8), held_by = ?9,
                   status_reason_before = coalesce(status_reason_before, ?10)
               WHERE run = ?1 AND device_id = ?2 AND module_id = ?3";
    if_held(connection, Some(lease), |transaction| {
        write(transaction, sql, sent, |sent, statement| {
            let (device, module) = key(&sent.identity);
            let (identity, twin) = texts(&sent.before);
            statement.execute(params![
                run.0,
                device,
                module,
                sent.effect.as_str(),
                now,
                stint,
                identity,
                twin,
                sent.held_by.map(|run| run.0),
                sent.status_reason_before.as_ref().map(StatusReason::as_str)
            ])
        })
    })
}

/// Writes nothing and returns `None` if there is a lease and it is lost.
pub(super) fn record(
    connection: &mut Connection,
    at: At,
    lease: Option<&Lease>,
    ended: &[Ended],
    now: &str,
) -> rusqlite::Result<Option<()>> {
    if_held(connection, lease, |transaction| record_within(transaction, at, ended, now))
}

/// The same in a transaction that is under way.
pub(super) fn record_within(
    connection: &Connection,
    (run, stint): At,
    ended: &[Ended],
    now: &str,
) -> rusqlite::Result<()> {
    write(
        connection,
        "UPDATE row SET state = ?4, effect = ?5, presumed = ?6, http_status = ?7, error_code = ?8, error = ?9,
             tracking_id = ?10, differences = ?11, updated = ?12, stint = ?13,
             identity_etag_before = CASE ?5 WHEN 'created' THEN NULL ELSE coalesce(identity_etag_before, ?14) END,
             twin_etag_before = CASE ?5 WHEN 'created' THEN NULL ELSE coalesce(twin_etag_before, ?15) END,
             identity_etag = ?16, twin_etag = ?17, reason = ?18, held_by = ?19
         WHERE run = ?1 AND device_id = ?2 AND module_id = ?3",
        ended,
        |Ended { identity, record, before, after }, statement| {
            let (device, module) = key(identity);
            let differences = (!record.differences.is_empty()).then(|| json_text(&record.differences));
            let differences = differences.transpose().map_err(unstorable)?;
            let ((identity_before, twin_before), (identity, twin)) = (texts(before), texts(after));
            statement.execute(params![
                run.0,
                device,
                module,
                record.state.as_str(),
                record.effect.map(Effect::as_str),
                record.presumed,
                record.http_status,
                record.error_code,
                record.error,
                record.tracking_id,
                differences,
                now,
                stint,
                identity_before,
                twin_before,
                identity,
                twin,
                record.reason.map(ReasonCode::as_str),
                record.held_by.map(|run| run.0)
            ])
        },
    )
}

/// Stores, within an open transaction, the etags that a plan expects.
pub(super) fn expect(
    connection: &Connection,
    run: RunId,
    seen: &[(IdentityId, Etags)],
) -> rusqlite::Result<()> {
    let sql = "UPDATE row SET identity_etag_before = ?4, twin_etag_before = ?5
               WHERE run = ?1 AND device_id = ?2 AND module_id = ?3";
    write(connection, sql, seen, |(identity, etags), statement| {
        let (device, module) = key(identity);
        let (identity, twin) = texts(etags);
        statement.execute(params![run.0, device, module, identity, twin])
    })
}

pub(super) fn set_seen(connection: &mut Connection, run: RunId, seen: &[Seen]) -> rusqlite::Result<()> {
    let sql = "UPDATE row SET identity_etag = ?4, twin_etag = ?5, deviation = ?6
               WHERE run = ?1 AND device_id = ?2 AND module_id = ?3";
    within_transaction(connection, |transaction| {
        write(transaction, sql, seen, |Seen { identity, etags, deviation }, statement| {
            let (device, module) = key(identity);
            let (identity, twin) = texts(etags);
            let deviation = deviation.as_ref().map(json_text).transpose().map_err(unstorable)?;
            statement.execute(params![run.0, device, module, identity, twin, deviation])
        })
    })
}

pub(super) fn replace_wanted(
    connection: &mut Connection,
    run: RunId,
    issued: &[(&DesiredIdentity, &str)],
) -> rusqlite::Result<()> {
    let sql = "UPDATE row SET desired = ?4, desired_hash = ?5, serial = ?6
               WHERE run = ?1 AND device_id = ?2 AND module_id = ?3";
    within_transaction(connection, |transaction| {
        write(transaction, sql, issued, |(wanted, serial), statement| {
            let (device, module) = key(&wanted.identity);
            let (text, hash) = stored(&wanted.state).map_err(unstorable)?;
            statement.execute(params![run.0, device, module, text, hash, serial])
        })
    })
}

fn texts(etags: &Etags) -> (Option<&str>, Option<&str>) {
    (etags.identity.as_ref().map(Etag::as_str), etags.twin.as_ref().map(Etag::as_str))
}

/// Runs one statement for many rows.
fn write<T>(
    connection: &Connection,
    sql: &str,
    rows: &[T],
    write: impl Fn(&T, &mut Statement<'_>) -> rusqlite::Result<usize>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(sql)?;
    rows.iter().try_for_each(|row| write(row, &mut statement).map(drop))
}

/// Runs all writes in one transaction.
fn within_transaction(
    connection: &mut Connection,
    work: impl FnOnce(&Connection) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    if_held(connection, None, work).map(drop)
}

/// The same, but writes nothing and returns `None` if there is a lease and it is lost.
fn if_held(
    connection: &mut Connection,
    lease: Option<&Lease>,
    work: impl FnOnce(&Connection) -> rusqlite::Result<()>,
) -> rusqlite::Result<Option<()>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if let Some(lease) = lease
        && !chunks::is_held(&transaction, lease)?
    {
        return Ok(None);
    }
    work(&transaction)?;
    transaction.commit().map(Some)
}

/// Unfinished rows.
pub(super) const UNDONE: &str = "state IN ('pending', 'claimed', 'sent')";

pub(super) const COLUMNS: &str = "device_id, module_id, line, desired, state, effect, presumed, http_status, error_code, error, tracking_id, \
                       differences, identity_etag, twin_etag, identity_etag_before, twin_etag_before, deviation, \
                       serial, stint, sent, updated, reason, held_by, status_reason_before, run";

pub(super) fn read_row(row: &Row<'_>) -> rusqlite::Result<LedgerRow> {
    read(row, columns)
}

fn columns(row: &Row<'_>) -> rusqlite::Result<LedgerRow> {
    let (device, module): (String, String) = (row.get(0)?, row.get(1)?);
    let identity = IdentityId::parse(&device, Some(&module)).map_err(|error| unknown(0, error))?;
    let etags = |identity, twin| {
        let etag = |column| row.get::<_, Option<String>>(column).map(|text| text.map(Etag::from));
        Ok::<_, rusqlite::Error>(Etags { identity: etag(identity)?, twin: etag(twin)? })
    };
    Ok(LedgerRow {
        line: row.get(2)?,
        wanted: DesiredIdentity { identity, state: json(row, 3)? },
        record: Record {
            state: parsed(row, 4)?,
            effect: optional(row, 5, parsed)?,
            presumed: row.get(6)?,
            held_by: row.get::<_, Option<i64>>(22)?.map(RunId),
            http_status: row.get(7)?,
            error_code: row.get(8)?,
            error: row.get(9)?,
            tracking_id: row.get(10)?,
            differences: optional(row, 11, json)?.unwrap_or_default(),
            reason: optional(row, 21, parsed)?,
        },
        etags: etags(12, 13)?,
        before: etags(14, 15)?,
        deviation: optional(row, 16, json)?,
        serial: row.get(17)?,
        stint: row.get(18)?,
        sent: row.get(19)?,
        ended: row.get(20)?,
        status_reason_before: optional(row, 23, parsed)?,
    })
}
