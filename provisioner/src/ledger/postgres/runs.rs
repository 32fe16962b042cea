//! Runs in PostgreSQL.

use postgres::{Client, Error, Row};

use super::super::row::json_text;
use super::super::{Operator, Run, RunId, RunState, Totals, Verification};

/// Writes down how a run ended: an interruption only where no other station is at work on it.
pub(super) fn end(client: &mut Client, run: RunId, state: RunState, now: &str) -> Result<(), Error> {
    let is_finished = state == RunState::Finished;
    client
        .execute(
            "UPDATE run SET state = $2, finished = $3
             WHERE id = $1 AND state <> 'finished'
               AND ($4 OR NOT EXISTS (
                   SELECT 1 FROM chunk WHERE run = $1 AND NOT done AND expires > clock_timestamp()))",
            &[&run.0, &state.as_str(), &now, &is_finished],
        )
        .map(drop)
}

pub(super) fn set_verification(
    client: &mut Client,
    run: RunId,
    verification: &Verification,
) -> Result<(), Error> {
    client
        .execute("UPDATE run SET verification = $2 WHERE id = $1", &[&run.0, &json_text(verification)])
        .map(drop)
}

pub(super) fn knows_hub(client: &mut Client, hub: &str, but: RunId) -> Result<bool, Error> {
    client
        .query_one("SELECT EXISTS (SELECT 1 FROM run WHERE hub = $1 AND id <> $2)", &[&hub, &but.0])?
        .try_get(0)
}

pub(super) fn all(client: &mut Client) -> Result<Vec<Run>, Error> {
    client.query(&format!("{SELECT_RUN} ORDER BY id DESC"), &[])?.iter().map(read_run).collect()
}

/// One run; the newest when no number is given.
pub(super) fn one(client: &mut Client, run: Option<RunId>) -> Result<Option<Run>, Error> {
    let found = match run {
        Some(run) => client.query_opt(&format!("{SELECT_RUN} WHERE id = $1"), &[&run.0])?,
        None => client.query_opt(&format!("{SELECT_RUN} ORDER BY id DESC LIMIT 1"), &[])?,
    };
    found.as_ref().map(read_run).transpose()
}

pub(super) fn totals(client: &mut Client, run: RunId) -> Result<Totals, Error> {
    let counts = client.query(
        r#"SELECT 'rejected', NULL, rejected FROM run WHERE id = $1
           UNION ALL
           SELECT state, effect, count(*) FROM "row" WHERE run = $1 GROUP BY state, effect"#,
        &[&run.0],
    )?;
    let mut totals = Totals::default();
    for count in counts {
        let number = u64::try_from(count.try_get::<_, i64>(2)?).unwrap_or_default();
        match count.try_get(0)? {
            "rejected" => {
                totals.rows += number;
                totals.rejected = number;
            }
            state => totals.add(state, count.try_get(1)?, number),
        }
    }
    Ok(totals)
}

const SELECT_RUN: &str =
    "SELECT id, started, finished, state, hub, input, input_sha256, tool_version, rejected, options,
                                 operator, station, verification FROM run";

fn read_run(row: &Row) -> Result<Run, Error> {
    Ok(Run {
        id: RunId(row.try_get(0)?),
        started: row.try_get(1)?,
        finished: row.try_get(2)?,
        state: RunState::parse(row.try_get(3)?),
        hub: row.try_get(4)?,
        input: row.try_get(5)?,
        input_sha256: row.try_get(6)?,
        tool_version: row.try_get(7)?,
        rejected: u64::try_from(row.try_get::<_, i64>(8)?).unwrap_or_default(),
        // An option that this version does not know was not meant for it.
        options: serde_json::from_str(row.try_get(9)?).unwrap_or_default(),
        by: Operator { name: row.try_get(10)?, station: row.try_get(11)? },
        verification: row.try_get::<_, Option<&str>>(12)?.and_then(|text| serde_json::from_str(text).ok()),
    })
}
