//! Sessions and their samples in PostgreSQL.

use super::super::column::{ResultRow, names};
use super::super::progress_sample::PROGRESS_SAMPLE;
use super::super::session::SESSION;
use super::super::{Operator, ProgressSample, Session};
use super::client::{Client, Error};
use super::value::parameter;
use crate::clock::Timestamp;
use crate::model::run_id::RunId;

/// Begins a session and returns its number.
pub(super) fn begin(client: &mut Client, run: RunId, by: &Operator, now: &Timestamp) -> Result<u32, Error> {
    client.transaction(|client| {
        // Whoever else begins one waits here.
        client.query("SELECT 1 FROM run WHERE id = $1 FOR UPDATE", &[&run.0])?;
        let begun = client.query_one(
            "INSERT INTO stint (run, number, operator, station, tool_version, started)
             SELECT $1, coalesce(max(number), 0) + 1, $2, $3, $4, $5 FROM stint WHERE run = $1
             RETURNING number",
            &[&run.0, &by.name, &by.station, &env!("CARGO_PKG_VERSION"), &now.as_str()],
        )?;
        begun.at(0)
    })
}

pub(super) fn all(client: &mut Client, run: RunId) -> Result<Vec<Session>, Error> {
    let sql = format!("SELECT {} FROM stint WHERE run = $1 ORDER BY number", SESSION.names());
    client.query(&sql, &[&run.0])?.iter().map(Session::read).collect()
}

pub(super) fn add_progress_sample(
    client: &mut Client,
    run: RunId,
    session: u32,
    sample: &ProgressSample,
) -> Result<(), Error> {
    let cells = sample.cells(&run, &session)?;
    let sql = format!(
        "INSERT INTO moment ({}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
        names(&cells)
    );
    client.execute(&sql, &cells.each_ref().map(parameter)).map(drop)
}

pub(super) fn progress_samples(
    client: &mut Client,
    run: RunId,
    session: u32,
) -> Result<Vec<ProgressSample>, Error> {
    let columns = PROGRESS_SAMPLE.names();
    let sql = format!("SELECT {columns} FROM moment WHERE run = $1 AND stint = $2 ORDER BY elapsed_ms");
    client.query(&sql, &[&run.0, &i64::from(session)])?.iter().map(ProgressSample::read).collect()
}
