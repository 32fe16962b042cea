//! The claiming of chunks. Only one process uses the ledger, so a claimed chunk is its own until it
//! is done.

use std::collections::BTreeMap;

use hub_types::DeviceId;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::super::LedgerRow;
use super::super::chunk::{CHUNK_DEVICES, Chunk, Claim, FencingToken, Lease, RowsLeft};
use super::super::column::ResultRow;
use super::super::filter::UNFINISHED;
use super::super::row::{ROW, stranded_sql};
use super::super::table::Dialect;
use super::error::unstorable;
use super::value::misread;
use crate::model::run_id::RunId;
use crate::model::unknown_value::UnknownValue;

/// Makes the chunks of a run whose rows are complete, and frees those of an earlier process that
/// has ended.
pub(super) fn begin_work(connection: &mut Connection, run: RunId) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute("UPDATE run SET state = 'running', finished = NULL WHERE id = ?1", [run.0])?;
    transaction.execute(
        "UPDATE chunk SET state = 'free', token = NULL WHERE run = ?1 AND state = 'taken'",
        [run.0],
    )?;
    refuse_unknown_states(&transaction, run)?;
    let is_cut =
        transaction.query_row("SELECT EXISTS (SELECT 1 FROM chunk WHERE run = ?1)", [run.0], |row| {
            row.get::<_, bool>(0)
        })?;
    if !is_cut {
        cut(&transaction, run)?;
    }
    transaction.commit()
}

/// Refuses chunks in an unknown state: they would never be claimed, and the run would seem to be
/// complete.
fn refuse_unknown_states(connection: &Connection, run: RunId) -> rusqlite::Result<()> {
    let mut unknown_states = connection.prepare(
        "SELECT state, run FROM chunk WHERE run = ?1 AND state NOT IN ('free', 'taken', 'done') LIMIT 1",
    )?;
    let mut found = unknown_states.query([run.0])?;
    match found.next()? {
        Some(row) => Err(misread(row, 0, UnknownValue::new(row.at::<String>(0)?).into())),
        None => Ok(()),
    }
}

/// The devices between two ids, on one level.
struct DeviceRange {
    level: u32,
    first: String,
    last: String,
    devices: usize,
}

/// Divides the devices of a run into chunks, numbered level by level, in one pass over the rows:
/// SQLite would hold all devices in memory to number them.
fn cut(connection: &Connection, run: RunId) -> rusqlite::Result<()> {
    let mut devices = connection.prepare(
        "SELECT device_id, max(level) FROM row WHERE run = ?1 GROUP BY device_id ORDER BY device_id",
    )?;
    let mut devices = devices.query([run.0])?;
    let mut parts: Vec<DeviceRange> = Vec::new();
    // By level, the part that is not full yet.
    let mut open: BTreeMap<u32, DeviceRange> = BTreeMap::new();
    while let Some(row) = devices.next()? {
        let (device, level): (String, u32) = (row.at(0)?, row.at(1)?);
        let part = match open.remove(&level) {
            Some(part) => DeviceRange { last: device, devices: part.devices + 1, ..part },
            None => DeviceRange { level, first: device.clone(), last: device, devices: 1 },
        };
        match part.devices >= CHUNK_DEVICES {
            true => parts.push(part),
            false => drop(open.insert(level, part)),
        }
    }
    parts.extend(open.into_values());
    parts.sort_by_key(|part| part.level);
    let mut insert = connection.prepare(
        "INSERT INTO chunk (run, number, level, first_device, last_device, state) VALUES (?1, ?2, ?3, ?4, ?5, 'free')",
    )?;
    for (number, part) in (1..).zip(&parts) {
        insert.execute(params![run.0, number, part.level, part.first, part.last])?;
    }
    Ok(())
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
                let (level, first, last): (u32, String, String) = (row.at(1)?, row.at(2)?, row.at(3)?);
                Ok((row.at::<i64>(0)?, level, first, last))
            })
            .optional()
    };
    // Numbers rise with depths, so the first that is taken has the lowest level still at work.
    let (free, taken) = (next("free")?, next("taken")?);
    let (number, level, first, last) = match (free, taken) {
        (None, None) => return Ok(Claim::Finished),
        (None, Some(_)) => return Ok(Claim::Wait),
        (Some((_, level, ..)), Some((_, at_work, ..))) if at_work < level => return Ok(Claim::Wait),
        (Some(free), _) => free,
    };
    let token = FencingToken::draw().map_err(unstorable)?;
    let fence = transaction
        .prepare_cached(
            "UPDATE chunk SET state = 'taken', fence = fence + 1, token = ?3 WHERE run = ?1 AND number = ?2
             RETURNING fence",
        )?
        .query_row(params![run.0, number, token.as_bytes()], |row| row.at(0))?;
    let within = "run = ?1 AND level = ?2 AND device_id >= ?3 AND device_id <= ?4";
    transaction
        .prepare_cached(&format!("UPDATE row SET state = 'claimed' WHERE {within} AND state = 'pending'"))?
        .execute(params![run.0, level, first, last])?;
    let columns = ROW.names();
    let rows = transaction
        .prepare_cached(&format!(
            "SELECT {columns} FROM row WHERE {within} AND {UNFINISHED} ORDER BY device_id, module_id"
        ))?
        .query_map(params![run.0, level, first, last], |row| LedgerRow::read(row))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let closed = transaction
        .prepare_cached(&format!(
            "SELECT device_id, state, run FROM row WHERE {within} AND module_id = '' AND state IN ('conflict', 'failed')"
        ))?
        .query_map(params![run.0, level, first, last], |row| Ok((row.at(0)?, row.at(1)?)))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    transaction.commit()?;
    Ok(Claim::Chunk(Chunk { lease: Lease { run, chunk: number, fence, token }, rows, closed }))
}

