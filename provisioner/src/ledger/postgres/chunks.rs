//! Giving out chunks on leases.

use std::time::Duration;

use postgres::{Client, Error};

use super::super::chunk::{CHUNK_DEVICES, Chunk, Claim, Lease};
use super::super::{RowState, RunId};
use super::rows::{COLUMNS, UNDONE, read_row};

/// Makes the chunks of a run, unless another station did.
pub(super) fn begin_work(client: &mut Client, run: RunId) -> Result<(), Error> {
    let mut transaction = client.transaction()?;
    // Whoever else begins waits here.
    transaction.query("SELECT 1 FROM run WHERE id = $1 FOR UPDATE", &[&run.0])?;
    transaction.execute(
        "UPDATE run SET state = 'running', finished = NULL WHERE id = $1 AND state <> 'running'",
        &[&run.0],
    )?;
    transaction.execute(
        r#"INSERT INTO chunk (run, number, level, first_device, last_device)
           SELECT $1, row_number() OVER (ORDER BY level, part), level, min(device_id), max(device_id)
           FROM (SELECT level, device_id,
                        (row_number() OVER (PARTITION BY level ORDER BY device_id) - 1) / $2 AS part
                 FROM (SELECT DISTINCT level, device_id FROM "row" WHERE run = $1) AS device) AS numbered
           WHERE NOT EXISTS (SELECT 1 FROM chunk WHERE run = $1)
           GROUP BY level, part"#,
        &[&run.0, &i64::try_from(CHUNK_DEVICES).unwrap_or(i64::MAX)],
    )?;
    transaction.commit()
}

pub(super) fn claim(client: &mut Client, run: RunId, lease: Duration) -> Result<Claim, Error> {
    let mut transaction = client.transaction()?;
    let next = transaction.query_opt(
        "WITH next AS (
             SELECT number FROM chunk
             WHERE run = $1 AND NOT done AND (expires IS NULL OR expires <= clock_timestamp())
               AND level = (SELECT min(level) FROM chunk WHERE run = $1 AND NOT done)
             ORDER BY number LIMIT 1 FOR UPDATE SKIP LOCKED)
         UPDATE chunk SET fence = fence + 1, expires = clock_timestamp() + $2 * INTERVAL '1 second'
         FROM next WHERE chunk.run = $1 AND chunk.number = next.number
         RETURNING chunk.number, level, first_device, last_device, fence",
        &[&run.0, &lease.as_secs_f64()],
    )?;
    let Some(next) = next else {
        let state = transaction.query_one(
            "SELECT EXISTS (SELECT 1 FROM chunk WHERE run = $1),
                    EXISTS (SELECT 1 FROM chunk WHERE run = $1 AND NOT done)",
            &[&run.0],
        )?;
        let (is_cut, is_left): (bool, bool) = (state.get(0), state.get(1));
        // A run without rows has no chunks, and nothing is left of it.
        return Ok(if is_cut && is_left { Claim::Wait } else { Claim::Finished });
    };
    let (level, first, last): (i64, String, String) = (next.get(1), next.get(2), next.get(3));
    let found = transaction.query(
        &format!(
            r#"WITH claimed AS (
                   UPDATE "row" SET state = 'claimed'
                   WHERE run = $1 AND level = $2 AND device_id >= $3 AND device_id <= $4 AND state = 'pending')
               SELECT {COLUMNS} FROM "row"
               WHERE run = $1 AND level = $2 AND device_id >= $3 AND device_id <= $4
                 AND ({UNDONE} OR (module_id = '' AND state IN ('conflict', 'failed')))
               ORDER BY device_id, module_id"#
        ),
        &[&run.0, &level, &first, &last],
    )?;
    transaction.commit()?;
    let lease = Lease { run, chunk: next.get(0), fence: next.get(4) };
    let (mut rows, mut closed) = (Vec::with_capacity(found.len()), Vec::new());
    for row in found {
        let row = read_row(&row)?;
        match row.record.state {
            state @ (RowState::Conflict | RowState::Failed) => {
                closed.push((row.wanted.identity.device().clone(), state));
            }
            _ => rows.push(row),
        }
    }
    Ok(Claim::Chunk(Chunk { lease, rows, closed }))
}

/// Makes leases last as long as this from now on, unless another station has the chunk.
pub(super) fn renew(client: &mut Client, held: &[Lease], lease: Duration) -> Result<(), Error> {
    let of = |value: fn(&Lease) -> i64| held.iter().map(value).collect::<Vec<i64>>();
    if held.is_empty() {
        return Ok(());
    }
    client
        .execute(
            "UPDATE chunk SET expires = clock_timestamp() + $4 * INTERVAL '1 second'
             FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS held (run, number, fence)
             WHERE chunk.run = held.run AND chunk.number = held.number AND chunk.fence = held.fence AND NOT done",
            &[&of(|lease| lease.run.0), &of(|lease| lease.chunk), &of(|lease| lease.fence), &lease.as_secs_f64()],
        )
        .map(drop)
}

/// Nothing where the lease was lost.
pub(super) fn finish(client: &mut Client, lease: &Lease) -> Result<Option<()>, Error> {
    let done = client.execute(
        "UPDATE chunk SET done = TRUE, expires = NULL WHERE run = $1 AND number = $2 AND fence = $3",
        &[&lease.run.0, &lease.chunk, &lease.fence],
    )?;
    Ok((done > 0).then_some(()))
}
