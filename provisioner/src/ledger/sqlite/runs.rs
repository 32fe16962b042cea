//! Runs in SQLite.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::super::column::{ResultRow, Stored};
use super::super::run::RUN;
use super::super::{HeldDevices, ListedRun, Run, RunState, Totals, Verification};
use super::credentials;
use super::error::{unstorable, value_of};
use super::value::misread;
use crate::clock::Timestamp;
use crate::model::failure::ReasonCode;
use crate::model::run_id::RunId;

pub(super) fn end(
    connection: &Connection,
    run: RunId,
    state: RunState,
    now: &Timestamp,
) -> rusqlite::Result<()> {
    credentials::free_unused(connection, run)?;
    connection
        .execute(
            "UPDATE run SET state = ?2, finished = ?3 WHERE id = ?1",
            params![run.0, state.as_str(), now.as_str()],
        )
        .map(drop)
}

pub(super) fn set_verification(
    connection: &Connection,
    run: RunId,
    verification: &Verification,
) -> rusqlite::Result<()> {
    let verification = verification.to_value().map_err(unstorable)?;
    connection
        .execute("UPDATE run SET verification = ?2 WHERE id = ?1", params![run.0, verification])
        .map(drop)
}

pub(super) fn knows_hub(connection: &Connection, hub: &str, but: RunId) -> rusqlite::Result<bool> {
    connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM run WHERE hub = ?1 AND id <> ?2)",
        params![hub, but.0],
        |row| row.get(0),
    )
}

pub(super) fn all(connection: &Connection) -> rusqlite::Result<Vec<ListedRun>> {
    let mut statement = connection.prepare(&format!("SELECT {} FROM run ORDER BY id DESC", RUN.names()))?;
    let listed = |row: &Row<'_>| match Run::read(row) {
        Ok(run) => Ok(ListedRun::Known(Box::new(run))),
        Err(error) => value_of(error).map(|value| ListedRun::Unknown(*value)),
    };
    statement.query_map([], listed)?.collect()
}

/// One run; the newest if no number is given.
pub(super) fn one(connection: &Connection, run: Option<RunId>) -> rusqlite::Result<Option<Run>> {
    let (condition, number) = match run {
        Some(run) => ("id = ?1", run.0),
        None => ("?1 = 0 ORDER BY id DESC LIMIT 1", 0),
    };
    let sql = format!("SELECT {} FROM run WHERE {condition}", RUN.names());
    connection.query_row(&sql, [number], |row| Run::read(row)).optional()
}

pub(super) fn totals(connection: &Connection, run: RunId) -> rusqlite::Result<Totals> {
    let sql = "SELECT rejected, id FROM run WHERE id = ?1";
    let rejected = connection.query_row(sql, [run.0], |row| row.at(0))?;
    let mut totals = Totals { rows: rejected, rejected, ..Totals::default() };
    // Grouping by three columns would sort all rows, which takes longer than counting them here.
    let mut statement = connection.prepare_cached(
        "SELECT state, effect, presumed, held_by IS NOT NULL, reason IS ?2, run, device_id, module_id
         FROM row WHERE run = ?1",
    )?;
    let mut rows = statement.query(params![run.0, ReasonCode::LeftEnabled.as_str()])?;
    while let Some(row) = rows.next()? {
        let [held, left_enabled] = [row.at::<bool>(3)?, row.at(4)?].map(u64::from);
        let added = totals.add(row.at(0)?, row.at(1)?, row.at(2)?, 1, held, left_enabled);
        added.map_err(|error| misread(row, 0, error.into()))?;
    }
    Ok(totals)
}

pub(super) fn held_devices(connection: &Connection, run: RunId) -> rusqlite::Result<Vec<HeldDevices>> {
    let mut statement = connection.prepare_cached(
        "SELECT held_by AS run, devices, options
         FROM (SELECT held_by, count(*) AS devices FROM row
               WHERE run = ?1 AND held_by IS NOT NULL AND state IN ('done', 'unchanged')
               GROUP BY held_by) AS held
         JOIN run ON run.id = held.held_by ORDER BY held_by",
    )?;
    let held = |row: &Row<'_>| Ok(HeldDevices::new(row.at(0)?, row.at(1)?, &row.at(2)?));
    statement.query_map([run.0], held)?.collect()
}
