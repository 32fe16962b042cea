//! The loading of the database: one thread reads rows, the others parse them.
//!
//! Rows are ordered by their key, so a device comes before its modules. They are passed on in
//! parcels that begin with a device and end before the next; a parcel's number is its position.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use hub_types::{DeviceId, ModuleId};
use rusqlite::{Connection, Row};
use zeroize::Zeroizing;

use super::store_error;
use crate::error::{Error, Result};
use crate::registry::{DeviceRecord, Registry};

/// Loads the registry from the database.
pub(super) fn load(connection: &Connection, path: &Path) -> Result<Registry> {
    let workers = thread::available_parallelism().map_or(1, usize::from).min(MAX_WORKERS);
    let (sender, receiver) = mpsc::sync_channel(workers);
    // Shared by the workers only, so that sending fails once none is left.
    let receiver = Arc::new(Mutex::new(receiver));
    let mut parsed = thread::scope(|scope| {
        let receivers = std::iter::repeat_n(receiver, workers);
        let workers: Vec<_> =
            receivers.map(|receiver| scope.spawn(move || parse_parcels(&receiver))).collect();
        read(connection, &sender).map_err(|source| store_error(path, source))?;
        drop(sender);
        let mut parsed = Vec::new();
        for worker in workers {
            match worker.join() {
                Ok(parcels) => parsed.extend(parcels),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok::<_, Error>(parsed)
    })?;
    parsed.sort_unstable_by_key(|(number, _)| *number);
    let mut devices = Vec::new();
    for (_, parcel) in parsed {
        let damaged = |reason| Error::Damaged { path: path.to_owned(), reason };
        devices.append(&mut parcel.map_err(damaged)?);
    }
    Ok(Registry::restored(devices))
}

/// A device with its modules.
type Device = (DeviceId, Box<DeviceRecord>);

/// A parcel's number and its devices, or the error in it.
type Parsed = (usize, std::result::Result<Vec<Device>, String>);

/// Consecutive rows. They contain keys.
struct Chunk {
    number: usize,
    rows: Vec<Lengths>,
    bytes: Zeroizing<Vec<u8>>,
}

/// The number of a parcel's bytes in each column of a row.
struct Lengths {
    device: usize,
    module: usize,
    record: usize,
}

fn read(connection: &Connection, parcels: &mpsc::SyncSender<Chunk>) -> rusqlite::Result<()> {
    let mut statement =
        connection.prepare("SELECT device, module, record FROM identities ORDER BY device, module")?;
    let mut rows = statement.query(())?;
    let mut parcel = Chunk::with_number(0);
    while let Some(row) = rows.next()? {
        let begins_a_device = row.get_ref(1)?.as_bytes()?.is_empty();
        if begins_a_device && parcel.is_full() {
            let next = Chunk::with_number(parcel.number + 1);
            if parcels.send(std::mem::replace(&mut parcel, next)).is_err() {
                // All workers panicked, which joining them tells.
                return Ok(());
            }
        }
        parcel.push(row)?;
    }
    let _ = parcels.send(parcel);
    Ok(())
}

impl Chunk {
    fn with_number(number: usize) -> Self {
        Self { number, rows: Vec::new(), bytes: Zeroizing::new(Vec::with_capacity(PARCEL_BYTES)) }
    }

    fn is_full(&self) -> bool {
        // There is room for one more device with its modules, unless they are very large.
        self.bytes.len() >= PARCEL_BYTES / 2
    }

    fn push(&mut self, row: &Row<'_>) -> rusqlite::Result<()> {
        let device = row.get_ref(0)?.as_bytes()?;
        let module = row.get_ref(1)?.as_bytes()?;
        let record = row.get_ref(2)?.as_bytes()?;
        self.make_room(device.len() + module.len() + record.len());
        for column in [device, module, record] {
            self.bytes.extend_from_slice(column);
        }
        self.rows.push(Lengths { device: device.len(), module: module.len(), record: record.len() });
        Ok(())
    }

    /// Grows the buffer and wipes the old one, which an automatic reallocation would not do.
    fn make_room(&mut self, length: usize) {
        let wanted = self.bytes.len() + length;
        if wanted > self.bytes.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(wanted * 2));
            larger.extend_from_slice(&self.bytes);
            self.bytes = larger;
        }
    }

    fn parse(&self) -> std::result::Result<Vec<Device>, String> {
        let mut devices: Vec<Device> = Vec::with_capacity(self.rows.len());
        let mut rest = self.bytes.as_slice();
        for lengths in &self.rows {
            let mut take = |length| rest.split_off(..length).unwrap_or_default();
            let (device, module, record) = (take(lengths.device), take(lengths.module), take(lengths.record));
            restore(&mut devices, device, module, record).map_err(|reason| {
                let (device, module) = (String::from_utf8_lossy(device), String::from_utf8_lossy(module));
                format!("{device} {module}: {reason}")
            })?;
        }
        Ok(devices)
    }
}

fn parse_parcels(parcels: &Mutex<mpsc::Receiver<Chunk>>) -> Vec<Parsed> {
    let next = || parcels.lock().unwrap_or_else(PoisonError::into_inner).recv();
    let mut parsed = Vec::new();
    while let Ok(parcel) = next() {
        parsed.push((parcel.number, parcel.parse()));
    }
    parsed
}

/// Restores one row: a device is appended, a module is added to the last device.
fn restore(
    devices: &mut Vec<Device>,
    device: &[u8],
    module: &[u8],
    record: &[u8],
) -> std::result::Result<(), String> {
    // Where a record does not parse, its content must not get into the message: it holds keys.
    let unreadable = |error: serde_json::Error| format!("the record breaks at column {}", error.column());
    if module.is_empty() {
        let id = DeviceId::new(text(device)?).map_err(|error| error.to_string())?;
        devices.push((id, serde_json::from_slice(record).map_err(unreadable)?));
        return Ok(());
    }
    let id = ModuleId::new(text(module)?).map_err(|error| error.to_string())?;
    let record = serde_json::from_slice(record).map_err(unreadable)?;
    match devices.last_mut().filter(|(id, _)| id.as_str().as_bytes() == device) {
        Some((_, device)) => device.modules.insert(id, record),
        None => return Err("the module's device is missing".to_owned()),
    };
    Ok(())
}

fn text(id: &[u8]) -> std::result::Result<&str, String> {
    std::str::from_utf8(id).map_err(|_| "the id is no text".to_owned())
}

/// The largest number of parser threads; more would wait for the thread that reads.
const MAX_WORKERS: usize = 4;
const PARCEL_BYTES: usize = 512 * 1024;
