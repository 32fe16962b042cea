//! Rows in SQLite.

use hub_types::{Etag, IdentityId};
use rusqlite::{Connection, OptionalExtension, Row, Statement, params};

use super::super::row::{json_text, key, stored};
use super::super::{Effect, Ended, LedgerRow, Record, RowFilter, RunId, Seen, Sent};
use crate::desired::{DesiredIdentity, DesiredState};
use crate::reason::{ReasonCode, UnknownReason};
use crate::standing::Etags;

fn condition(filter: RowFilter) -> &'static str {
    match filter {
        RowFilter::All => "1",
        RowFilter::Failed => "state IN ('conflict', 'failed')",
        RowFilter::GivenKeys => "json_extract(desired, '$.auth.sas.given') = 1",
        RowFilter::Remarkable => {
            "state IN ('conflict', 'failed', 'sent') OR differences IS NOT NULL OR deviation IS NOT NULL"
        }
        RowFilter::Settled => "state IN ('done', 'unchanged')",
        RowFilter::ToBeIssued => {
            "state = 'pending' AND json_extract(desired, '$.auth.issued_certificate') IS NOT NULL"
        }
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

pub(super) fn count(connection: &Connection, run: RunId, filter: RowFilter) -> rusqlite::Result<u64> {
    let sql = format!("SELECT count(*) FROM row WHERE run = ?1 AND ({})", condition(filter));
    connection.prepare_cached(&sql)?.query_row([run.0], |row| row.get(0))
}

/// Writes within a run, down to a stint where there is one.
pub(super) type At = (RunId, Option<u32>);

pub(super) fn mark_sent(
    connection: &mut Connection,
    (run, stint): At,
    sent: &[Sent],
    now: &str,
) -> rusqlite::Result<()> {
    let sql =
        "UPDATE row SET state = 'sent', effect = ?4, attempts = attempts + 1, sent = coalesce(sent, ?5),
                   stint = ?6, identity_etag_before = coalesce(identity_etag_before, ?7),
                   twin_etag_before = coalesce(twin_etag_before, ?8)
               WHERE run = ?1 AND device_id = ?2 AND module_id = ?3";
    within_transaction(connection, |transaction| {
        write(transaction, sql, sent, |Sent { identity, effect, before }, statement| {
            let (device, module) = key(identity);
            let (identity, twin) = texts(before);
            statement.execute(params![run.0, device, module, effect.as_str(), now, stint, identity, twin])
        })
    })
}

pub(super) fn record(
    connection: &mut Connection,
    at: At,
    ended: &[Ended],
    now: &str,
) -> rusqlite::Result<()> {
    within_transaction(connection, |transaction| record_within(transaction, at, ended, now))
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
             identity_etag = ?16, twin_etag = ?17, reason = ?18
         WHERE run = ?1 AND device_id = ?2 AND module_id = ?3",
        ended,
        |Ended { identity, record, before, after }, statement| {
            let (device, module) = key(identity);
            let differences = (!record.differences.is_empty()).then(|| json_text(&record.differences));
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
                record.reason.map(ReasonCode::as_str)
            ])
        },
    )
}

/// Writes down, in a transaction that is under way, the version tags that a plan expects.
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
            let deviation = deviation.as_ref().map(json_text);
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
            let (text, hash) = stored(&wanted.state);
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

/// Does all of it or nothing.
fn within_transaction(
    connection: &mut Connection,
    work: impl FnOnce(&Connection) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    work(&transaction)?;
    transaction.commit()
}

/// Rows that have not come to an end.
pub(super) const UNDONE: &str = "state IN ('pending', 'claimed', 'sent')";

pub(super) const COLUMNS: &str = "device_id, module_id, line, desired, state, effect, presumed, http_status, error_code, error, tracking_id, \
                       differences, identity_etag, twin_etag, identity_etag_before, twin_etag_before, deviation, \
                       serial, stint, sent, updated, reason";

pub(super) fn read_row(row: &Row<'_>) -> rusqlite::Result<LedgerRow> {
    let (device, module): (String, String) = (row.get(0)?, row.get(1)?);
    let identity = IdentityId::parse(&device, Some(&module)).map_err(|error| corrupt(0, error))?;
    let state: DesiredState =
        serde_json::from_str(&row.get::<_, String>(3)?).map_err(|error| corrupt(3, error))?;
    let differences = |column| {
        let text: Option<String> = row.get(column)?;
        text.map(|text| serde_json::from_str(&text)).transpose().map_err(|error| corrupt(column, error))
    };
    let etags = |identity, twin| {
        let etag = |column| row.get::<_, Option<String>>(column).map(|text| text.map(Etag::from));
        Ok::<_, rusqlite::Error>(Etags { identity: etag(identity)?, twin: etag(twin)? })
    };
    let effect = row.get::<_, Option<String>>(5)?.as_deref().map(str::parse).transpose();
    Ok(LedgerRow {
        line: row.get(2)?,
        wanted: DesiredIdentity { identity, state },
        record: Record {
            state: row.get::<_, String>(4)?.parse().map_err(|error| corrupt(4, error))?,
            effect: effect.map_err(|error| corrupt(5, error))?,
            presumed: row.get(6)?,
            http_status: row.get(7)?,
            error_code: row.get(8)?,
            error: row.get(9)?,
            tracking_id: row.get(10)?,
            differences: differences(11)?.unwrap_or_default(),
            reason: reason(row, 21)?,
        },
        etags: etags(12, 13)?,
        before: etags(14, 15)?,
        deviation: differences(16)?,
        serial: row.get(17)?,
        stint: row.get(18)?,
        sent: row.get(19)?,
        ended: row.get(20)?,
    })
}

fn reason(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<ReasonCode>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| text.parse()).transpose().map_err(|error: UnknownReason| corrupt(column, error))
}

pub(super) fn corrupt(
    column: usize,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}
