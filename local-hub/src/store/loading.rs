//! Reading a registry back: one thread reads rows, several parse them, one puts the records in.
//!
//! Of a large hub parsing is most of the work. Pieces go round the parsers in turn and are taken from
//! them in turn, so they come out in the order of the key: a device before its modules.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use hub_types::{DeviceId, ModuleId};
use rusqlite::Connection;

use super::store_error;
use crate::error::{Error, Result};
use crate::registry::{DeviceRecord, ModuleRecord, Registry};

/// A row as the database has it.
struct Read {
    device: String,
    module: String,
    record: Vec<u8>,
}

/// A row that has been understood.
enum Parsed {
    Device(DeviceId, Box<DeviceRecord>),
    Module(DeviceId, ModuleId, Box<ModuleRecord>),
}

/// Reads all identities back.
pub(super) fn load(connection: &Connection, path: &Path) -> Result<Registry> {
    let parsers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let mut to_parsers = Vec::with_capacity(parsers);
        let mut from_parsers = Vec::with_capacity(parsers);
        for _ in 0..parsers {
            let (give, read) = sync_channel(PIECES_WAITING);
            let (parsed, take) = sync_channel(PIECES_WAITING);
            scope.spawn(move || parse_pieces(path, &read, &parsed));
            to_parsers.push(give);
            from_parsers.push(take);
        }
        let restoring = scope.spawn(move || restore(path, &from_parsers));
        let read = read_pieces(connection, to_parsers).map_err(|source| store_error(path, source));
        let restored = restoring.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        read.and(restored)
    })
}

/// Gives the rows away in the order of the key, until nobody takes any more.
fn read_pieces(connection: &Connection, parsers: Vec<SyncSender<Vec<Read>>>) -> rusqlite::Result<()> {
    let mut statement =
        connection.prepare("SELECT device, module, record FROM identities ORDER BY device, module")?;
    let mut rows = statement
        .query_map((), |row| Ok(Read { device: row.get(0)?, module: row.get(1)?, record: row.get(2)? }))?;
    for parser in parsers.iter().cycle() {
        let piece = rows.by_ref().take(PIECE).collect::<rusqlite::Result<Vec<_>>>()?;
        if piece.is_empty() || parser.send(piece).is_err() {
            break;
        }
    }
    Ok(())
}

fn parse_pieces(path: &Path, pieces: &Receiver<Vec<Read>>, parsed: &SyncSender<Result<Vec<Parsed>>>) {
    for piece in pieces {
        let rows = piece
            .iter()
            .map(|row| parse(row).map_err(|reason| damaged(path, &row.device, &row.module, &reason)));
        if parsed.send(rows.collect()).is_err() {
            break;
        }
    }
}

fn parse(row: &Read) -> std::result::Result<Parsed, String> {
    let device = DeviceId::new(&row.device).map_err(|error| error.to_string())?;
    // Where a record does not parse, its content must not get into the message: it holds keys.
    let unreadable = |error: serde_json::Error| format!("the record breaks at column {}", error.column());
    if row.module.is_empty() {
        return Ok(Parsed::Device(device, serde_json::from_slice(&row.record).map_err(unreadable)?));
    }
    let module = ModuleId::new(&row.module).map_err(|error| error.to_string())?;
    Ok(Parsed::Module(device, module, serde_json::from_slice(&row.record).map_err(unreadable)?))
}

/// Takes pieces from the parsers in the order in which they were given to them.
fn restore(path: &Path, parsers: &[Receiver<Result<Vec<Parsed>>>]) -> Result<Registry> {
    let mut registry = Registry::default();
    for piece in parsers.iter().cycle().map_while(|parser| parser.recv().ok()) {
        for parsed in piece? {
            match parsed {
                Parsed::Device(device, record) => registry.restore_device(device, record),
                Parsed::Module(device, module, record) => registry
                    .restore_module(&device, module.clone(), record)
                    .map_err(|refusal| damaged(path, device.as_str(), module.as_str(), &refusal.text))?,
            }
        }
    }
    Ok(registry)
}

fn damaged(path: &Path, device: &str, module: &str, reason: &str) -> Error {
    Error::Damaged { path: path.to_owned(), reason: format!("{device} {module}: {reason}") }
}

/// Rows that go to a parser at once.
const PIECE: usize = 1024;

/// Pieces that wait for a parser, or behind it, at most: they bound the memory that this takes.
const PIECES_WAITING: usize = 4;
