//! Runs in PostgreSQL.

use tokio_postgres::Row;

use super::super::column::{ResultRow, Stored};
use super::super::run::RUN;
use super::super::{HeldDevices, ListedRun, Run, RunState, Totals, Verification};
use super::client::{Client, Error};
use super::credentials;
use super::value::misread;
use crate::clock::Timestamp;
use crate::model::failure::ReasonCode;
use crate::model::run_id::RunId;

/// Records the end of a run: an interruption only if no other station works on it, and completion
/// only if no work is left. Returns false if completion could not be recorded.
pub(super) fn end(client: &mut Client, run: RunId, state: RunState, now: &Timestamp) -> Result<bool, Error> {
    let is_finished = state == RunState::Finished;
    credentials::free_unused(client, run)?;
    client.execute(
        "UPDATE run SET state = $2, finished = $3
         WHERE id = $1 AND state <> 'finished'
           AND NOT EXISTS (
               SELECT 1 FROM chunk WHERE run = $1 AND NOT done AND ($4 OR expires > clock_timestamp()))",
        &[&run.0, &state.as_str(), &now.as_str(), &is_finished],
    )?;
    let left = client.query_one(
        "SELECT $2 AND EXISTS (SELECT 1 FROM run WHERE id = $1 AND state <> 'finished')",
        &[&run.0, &is_finished],
    )?;
    left.at::<bool>(0).map(|is_left| !is_left)
}

pub(super) fn set_verification(
    client: &mut Client,
    run: RunId,
    verification: &Verification,
) -> Result<(), Error> {
    let verification = verification.to_value()?;
    client.execute("UPDATE run SET verification = $2 WHERE id = $1", &[&run.0, &verification]).map(drop)
}

pub(super) fn knows_hub(client: &mut Client, hub: &str, but: RunId) -> Result<bool, Error> {
    let sql = "SELECT EXISTS (SELECT 1 FROM run WHERE hub = $1 AND id <> $2)";
    client.query_one(sql, &[&hub, &but.0])?.at(0)
}

pub(super) fn all(client: &mut Client) -> Result<Vec<ListedRun>, Error> {
    let listed = |row: &Row| match Run::read(row) {
        Ok(run) => Ok(ListedRun::Known(Box::new(run))),
        Err(Error::NotUnderstood(value)) => Ok(ListedRun::Unknown(value)),
        Err(error) => Err(error),
    };
    let sql = format!("SELECT {} FROM run ORDER BY id DESC", RUN.names());
    client.query(&sql, &[])?.iter().map(listed).collect()
}

/// One run; the newest if no number is given.
pub(super) fn one(client: &mut Client, run: Option<RunId>) -> Result<Option<Run>, Error> {
    let columns = RUN.names();
    let found = match run {
        Some(run) => client.query_opt(&format!("SELECT {columns} FROM run WHERE id = $1"), &[&run.0])?,
        None => client.query_opt(&format!("SELECT {columns} FROM run ORDER BY id DESC LIMIT 1"), &[])?,
    };
    found.as_ref().map(Run::read).transpose()
}

pub(super) fn totals(client: &mut Client, run: RunId) -> Result<Totals, Error> {
    let counts = client.query(
        r#"SELECT NULL AS state, NULL AS effect, rejected AS count, id AS run, 0::bigint AS held,
                  FALSE AS presumed, 0::bigint AS left_enabled
           FROM run WHERE id = $1
           UNION ALL
           SELECT state, effect, count(*), run, count(held_by), presumed, count(*) FILTER (WHERE reason = $2)
           FROM "row" WHERE run = $1 GROUP BY run, state, effect, presumed"#,
        &[&run.0, &ReasonCode::LeftEnabled.as_str()],
    )?;
    let mut totals = Totals::default();
    for count in counts {
        let number = count.at(2)?;
        match count.at(0)? {
            Some(state) => {
                let (presumed, held, left_enabled) = (count.at(5)?, count.at(4)?, count.at(6)?);
                let added = totals.add(state, count.at(1)?, presumed, number, held, left_enabled);
                added.map_err(|error| misread(&count, 0, error.into()))?;
            }
            None => {
                totals.rows += number;
                totals.rejected = number;
            }
        }
    }
    Ok(totals)
}

pub(super) fn held_devices(client: &mut Client, run: RunId) -> Result<Vec<HeldDevices>, Error> {
    let held = client.query(
        r#"SELECT held_by AS run, devices, options
           FROM (SELECT held_by, count(*) AS devices FROM "row"
                 WHERE run = $1 AND held_by IS NOT NULL AND state IN ('done', 'unchanged')
                 GROUP BY held_by) AS held
           JOIN run ON run.id = held.held_by ORDER BY held_by"#,
        &[&run.0],
    )?;
    held.iter().map(|row| Ok(HeldDevices::new(row.at(0)?, row.at(1)?, &row.at(2)?))).collect()
}
