//! Runs in SQLite.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::super::row::json_text;
use super::super::{Operator, Run, RunId, RunState, Totals, Verification};

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
    connection
        .execute("UPDATE run SET verification = ?2 WHERE id = ?1", params![run.0, json_text(verification)])
        .map(drop)
}

pub(super) fn knows_hub(connection: &Connection, hub: &str, but: RunId) -> rusqlite::Result<bool> {
    connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM run WHERE hub = ?1 AND id <> ?2)",
        params![hub, but.0],
        |row| row.get(0),
    )
}

pub(super) fn all(connection: &Connection) -> rusqlite::Result<Vec<Run>> {
    let mut statement = connection.prepare(&format!("{SELECT_RUN} ORDER BY id DESC"))?;
    statement.query_map([], read_run)?.collect()
}

/// One run; the newest when no number is given.
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
    let mut statement = connection
        .prepare_cached("SELECT state, effect, count(*) FROM row WHERE run = ?1 GROUP BY state, effect")?;
    let mut groups = statement.query([run.0])?;
    while let Some(group) = groups.next()? {
        let (state, effect): (String, Option<String>) = (group.get(0)?, group.get(1)?);
        totals.add(&state, effect.as_deref(), group.get(2)?);
    }
    Ok(totals)
}

const SELECT_RUN: &str =
    "SELECT id, started, finished, state, hub, input, input_sha256, tool_version, rejected, options,
                                 operator, station, verification FROM run";

fn read_run(row: &Row<'_>) -> rusqlite::Result<Run> {
    Ok(Run {
        id: RunId(row.get(0)?),
        started: row.get(1)?,
        finished: row.get(2)?,
        state: RunState::parse(&row.get::<_, String>(3)?),
        hub: row.get(4)?,
        input: row.get(5)?,
        input_sha256: row.get(6)?,
        tool_version: row.get(7)?,
        rejected: row.get(8)?,
        // An option that this version does not know was not meant for it.
        options: serde_json::from_str(&row.get::<_, String>(9)?).unwrap_or_default(),
        by: Operator { name: row.get(10)?, station: row.get(11)? },
        verification: row.get::<_, Option<String>>(12)?.and_then(|text| serde_json::from_str(&text).ok()),
    })
}