/// The devices with rows that wait for their registration, in the order of their ids, after a device.
pub(super) fn awaited_devices(
    connection: &Connection,
    run: RunId,
    after: &str,
    limit: usize,
) -> rusqlite::Result<Vec<DeviceId>> {
    let sql =
        "SELECT DISTINCT device_id, run FROM row WHERE run = ?1 AND device_id > ?2 AND state = 'waiting'
               ORDER BY device_id LIMIT ?3";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    connection.prepare_cached(sql)?.query_map(params![run.0, after, limit], |row| row.at(0))?.collect()
}

/// Makes the waiting rows of these devices pending, and frees their chunks. Returns the number of rows.
pub(super) fn wake(connection: &mut Connection, run: RunId, devices: &[DeviceId]) -> rusqlite::Result<u64> {
    let (Some(first), Some(last)) = (devices.iter().min(), devices.iter().max()) else { return Ok(0) };
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut woken = 0;
    {
        let sql = "UPDATE row SET state = 'pending' WHERE run = ?1 AND device_id = ?2 AND state = 'waiting'";
        let mut wake = transaction.prepare_cached(sql)?;
        for device in devices {
            woken += wake.execute(params![run.0, device.as_str()])? as u64;
        }
    }
    free_unfinished(&transaction, run, first.as_str(), last.as_str())?;
    transaction.commit()?;
    Ok(woken)
}

/// Frees the finished chunks between two devices that have unfinished rows.
fn free_unfinished(connection: &Connection, run: RunId, first: &str, last: &str) -> rusqlite::Result<()> {
    let sql = format!(
        "UPDATE chunk SET state = 'free', token = NULL
         WHERE run = ?1 AND state = 'done' AND first_device <= ?3 AND last_device >= ?2 AND EXISTS (
             SELECT 1 FROM row WHERE row.run = ?1 AND row.level = chunk.level
               AND row.device_id >= first_device AND row.device_id <= last_device AND {})",
        UNFINISHED.replace("state", "row.state")
    );
    connection.prepare_cached(&sql)?.execute(params![run.0, first, last]).map(drop)
}

/// Frees all finished chunks with unfinished rows, and wakes the modules of devices that failed. Returns
/// which rows are left.
pub(super) fn wake_stranded(connection: &mut Connection, run: RunId) -> rusqlite::Result<RowsLeft> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.prepare_cached(&stranded_sql(Dialect::Sqlite))?.execute([run.0])?;
    let sql = format!(
        "SELECT EXISTS (SELECT 1 FROM row WHERE run = ?1 AND {UNFINISHED}),
                EXISTS (SELECT 1 FROM row WHERE run = ?1 AND state = 'waiting')"
    );
    let (is_unfinished, waits): (bool, bool) =
        transaction.prepare_cached(&sql)?.query_row([run.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if is_unfinished {
        free_unfinished(&transaction, run, "", "\u{10ffff}")?;
    }
    transaction.commit()?;
    Ok(RowsLeft { is_unfinished, waits })
}

/// Returns true if a lease is the last one of its chunk.
pub(super) fn is_held(connection: &Connection, lease: &Lease) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM chunk WHERE run = ?1 AND number = ?2 AND fence = ?3 AND token = ?4)",
        )?
        .query_row(params![lease.run.0, lease.chunk, lease.fence, lease.token.as_bytes()], |row| row.get(0))
}

/// Runs a write; `None` if the lease is lost.
pub(super) fn finish(connection: &Connection, lease: &Lease) -> rusqlite::Result<Option<()>> {
    let done = connection
        .prepare_cached(
            "UPDATE chunk SET state = 'done' WHERE run = ?1 AND number = ?2 AND fence = ?3 AND token = ?4",
        )?
        .execute(params![lease.run.0, lease.chunk, lease.fence, lease.token.as_bytes()])?;
    Ok((done > 0).then_some(()))
}
