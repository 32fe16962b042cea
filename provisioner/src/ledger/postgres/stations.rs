//! The active stations of each hub, which share its call rate.

use std::num::NonZeroU32;
use std::time::Duration;

use super::super::column::ResultRow;
use super::client::{Client, Error};
use crate::model::run_id::RunId;

/// Records that a station works on the hub of a run, for the duration of a lease, and counts the
/// active stations.
pub(super) fn count(
    client: &mut Client,
    station: i64,
    run: RunId,
    lease: Duration,
) -> Result<NonZeroU32, Error> {
    let others = client.query_one(
        "WITH here AS (
             INSERT INTO station (id, hub, expires)
             SELECT $1, hub, clock_timestamp() + $3 * INTERVAL '1 second' FROM run WHERE id = $2
             ON CONFLICT (id) DO UPDATE SET hub = excluded.hub, expires = excluded.expires),
         gone AS (
             DELETE FROM station WHERE id <> $1 AND expires < clock_timestamp() - INTERVAL '1 hour')
         SELECT count(*) FROM station
         WHERE id <> $1 AND expires > clock_timestamp() AND hub = (SELECT hub FROM run WHERE id = $2)",
        &[&station, &run.0, &lease.as_secs_f64()],
    )?;
    Ok(NonZeroU32::MIN.saturating_add(others.at(0)?))
}

/// Records that a station has stopped.
pub(super) fn leave(client: &mut Client, station: i64) -> Result<(), Error> {
    client.execute("DELETE FROM station WHERE id = $1", &[&station]).map(drop)
}
