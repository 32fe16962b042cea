//! Rows in SQLite.

use std::iter::once;

use hub_types::IdentityId;
use rusqlite::{
    Connection, OptionalExtension, Row, Statement, TransactionBehavior, params, params_from_iter,
};

use super::super::column::{Cell, ResultRow, Value, assignments, names};
use super::super::past_row::PastRow;
use super::super::row::{Change, Changed, ROW, RUN, key};
use super::super::table::Dialect::Sqlite;
use super::super::{Lease, LedgerRow, RowFilter, RunOptions};
use super::chunks;
use super::error::unstorable;
use crate::model::run_id::RunId;

pub(super) fn page(
    connection: &Connection,
    run: RunId,
    filter: RowFilter,
    after: Option<&IdentityId>,
    limit: usize,
) -> rusqlite::Result<Vec<LedgerRow>> {
    let (device, module) = after.map_or(("", ""), key);
    let mut rows = connection.prepare_cached(&format!(
        "SELECT {} FROM row
         WHERE run = ?1 AND (device_id, module_id) > (?2, ?3) AND ({})
         ORDER BY device_id, module_id LIMIT ?4",
        ROW.names(),
        filter.condition(Sqlite)
    ))?;
    rows.query_map(params![run.0, device, module, limit], |row| LedgerRow::read(row))?.collect()
}

pub(super) fn one(
    connection: &Connection,
    run: RunId,
    identity: &IdentityId,
) -> rusqlite::Result<Option<LedgerRow>> {
    let (device, module) = key(identity);
    let columns = ROW.names();
    let sql = format!("SELECT {columns} FROM row WHERE run = ?1 AND device_id = ?2 AND module_id = ?3");
    let mut found = connection.prepare_cached(&sql)?;
    found.query_row(params![run.0, device, module], |row| LedgerRow::read(row)).optional()
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
        "SELECT {}, (SELECT options FROM run WHERE id = row.run) AS options FROM row
         WHERE run IN (SELECT id FROM run WHERE hub = ?1 AND id < ?2) AND device_id = ?3 AND module_id = ?4
         ORDER BY run DESC",
        ROW.names()
    );
    let before = before.map_or(i64::MAX, |run| run.0);
    let mut rows = connection.prepare_cached(&sql)?;
    let read = |row: &Row<'_>| {
        let RunOptions { maintenance, service, .. } = row.at(ROW.columns.len())?;
        Ok(PastRow { run: ResultRow::get(row, RUN)?, service, maintenance, row: LedgerRow::read(row)? })
    };
    rows.query_map(params![hub, before, device, module], read)?.collect()
}

pub(super) fn count(connection: &Connection, run: RunId, filter: RowFilter) -> rusqlite::Result<u64> {
    let sql = format!("SELECT count(*) FROM row WHERE run = ?1 AND ({})", filter.condition(Sqlite));
    connection.prepare_cached(&sql)?.query_row([run.0], |row| row.at(0))
}

/// Writes changes of rows in one transaction. If there is a lease and it is lost, writes nothing
/// and returns `None`.
pub(super) fn update<'c, const CELLS: usize>(
    connection: &mut Connection,
    run: RunId,
    lease: Option<&Lease>,
    changes: impl Iterator<Item = Changed<'c, CELLS>>,
) -> rusqlite::Result<Option<()>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if let Some(lease) = lease
        && !chunks::is_held(&transaction, lease)?
    {
        return Ok(None);
    }
    update_within(&transaction, run, changes)?;
    transaction.commit().map(Some)
}

/// The same in a transaction that is under way.
pub(super) fn update_within<'c, const CELLS: usize>(
    connection: &Connection,
    run: RunId,
    mut changes: impl Iterator<Item = Changed<'c, CELLS>>,
) -> rusqlite::Result<()> {
    let Some(first) = changes.next().transpose().map_err(unstorable)? else { return Ok(()) };
    let mut statement = connection.prepare_cached(&format!(
        "UPDATE row SET {} WHERE run = ?1 AND device_id = ?2 AND module_id = ?3",
        assignments(&first.cells, &parameters(CELLS))
    ))?;
    // The values that all rows share stay bound from row to row.
    statement.raw_bind_parameter(1, run.0)?;
    bind(&mut statement, &first, |cell| cell.is_shared)?;
    once(Ok(first)).chain(changes).try_for_each(|change| {
        let change = change.map_err(unstorable)?;
        let (device, module) = key(change.identity);
        statement.raw_bind_parameter(2, device)?;
        statement.raw_bind_parameter(3, module)?;
        bind(&mut statement, &change, |cell| !cell.is_shared)?;
        statement.raw_execute().map(drop)
    })
}

/// Binds the values of the chosen cells.
fn bind<const CELLS: usize>(
    statement: &mut Statement<'_>,
    change: &Change<'_, CELLS>,
    is_chosen: fn(&Cell<'_>) -> bool,
) -> rusqlite::Result<()> {
    let mut chosen = (FIRST_CELL..).zip(&change.cells).filter(|(_, cell)| is_chosen(cell));
    chosen.try_for_each(|(number, cell)| statement.raw_bind_parameter(number, &cell.value))
}

/// The statement that inserts a row with these cells.
pub(super) fn insert_sql<const CELLS: usize>(change: &Change<'_, CELLS>) -> String {
    let (names, parameters) = (names(&change.cells), parameters(CELLS).join(", "));
    format!("INSERT INTO row (run, device_id, module_id, {names}) VALUES (?1, ?2, ?3, {parameters})")
}

/// Runs a statement whose parameters are the primary key of a row and its cells.
pub(super) fn write<const CELLS: usize>(
    statement: &mut Statement<'_>,
    run: RunId,
    change: &Change<'_, CELLS>,
) -> rusqlite::Result<()> {
    let (device, module) = key(change.identity);
    let key = [Value::Integer(run.0), Value::Text(device.into()), Value::Text(module.into())];
    let values = key.iter().chain(change.cells.iter().map(|cell| &cell.value));
    statement.execute(params_from_iter(values)).map(drop)
}

/// The parameters of the cells of a row.
fn parameters(cells: usize) -> Vec<String> {
    (FIRST_CELL..).take(cells).map(|number| Sqlite.parameter(number)).collect()
}

/// The number of the first parameter after the primary key.
const FIRST_CELL: usize = 4;
