//! Stints and their moments in SQLite.

use rusqlite::{Connection, params, params_from_iter};

use super::super::column::{ResultRow, names};
use super::super::moment::MOMENT;
use super::super::stint::STINT;
use super::super::{Moment, Operator, RunId, Stint};
use super::error::unstorable;
use crate::clock::Timestamp;

/// Begins a stint and returns its number.
pub(super) fn begin(
    connection: &Connection,
    run: RunId,
    by: &Operator,
    now: &Timestamp,
) -> rusqlite::Result<u32> {
    connection.query_row(
        "INSERT INTO stint (run, number, operator, station, tool_version, started)
         SELECT ?1, coalesce(max(number), 0) + 1, ?2, ?3, ?4, ?5 FROM stint WHERE run = ?1
         RETURNING number",
        params![run.0, by.name, by.station, env!("CARGO_PKG_VERSION"), now.as_str()],
        |row| row.at(0),
    )
}

pub(super) fn all(connection: &Connection, run: RunId) -> rusqlite::Result<Vec<Stint>> {
    let sql = format!("SELECT {} FROM stint WHERE run = ?1 ORDER BY number", STINT.names());
    connection.prepare_cached(&sql)?.query_map([run.0], |row| Stint::read(row))?.collect()
}

pub(super) fn add_moment(
    connection: &Connection,
    run: RunId,
    stint: u32,
    moment: &Moment,
) -> rusqlite::Result<()> {
    let cells = moment.cells(&run, &stint).map_err(unstorable)?;
    let sql = format!(
        "INSERT OR IGNORE INTO moment ({}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        names(&cells)
    );
    let values = cells.iter().map(|cell| &cell.value);
    connection.prepare_cached(&sql)?.execute(params_from_iter(values)).map(drop)
}

pub(super) fn moments(connection: &Connection, run: RunId, stint: u32) -> rusqlite::Result<Vec<Moment>> {
    let columns = MOMENT.names();
    let sql = format!("SELECT {columns} FROM moment WHERE run = ?1 AND stint = ?2 ORDER BY elapsed_ms");
    connection.prepare_cached(&sql)?.query_map(params![run.0, stint], |row| Moment::read(row))?.collect()
}
