//! Stints and their moments in PostgreSQL.

use std::time::Duration;

use tokio_postgres::Row;

use super::super::{Moment, Operator, RunId, Stint};
use super::client::{Client, Error};
use super::columns::{Number, get};
use crate::hub::rate_limit::Tally;

/// Begins a stint and returns its number.
pub(super) fn begin(client: &mut Client, run: RunId, by: &Operator, now: &str) -> Result<u32, Error> {
    client.transaction(|client| {
        // Whoever else begins one waits here.
        client.query("SELECT 1 FROM run WHERE id = $1 FOR UPDATE", &[&run.0])?;
        let begun = client.query_one(
            "INSERT INTO stint (run, number, operator, station, tool_version, started)
             SELECT $1, coalesce(max(number), 0) + 1, $2, $3, $4, $5 FROM stint WHERE run = $1
             RETURNING number",
            &[&run.0, &by.name, &by.station, &env!("CARGO_PKG_VERSION"), &now],
        )?;
        let Number(number) = get(&begun, 0)?;
        Ok(number)
    })
}

pub(super) fn all(client: &mut Client, run: RunId) -> Result<Vec<Stint>, Error> {
    let stints = client.query(
        "SELECT number, operator, station, tool_version, started, run FROM stint WHERE run = $1 ORDER BY number",
        &[&run.0],
    )?;
    let read = |row: &Row| {
        let Number(number) = get(row, 0)?;
        Ok(Stint {
            number,
            by: Operator { name: get(row, 1)?, station: get(row, 2)? },
            tool_version: get(row, 3)?,
            started: get(row, 4)?,
        })
    };
    stints.iter().map(read).collect()
}

pub(super) fn add_moment(client: &mut Client, run: RunId, stint: u32, moment: &Moment) -> Result<(), Error> {
    let Moment { elapsed, rows, tally } = moment;
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    client
        .execute(
            "INSERT INTO moment (run, stint, elapsed_ms, rows, calls, failed, throttled, held_ms, down_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
            &[
                &run.0,
                &i64::from(stint),
                &millis(*elapsed),
                &count(*rows),
                &count(tally.calls),
                &count(tally.failed),
                &count(tally.throttled),
                &millis(tally.held),
                &millis(tally.down),
            ],
        )
        .map(drop)
}

pub(super) fn moments(client: &mut Client, run: RunId, stint: u32) -> Result<Vec<Moment>, Error> {
    let moments = client.query(
        "SELECT elapsed_ms, rows, calls, failed, throttled, held_ms, down_ms, run FROM moment
         WHERE run = $1 AND stint = $2 ORDER BY elapsed_ms",
        &[&run.0, &i64::from(stint)],
    )?;
    let read = |row: &Row| {
        let count = |column| get(row, column).map(|Number::<u64>(count)| count);
        let duration = |column| count(column).map(Duration::from_millis);
        Ok(Moment {
            elapsed: duration(0)?,
            rows: count(1)?,
            tally: Tally {
                calls: count(2)?,
                failed: count(3)?,
                throttled: count(4)?,
                held: duration(5)?,
                down: duration(6)?,
            },
        })
    };
    moments.iter().map(read).collect()
}
