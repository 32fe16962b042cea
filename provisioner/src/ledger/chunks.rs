//! Chunks: what a worker takes of a run at once.

use hub_types::DeviceId;
use rusqlite::{Connection, OptionalExtension, params};

use super::rows::{COLUMNS, UNDONE, read_row};
use super::{Ledger, LedgerError, LedgerRow, RowState, RunId};

/// A part of a run that one worker has: up to 100 devices and their modules.
#[derive(Debug)]
pub struct Chunk {
    /// The right to write to its rows.
    pub lease: Lease,
    /// Its rows that have not come to an end, each device before its modules.
    pub rows: Vec<LedgerRow>,
    /// Its devices that came to a bad end before.
    pub closed: Vec<(DeviceId, RowState)>,
}

/// The right to write to the rows of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    pub(super) run: RunId,
    pub(super) chunk: i64,
}

/// What there is to do.
#[derive(Debug)]
pub enum Claim {
    /// This.
    Chunk(Chunk),
    /// Nothing more: every chunk is done.
    Finished,
    /// Nothing yet: what is left stands on what others are at work on.
    Wait,
}

impl Ledger {
    /// Makes the chunks of a run whose rows are complete, and takes back those that a process had
    /// which is no more.
    pub fn begin_work(&mut self, run: RunId) -> Result<(), LedgerError> {
        let Self { connection, path, .. } = self;
        begin_work(connection, run).map_err(|source| LedgerError::Database { path: path.clone(), source })
    }

    /// Claims the next chunk of a run. What stands on a level is not given out before all that stands
    /// below it is done.
    pub fn claim(&mut self, run: RunId) -> Result<Claim, LedgerError> {
        let Self { connection, path, .. } = self;
        claim(connection, run).map_err(|source| LedgerError::Database { path: path.clone(), source })
    }

    /// Writes down that all rows of a chunk have come to an end.
    pub fn finish_chunk(&mut self, lease: &Lease) -> Result<(), LedgerError> {
        self.connection
            .prepare_cached("UPDATE chunk SET state = 'done' WHERE run = ?1 AND number = ?2")
            .and_then(|mut statement| statement.execute(params![lease.run.0, lease.chunk]))
            .map(drop)
            .map_err(|source| self.error(source))
    }
}

fn begin_work(connection: &mut Connection, run: RunId) -> rusqlite::Result<()> {
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

fn claim(connection: &mut Connection, run: RunId) -> rusqlite::Result<Claim> {
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
    Ok(Claim::Chunk(Chunk { lease: Lease { run, chunk: number }, rows, closed: closed.collect() }))
}

/// Devices of a chunk: as many as one bulk call takes.
const CHUNK_DEVICES: usize = hub_types::limits::MAX_BULK_ITEMS;
