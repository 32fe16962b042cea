//! Stints and their moments in SQLite.

use std::time::Duration;

use rusqlite::{Connection, Row, params};

use super::super::{Moment, Operator, RunId, Stint};
use super::error;
use crate::hub::rate_limit::Tally;

/// Begins a stint and returns its number.
pub(super) fn begin(connection: &Connection, run: RunId, by: &Operator, now: &str) -> rusqlite::Result<u32> {
    connection.query_row(
        "INSERT INTO stint (run, number, operator, station, tool_version, started)
         SELECT ?1, coalesce(max(number), 0) + 1, ?2, ?3, ?4, ?5 FROM stint WHERE run = ?1
         RETURNING number",
        params![run.0, by.name, by.station, env!("CARGO_PKG_VERSION"), now],
        |row| row.get(0),
    )
}

pub(super) fn all(connection: &Connection, run: RunId) -> rusqlite::Result<Vec<Stint>> {
    let mut stints = connection.prepare_cached(
        "SELECT number, operator, station, tool_version, started, run FROM stint WHERE run = ?1 ORDER BY number",
    )?;
    let columns = |row: &Row<'_>| {
        Ok(Stint {
            number: row.get(0)?,
            by: Operator { name: row.get(1)?, station: row.get(2)? },
            tool_version: row.get(3)?,
            started: row.get(4)?,
        })
    };
    stints.query_map([run.0], |row| error::read(row, columns))?.collect()
}

pub(super) fn add_moment(
    connection: &Connection,
    run: RunId,
    stint: u32,
    moment: &Moment,
) -> rusqlite::Result<()> {
    let Moment { elapsed, rows, tally } = moment;
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO moment (run, stint, elapsed_ms, rows, calls, failed, throttled, held_ms, down_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            run.0,
            stint,
            millis(*elapsed),
            rows,
            tally.calls,
            tally.failed,
            tally.throttled,
            millis(tally.held),
            millis(tally.down)
        ])
        .map(drop)
}

pub(super) fn moments(connection: &Connection, run: RunId, stint: u32) -> rusqlite::Result<Vec<Moment>> {
    let mut moments = connection.prepare_cached(
        "SELECT elapsed_ms, rows, calls, failed, throttled, held_ms, down_ms, run FROM moment
         WHERE run = ?1 AND stint = ?2 ORDER BY elapsed_ms",
    )?;
    let columns = |row: &Row<'_>| {
        let duration = |column| row.get(column).map(Duration::from_millis);
        Ok(Moment {
            elapsed: duration(0)?,
            rows: row.get(1)?,
            tally: Tally {
                calls: row.get(2)?,
                failed: row.get(3)?,
                throttled: row.get(4)?,
                held: duration(5)?,
                down: duration(6)?,
            },
        })
    };
    moments.query_map(params![run.0, stint], |row| error::read(row, columns))?.collect()
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
