//! Runs in SQLite.

use rusqlite::{Connection, Error, OptionalExtension, Row, params};

use super::super::stored::json_text;
use super::super::{ListedRun, Operator, Run, RunId, RunState, Totals, Verification};
use super::error::{json, optional, parsed, read, unknown, unstorable};

pub(super) fn end(connection: &Connection, run: RunId, state: RunState, now: &str) -> rusqlite::Result<()> {
    connection
        .execute(
            "UPDATE run SET state = ?2, finished = ?3 WHERE id = ?1",
            params![run.0, state.as_str(), now],
        )
        .map(drop)
}

pub(super) fn set_verification(
    connection: &Connection,
    run: RunId,
    verification: &Verification,
) -> rusqlite::Result<()> {
    let text = json_text(verification).map_err(unstorable)?;
    connection.execute("UPDATE run SET verification = ?2 WHERE id = ?1", params![run.0, text]).map(drop)
}

pub(super) fn knows_hub(connection: &Connection, hub: &str, but: RunId) -> rusqlite::Result<bool> {
    connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM run WHERE hub = ?1 AND id <> ?2)",
        params![hub, but.0],
        |row| row.get(0),
    )
}

pub(super) fn all(connection: &Connection) -> rusqlite::Result<Vec<ListedRun>> {
    let mut statement = connection.prepare(&format!("{SELECT_RUN} ORDER BY id DESC"))?;
    let mut runs = statement.query([])?;
    let mut listed = Vec::new();
    while let Some(row) = runs.next()? {
        listed.push(match read_run(row) {
            Ok(run) => ListedRun::Known(Box::new(run)),
            Err(Error::FromSqlConversionFailure(column, kind, source)) => match source.downcast() {
                Ok(value) => ListedRun::Unknown(*value),
                Err(source) => return Err(Error::FromSqlConversionFailure(column, kind, source)),
            },
            Err(error) => return Err(error),
        });
    }
    Ok(listed)
}

/// One run; the newest if no number is given.
pub(super) fn one(connection: &Connection, run: Option<RunId>) -> rusqlite::Result<Option<Run>> {
    let (condition, number) = match run {
        Some(run) => ("WHERE id = ?1", run.0),
        None => ("WHERE ?1 = 0 ORDER BY id DESC LIMIT 1", 0),
    };
    connection.query_row(&format!("{SELECT_RUN} {condition}"), [number], read_run).optional()
}

pub(super) fn totals(connection: &Connection, run: RunId) -> rusqlite::Result<Totals> {
    let rejected =
        connection.query_row("SELECT rejected FROM run WHERE id = ?1", [run.0], |row| row.get(0))?;
    let mut totals = Totals { rows: rejected, rejected, ..Totals::default() };
    let mut statement = connection.prepare_cached(
        "SELECT state, effect, count(*), ?1 AS run, count(held_by), presumed FROM row WHERE run = ?1
         GROUP BY state, effect, presumed",
    )?;
    let mut groups = statement.query([run.0])?;
    while let Some(group) = groups.next()? {
        read(group, |group| {
            let (state, effect): (String, Option<String>) = (group.get(0)?, group.get(1)?);
            let added = totals.add(&state, effect.as_deref(), group.get(5)?, group.get(2)?, group.get(4)?);
            added.map_err(|error| unknown(0, error))
        })?;
    }
    Ok(totals)
}

const SELECT_RUN: &str =
    "SELECT id, started, finished, state, hub, input, input_sha256, tool_version, rejected, options,
                                 operator, station, verification FROM run";

fn read_run(row: &Row<'_>) -> rusqlite::Result<Run> {
    read(row, columns)
}

fn columns(row: &Row<'_>) -> rusqlite::Result<Run> {
    Ok(Run {
        id: RunId(row.get(0)?),
        started: row.get(1)?,
        finished: row.get(2)?,
        state: parsed(row, 3)?,
        hub: row.get(4)?,
        input: row.get(5)?,
        input_sha256: row.get(6)?,
        tool_version: row.get(7)?,
        rejected: row.get(8)?,
        options: json(row, 9)?,
        by: Operator { name: row.get(10)?, station: row.get(11)? },
        verification: optional(row, 12, json)?,
    })
}
