//! Giving out chunks. One process has the ledger for itself, so a chunk is its own until it is done.

use rusqlite::{Connection, OptionalExtension, params};

use super::super::chunk::{CHUNK_DEVICES, Chunk, Claim, Lease};
use super::super::{RowState, RunId};
use super::rows::{COLUMNS, UNDONE, read_row};

/// Makes the chunks of a run whose rows are complete, and takes back those that a process had which is
/// no more.
pub(super) fn begin_work(connection: &mut Connection, run: RunId) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute("UPDATE run SET state = 'running', finished = NULL WHERE id = ?1", [run.0])?;
    transaction.execute("UPDATE chunk SET state = 'free' WHERE run = ?1 AND state = 'taken'", [run.0])?;
    let is_cut =
        transaction.query_row("SELECT EXISTS (SELECT 1 FROM chunk WHERE run = ?1)", [run.0], |row| {
            row.get::<_, bool>(0)
        })?;
    if !is_cut {
        transaction.execute(
            "INSERT INTO chunk (run, number, level, first_device, last_device, state)
             SELECT ?1, row_number() OVER (ORDER BY level, part), level, min(device_id), max(device_id), 'free'
             FROM (SELECT level, device_id,
                          (row_number() OVER (PARTITION BY level ORDER BY device_id) - 1) / ?2 AS part
                   FROM (SELECT DISTINCT level, device_id FROM row WHERE run = ?1))
             GROUP BY level, part",
            params![run.0, CHUNK_DEVICES],
        )?;
    }
    transaction.commit()
}

pub(super) fn claim(connection: &mut Connection, run: RunId) -> rusqlite::Result<Claim> {
    let transaction = connection.transaction()?;
    let next = |state: &str| {
        transaction
            .prepare_cached(
                "SELECT number, level, first_device, last_device FROM chunk
                 WHERE run = ?1 AND state = ?2 ORDER BY number LIMIT 1",
            )?
            .query_row(params![run.0, state], |row| {
                Ok((
                    row.get::<_, i64>(0)?,
                    row.get::<_, u32>(1)?,
                    row.get::<_, String>(2)?,
                    row.get::<_, String>(3)?,
                ))
            })
            .optional()
    };
    // Numbers rise with levels, so the first that is taken has the lowest level still at work.
    let (free, taken) = (next("free")?, next("taken")?);
    let (number, level, first, last) = match (free, taken) {
        (None, None) => return Ok(Claim::Finished),
        (None, Some(_)) => return Ok(Claim::Wait),
        (Some((_, level, ..)), Some((_, at_work, ..))) if at_work < level => return Ok(Claim::Wait),
        (Some(free), _) => free,
    };
    transaction
        .prepare_cached("UPDATE chunk SET state = 'taken' WHERE run = ?1 AND number = ?2")?
        .execute(params![run.0, number])?;
    let within = "run = ?1 AND level = ?2 AND device_id >= ?3 AND device_id <= ?4";
    transaction
        .prepare_cached(&format!("UPDATE row SET state = 'claimed' WHERE {within} AND state = 'pending'"))?
        .execute(params![run.0, level, first, last])?;
    let rows = transaction
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM row WHERE {within} AND {UNDONE} ORDER BY device_id, module_id"
        ))?
        .query_map(params![run.0, level, first, last], read_row)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let closed = transaction
        .prepare_cached(&format!(
            "SELECT device_id, state FROM row WHERE {within} AND module_id = '' AND state IN ('conflict', 'failed')"
        ))?
        .query_map(params![run.0, level, first, last], |row| {
            Ok((row.get::<_, String>(0)?, RowState::parse(&row.get::<_, String>(1)?)))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    transaction.commit()?;
    let closed = closed.into_iter().filter_map(|(device, state)| Some((device.parse().ok()?, state)));
    Ok(Claim::Chunk(Chunk { lease: Lease { run, chunk: number, fence: 0 }, rows, closed: closed.collect() }))
}

pub(super) fn finish(connection: &Connection, lease: &Lease) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE chunk SET state = 'done' WHERE run = ?1 AND number = ?2")?
        .execute(params![lease.run.0, lease.chunk])
        .map(drop)
}
