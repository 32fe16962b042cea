//! Rows in SQLite.

use hub_types::{Etag, IdentityId};
use rusqlite::{Connection, Row, Statement, params};

use super::super::row::{json_text, key, stored};
use super::super::{Effect, LedgerRow, Record, RowFilter, RowState, RunId};
use crate::desired::{DesiredIdentity, DesiredState};
use crate::standing::Etags;

fn condition(filter: RowFilter) -> &'static str {
    match filter {
        RowFilter::All => "1",
        RowFilter::Failed => "state IN ('conflict', 'failed')",
        RowFilter::GivenKeys => "json_extract(desired, '$.auth.sas.given') = 1",
        RowFilter::Remarkable => "state IN ('conflict', 'failed', 'sent') OR differences IS NOT NULL",
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

pub(super) fn count(connection: &Connection, run: RunId, filter: RowFilter) -> rusqlite::Result<u64> {
    let sql = format!("SELECT count(*) FROM row WHERE run = ?1 AND ({})", condition(filter));
    connection.prepare_cached(&sql)?.query_row([run.0], |row| row.get(0))
}

pub(super) fn mark_sent(
    connection: &mut Connection,
    run: RunId,
    sent: &[(IdentityId, Effect)],
) -> rusqlite::Result<()> {
    let sql = "UPDATE row SET state = 'sent', effect = ?4, attempts = attempts + 1
               WHERE run = ?1 AND device_id = ?2 AND module_id = ?3";
    within_transaction(connection, |transaction| {
        write(transaction, sql, sent, |(identity, effect), statement| {
            let (device, module) = key(identity);
            statement.execute(params![run.0, device, module, effect.as_str()])
        })
    })
}

pub(super) fn record(
    connection: &mut Connection,
    run: RunId,
    records: &[(IdentityId, Record)],
    now: &str,
) -> rusqlite::Result<()> {
    within_transaction(connection, |transaction| record_within(transaction, run, records, now))
}

/// The same in a transaction that is under way.
pub(super) fn record_within(
    connection: &Connection,
    run: RunId,
    records: &[(IdentityId, Record)],
    now: &str,
) -> rusqlite::Result<()> {
    write(
        connection,
        "UPDATE row SET state = ?4, effect = ?5, presumed = ?6, http_status = ?7, error_code = ?8, error = ?9,
             tracking_id = ?10, differences = ?11, updated = ?12
         WHERE run = ?1 AND device_id = ?2 AND module_id = ?3",
        records,
        |(identity, record), statement| {
            let (device, module) = key(identity);
            let differences = (!record.differences.is_empty()).then(|| json_text(&record.differences));
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
                now
            ])
        },
    )
}

pub(super) fn set_etags(
    connection: &mut Connection,
    run: RunId,
    seen: &[(IdentityId, Etags)],
) -> rusqlite::Result<()> {
    within_transaction(connection, |transaction| set_etags_within(transaction, run, seen))
}

/// The same in a transaction that is under way.
pub(super) fn set_etags_within(
    connection: &Connection,
    run: RunId,
    seen: &[(IdentityId, Etags)],
) -> rusqlite::Result<()> {
    write(
        connection,
        "UPDATE row SET identity_etag = ?4, twin_etag = ?5 WHERE run = ?1 AND device_id = ?2 AND module_id = ?3",
        seen,
        |(identity, etags), statement| {
            let (device, module) = key(identity);
            let (identity, twin) = (etags.identity.as_ref(), etags.twin.as_ref());
            statement.execute(params![
                run.0,
                device,
                module,
                identity.map(Etag::as_str),
                twin.map(Etag::as_str)
            ])
        },
    )
}

pub(super) fn replace_wanted(
    connection: &mut Connection,
    run: RunId,
    wanted: &[&DesiredIdentity],
) -> rusqlite::Result<()> {
    let sql =
        "UPDATE row SET desired = ?4, desired_hash = ?5 WHERE run = ?1 AND device_id = ?2 AND module_id = ?3";
    within_transaction(connection, |transaction| {
        write(transaction, sql, wanted, |wanted, statement| {
            let (device, module) = key(&wanted.identity);
            let (text, hash) = stored(&wanted.state);
            statement.execute(params![run.0, device, module, text, hash])
        })
    })
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
                       differences, identity_etag, twin_etag";

pub(super) fn read_row(row: &Row<'_>) -> rusqlite::Result<LedgerRow> {
    let (device, module): (String, String) = (row.get(0)?, row.get(1)?);
    let identity = IdentityId::parse(&device, Some(&module)).map_err(|error| corrupt(0, error))?;
    let state: DesiredState =
        serde_json::from_str(&row.get::<_, String>(3)?).map_err(|error| corrupt(3, error))?;
    let differences: Option<String> = row.get(11)?;
    let differences = differences.map(|text| serde_json::from_str(&text)).transpose();
    Ok(LedgerRow {
        line: row.get(2)?,
        wanted: DesiredIdentity { identity, state },
        record: Record {
            state: RowState::parse(&row.get::<_, String>(4)?),
            effect: row.get::<_, Option<String>>(5)?.as_deref().map(Effect::parse),
            presumed: row.get(6)?,
            http_status: row.get(7)?,
            error_code: row.get(8)?,
            error: row.get(9)?,
            tracking_id: row.get(10)?,
            differences: differences.map_err(|error| corrupt(11, error))?.unwrap_or_default(),
        },
        etags: Etags {
            identity: row.get::<_, Option<String>>(12)?.map(Etag::from),
            twin: row.get::<_, Option<String>>(13)?.map(Etag::from),
        },
    })
}

fn corrupt(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}
