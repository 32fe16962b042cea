//! The claiming of chunks on leases.

use std::time::Duration;

use hub_types::DeviceId;

use super::super::chunk::{CHUNK_DEVICES, Chunk, Claim, FencingToken, Lease, RowsLeft};
use super::super::column::ResultRow;
use super::super::filter::UNFINISHED;
use super::super::row::{ROW, stranded_sql};
use super::super::table::Dialect;
use super::super::{LedgerRow, RowState};
use super::client::{Client, Error};
use crate::model::run_id::RunId;

/// Makes the chunks of a run, unless a different station did, and returns the run's token; runs of
/// old ledgers have none.
pub(super) fn begin_work(client: &mut Client, run: RunId) -> Result<Option<Vec<u8>>, Error> {
    client.transaction(|client| {
        // Whoever else begins waits here.
        let found = client.query_opt("SELECT token FROM run WHERE id = $1 FOR UPDATE", &[&run.0])?;
        client.execute(
            "UPDATE run SET state = 'running', finished = NULL WHERE id = $1 AND state <> 'running'",
            &[&run.0],
        )?;
        client.execute(
            r#"INSERT INTO chunk (run, number, level, first_device, last_device)
               SELECT $1, row_number() OVER (ORDER BY level, part), level, min(device_id), max(device_id)
               FROM (SELECT level, device_id,
                            (row_number() OVER (PARTITION BY level ORDER BY device_id) - 1) / $2 AS part
                     FROM (SELECT DISTINCT level, device_id FROM "row" WHERE run = $1) AS device) AS numbered
               WHERE NOT EXISTS (SELECT 1 FROM chunk WHERE run = $1)
               GROUP BY level, part"#,
            &[&run.0, &(CHUNK_DEVICES as i64)],
        )?;
        Ok(found.map_or(Ok(None), |found| found.try_get(0))?)
    })
}

/// Claims the next chunk under a new token.
pub(super) fn claim(
    client: &mut Client,
    run: RunId,
    token: FencingToken,
    lease: Duration,
) -> Result<Claim, Error> {
    client.transaction(|client| {
        let next = client.query_opt(
            "WITH next AS (
                 SELECT number FROM chunk
                 WHERE run = $1 AND NOT done AND (expires IS NULL OR expires <= clock_timestamp())
                   AND level = (SELECT min(level) FROM chunk WHERE run = $1 AND NOT done)
                 ORDER BY number LIMIT 1 FOR UPDATE SKIP LOCKED)
             UPDATE chunk SET fence = fence + 1, token = $3, expires = clock_timestamp() + $2 * INTERVAL '1 second'
             FROM next WHERE chunk.run = $1 AND chunk.number = next.number
             RETURNING chunk.number, level, first_device, last_device, fence",
            &[&run.0, &lease.as_secs_f64(), &token.as_bytes()],
        )?;
        let Some(next) = next else { return nothing_free(client, run) };
        let lease = Lease { run, chunk: next.at(0)?, fence: next.at(4)?, token };
        let (level, first, last): (i64, String, String) = (next.at(1)?, next.at(2)?, next.at(3)?);
        let columns = ROW.names();
        let found = client.query(
            &format!(
                r#"WITH claimed AS (
                       UPDATE "row" SET state = 'claimed'
                       WHERE run = $1 AND level = $2 AND device_id >= $3 AND device_id <= $4 AND state = 'pending')
                   SELECT {columns} FROM "row"
                   WHERE run = $1 AND level = $2 AND device_id >= $3 AND device_id <= $4
                     AND ({UNFINISHED} OR (module_id = '' AND state IN ('conflict', 'failed')))
                   ORDER BY device_id, module_id"#
            ),
            &[&run.0, &level, &first, &last],
        )?;
        let (mut rows, mut closed) = (Vec::with_capacity(found.len()), Vec::new());
        for row in found {
            let row = LedgerRow::read(&row)?;
            match row.record.state {
                state @ (RowState::Conflict | RowState::Failed) => {
                    closed.push((row.spec.identity.device().clone(), state));
                }
                _ => rows.push(row),
            }
        }
        Ok(Claim::Chunk(Chunk { lease, rows, closed }))
    })
}

/// The devices with rows that wait for their registration, in the order of their ids, after a device.
pub(super) fn awaited_devices(
    client: &mut Client,
    run: RunId,
    after: &str,
    limit: usize,
) -> Result<Vec<DeviceId>, Error> {
    let sql = r#"SELECT DISTINCT device_id, run FROM "row" WHERE run = $1 AND device_id > $2 AND state = 'waiting'
                 ORDER BY device_id LIMIT $3"#;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    client.query(sql, &[&run.0, &after, &limit])?.iter().map(|row| row.at(0)).collect()
}

