//! Runs in PostgreSQL.

use tokio_postgres::Row;

use super::super::stored::json_text;
use super::super::{ListedRun, Operator, Run, RunId, RunState, Totals, Verification};
use super::client::{Client, Error};
use super::columns::{Json, Number, Parsed, get, misread};

/// Records the end of a run: an interruption only if no other station works on it, and completion
/// only if no work is left. Returns false if completion could not be recorded.
pub(super) fn end(client: &mut Client, run: RunId, state: RunState, now: &str) -> Result<bool, Error> {
    let is_finished = state == RunState::Finished;
    client.execute(
        "UPDATE run SET state = $2, finished = $3
         WHERE id = $1 AND state <> 'finished'
           AND NOT EXISTS (
               SELECT 1 FROM chunk WHERE run = $1 AND NOT done AND ($4 OR expires > clock_timestamp()))",
        &[&run.0, &state.as_str(), &now, &is_finished],
    )?;
    let left = client.query_one(
        "SELECT $2 AND EXISTS (SELECT 1 FROM run WHERE id = $1 AND state <> 'finished')",
        &[&run.0, &is_finished],
    )?;
    get::<bool>(&left, 0).map(|is_left| !is_left)
}

pub(super) fn set_verification(
    client: &mut Client,
    run: RunId,
    verification: &Verification,
) -> Result<(), Error> {
    let text = json_text(verification)?;
    client.execute("UPDATE run SET verification = $2 WHERE id = $1", &[&run.0, &text]).map(drop)
}

pub(super) fn knows_hub(client: &mut Client, hub: &str, but: RunId) -> Result<bool, Error> {
    get(
        &client
            .query_one("SELECT EXISTS (SELECT 1 FROM run WHERE hub = $1 AND id <> $2)", &[&hub, &but.0])?,
        0,
    )
}

pub(super) fn all(client: &mut Client) -> Result<Vec<ListedRun>, Error> {
    let listed = |row: &Row| match read_run(row) {
        Ok(run) => Ok(ListedRun::Known(Box::new(run))),
        Err(Error::NotUnderstood(value)) => Ok(ListedRun::Unknown(value)),
        Err(error) => Err(error),
    };
    client.query(&format!("{SELECT_RUN} ORDER BY id DESC"), &[])?.iter().map(listed).collect()
}

/// One run; the newest if no number is given.
pub(super) fn one(client: &mut Client, run: Option<RunId>) -> Result<Option<Run>, Error> {
    let found = match run {
        Some(run) => client.query_opt(&format!("{SELECT_RUN} WHERE id = $1"), &[&run.0])?,
        None => client.query_opt(&format!("{SELECT_RUN} ORDER BY id DESC LIMIT 1"), &[])?,
    };
    found.as_ref().map(read_run).transpose()
}

pub(super) fn totals(client: &mut Client, run: RunId) -> Result<Totals, Error> {
    let counts = client.query(
        r#"SELECT 'rejected' AS state, NULL AS effect, rejected AS count, id AS run, 0::bigint AS held,
                  FALSE AS presumed
           FROM run WHERE id = $1
           UNION ALL
           SELECT state, effect, count(*), run, count(held_by), presumed FROM "row" WHERE run = $1
           GROUP BY run, state, effect, presumed"#,
        &[&run.0],
    )?;
    let mut totals = Totals::default();
    for count in counts {
        let (Number(number), Number(held)) = (get(&count, 2)?, get(&count, 4)?);
        match get(&count, 0)? {
            "rejected" => {
                totals.rows += number;
                totals.rejected = number;
            }
            state => {
                let added = totals.add(state, get(&count, 1)?, get(&count, 5)?, number, held);
                added.map_err(|error| misread(&count, 0, error))?;
            }
        }
    }
    Ok(totals)
}

const SELECT_RUN: &str =
    "SELECT id, started, finished, state, hub, input, input_sha256, tool_version, rejected, options,
                                 operator, station, verification FROM run";

fn read_run(row: &Row) -> Result<Run, Error> {
    let Parsed(state) = get(row, 3)?;
    let Number(rejected) = get(row, 8)?;
    let Json(options) = get(row, 9)?;
    let verification: Option<Json<Verification>> = get(row, 12)?;
    Ok(Run {
        id: RunId(get(row, 0)?),
        started: get(row, 1)?,
        finished: get(row, 2)?,
        state,
        hub: get(row, 4)?,
        input: get(row, 5)?,
        input_sha256: get(row, 6)?,
        tool_version: get(row, 7)?,
        rejected,
        options,
        by: Operator { name: get(row, 10)?, station: get(row, 11)? },
        verification: verification.map(|Json(verification)| verification),
    })
}
