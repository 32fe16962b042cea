//! Sessions and their samples in SQLite.

use rusqlite::{Connection, params, params_from_iter};

use super::super::column::{ResultRow, names};
use super::super::progress_sample::PROGRESS_SAMPLE;
use super::super::session::SESSION;
use super::super::{Operator, ProgressSample, Session};
use super::error::unstorable;
use crate::clock::Timestamp;
use crate::model::run_id::RunId;

/// Begins a session and returns its number.
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

pub(super) fn all(connection: &Connection, run: RunId) -> rusqlite::Result<Vec<Session>> {
    let sql = format!("SELECT {} FROM stint WHERE run = ?1 ORDER BY number", SESSION.names());
    connection.prepare_cached(&sql)?.query_map([run.0], |row| Session::read(row))?.collect()
}

pub(super) fn add_progress_sample(
    connection: &Connection,
    run: RunId,
    session: u32,
    sample: &ProgressSample,
) -> rusqlite::Result<()> {
    let cells = sample.cells(&run, &session).map_err(unstorable)?;
    let sql = format!(
        "INSERT OR IGNORE INTO moment ({}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        names(&cells)
    );
    let values = cells.iter().map(|cell| &cell.value);
    connection.prepare_cached(&sql)?.execute(params_from_iter(values)).map(drop)
}

pub(super) fn progress_samples(
    connection: &Connection,
    run: RunId,
    session: u32,
) -> rusqlite::Result<Vec<ProgressSample>> {
    let columns = PROGRESS_SAMPLE.names();
    let sql = format!("SELECT {columns} FROM moment WHERE run = ?1 AND stint = ?2 ORDER BY elapsed_ms");
    connection
        .prepare_cached(&sql)?
        .query_map(params![run.0, session], |row| ProgressSample::read(row))?
        .collect()
}