/// Makes the waiting rows of these devices pending, and frees their chunks. Returns the number of rows.
pub(super) fn wake(client: &mut Client, run: RunId, devices: &[DeviceId]) -> Result<u64, Error> {
    let (Some(first), Some(last)) = (devices.iter().min(), devices.iter().max()) else { return Ok(0) };
    let ids: Vec<&str> = devices.iter().map(DeviceId::as_str).collect();
    client.transaction(|client| {
        let sql = r#"UPDATE "row" SET state = 'pending'
                     WHERE run = $1 AND device_id = ANY($2) AND state = 'waiting'"#;
        let woken = client.execute(sql, &[&run.0, &ids])?;
        free_unfinished(client, run, first.as_str(), last.as_str())?;
        Ok(woken)
    })
}

/// Frees the finished chunks between two devices that have unfinished rows. A chunk that a station is about
/// to finish is not among them: [`wake_stranded`] finds it.
fn free_unfinished(client: &Client, run: RunId, first: &str, last: &str) -> Result<(), Error> {
    let sql = format!(
        r#"UPDATE chunk SET done = FALSE, expires = NULL
           WHERE run = $1 AND done AND first_device <= $3 AND last_device >= $2 AND EXISTS (
               SELECT 1 FROM "row" WHERE "row".run = $1 AND "row".level = chunk.level
                 AND device_id >= first_device AND device_id <= last_device AND {UNFINISHED})"#
    );
    client.execute(&sql, &[&run.0, &first, &last]).map(drop)
}

/// Frees all finished chunks with unfinished rows, and wakes the modules of devices that failed. Returns
/// which rows are left.
pub(super) fn wake_stranded(client: &mut Client, run: RunId) -> Result<RowsLeft, Error> {
    client.transaction(|client| {
        client.execute(&stranded_sql(Dialect::Postgres), &[&run.0])?;
        let sql = format!(
            r#"SELECT EXISTS (SELECT 1 FROM "row" WHERE run = $1 AND {UNFINISHED}),
                      EXISTS (SELECT 1 FROM "row" WHERE run = $1 AND state = 'waiting')"#
        );
        let found = client.query_one(&sql, &[&run.0])?;
        let (is_unfinished, waits): (bool, bool) = (found.at(0)?, found.at(1)?);
        if is_unfinished {
            free_unfinished(client, run, "", LAST)?;
        }
        Ok(RowsLeft { is_unfinished, waits })
    })
}

/// A text after all device ids.
const LAST: &str = "\u{10ffff}";

/// Decides whether a chunk may become available later.
fn nothing_free(client: &Client, run: RunId) -> Result<Claim, Error> {
    let left =
        client.query_one("SELECT EXISTS (SELECT 1 FROM chunk WHERE run = $1 AND NOT done)", &[&run.0])?;
    // A run without rows has no chunks, and nothing is left of it.
    Ok(if left.at(0)? { Claim::Wait } else { Claim::Finished })
}

/// Extends leases by this time from now on, unless a different station has the chunk.
pub(super) fn renew(client: &mut Client, held: &[Lease], lease: Duration) -> Result<(), Error> {
    let of = |value: fn(&Lease) -> i64| held.iter().map(value).collect::<Vec<i64>>();
    if held.is_empty() {
        return Ok(());
    }
    let tokens: Vec<&[u8]> = held.iter().map(|lease| lease.token.as_bytes()).collect();
    client
        .execute(
            "UPDATE chunk SET expires = clock_timestamp() + $4 * INTERVAL '1 second'
             FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $5::bytea[]) AS held (run, number, fence, token)
             WHERE chunk.run = held.run AND chunk.number = held.number AND chunk.fence = held.fence
               AND chunk.token = held.token AND NOT done",
            &[
                &of(|lease| lease.run.0),
                &of(|lease| lease.chunk),
                &of(|lease| lease.fence),
                &lease.as_secs_f64(),
                &tokens,
            ],
        )
        .map(drop)
}

/// The end of a chunk.
pub(super) enum Finished {
    /// The chunk is done.
    Done,
    /// The lease was lost.
    Lost,
    /// Some of its rows are unfinished in this database. The chunk is free again.
    Undone,
}

/// Ends a chunk. If its writes under the lease may be lost, its rows are checked first.
pub(super) fn finish(client: &mut Client, lease: &Lease, is_doubtful: bool) -> Result<Finished, Error> {
    let done = client.query_opt(
        &format!(
            r#"UPDATE chunk
               SET done = NOT $5 OR NOT EXISTS (
                       SELECT 1 FROM "row"
                       WHERE run = $1 AND level = chunk.level AND device_id >= first_device
                         AND device_id <= last_device AND {UNFINISHED}),
                   expires = NULL
               WHERE run = $1 AND number = $2 AND fence = $3 AND token = $4
               RETURNING done"#
        ),
        &[&lease.run.0, &lease.chunk, &lease.fence, &lease.token.as_bytes(), &is_doubtful],
    )?;
    Ok(match done {
        None => Finished::Lost,
        Some(done) if done.at(0)? => Finished::Done,
        Some(_) => Finished::Undone,
    })
}
