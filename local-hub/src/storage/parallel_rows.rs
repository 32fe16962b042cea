//! The loading of a large table: one thread reads rows, the others parse them.
//!
//! Rows are passed on in parcels, in the order of the query. A parcel begins with a row that needs
//! no row before it; a parcel's number is its position.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use rusqlite::{Connection, Row};
use zeroize::Zeroizing;

use super::store::store_error;
use crate::error::{Error, Result};

/// The bytes of a row, by column.
pub(crate) type Columns<'r, const N: usize> = [&'r [u8]; N];

/// Loads the result of a query of `N` columns. `begins` tells if a parcel may begin with a row, and
/// `restore` adds a row to the values of its parcel; its error names the row.
pub(crate) fn load<const N: usize, T: Send>(
    connection: &Connection,
    path: &Path,
    sql: &str,
    begins: fn(Columns<'_, N>) -> bool,
    restore: fn(&mut Vec<T>, Columns<'_, N>) -> std::result::Result<(), String>,
) -> Result<Vec<T>> {
    let workers = thread::available_parallelism().map_or(1, usize::from).min(MAX_WORKERS);
    let (sender, receiver) = mpsc::sync_channel(workers);
    // Shared by the workers only, so that sending fails once none is left.
    let receiver = Arc::new(Mutex::new(receiver));
    let mut parsed = thread::scope(|scope| {
        let receivers = std::iter::repeat_n(receiver, workers);
        let workers: Vec<_> =
            receivers.map(|receiver| scope.spawn(move || parse_parcels(&receiver, restore))).collect();
        read(connection, sql, begins, &sender).map_err(|source| store_error(path, source))?;
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
    let mut values = Vec::new();
    for (_, parcel) in parsed {
        let damaged = |reason| Error::Damaged { path: path.to_owned(), reason };
        values.append(&mut parcel.map_err(damaged)?);
    }
    Ok(values)
}

/// A parcel's number and its values, or the error in it.
type Parsed<T> = (usize, std::result::Result<Vec<T>, String>);

/// Consecutive rows. They contain keys.
struct Chunk<const N: usize> {
    number: usize,
    /// The number of bytes in each column of a row.
    rows: Vec<[usize; N]>,
    bytes: Zeroizing<Vec<u8>>,
}

fn read<const N: usize>(
    connection: &Connection,
    sql: &str,
    begins: fn(Columns<'_, N>) -> bool,
    parcels: &mpsc::SyncSender<Chunk<N>>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query(())?;
    let mut parcel = Chunk::with_number(0);
    while let Some(row) = rows.next()? {
        let columns = columns(row)?;
        if begins(columns) && parcel.is_full() {
            let next = Chunk::with_number(parcel.number + 1);
            if parcels.send(std::mem::replace(&mut parcel, next)).is_err() {
                // All workers panicked, which joining them tells.
                return Ok(());
            }
        }
        parcel.push(columns);
    }
    let _ = parcels.send(parcel);
    Ok(())
}

fn columns<'r, const N: usize>(row: &'r Row<'_>) -> rusqlite::Result<Columns<'r, N>> {
    let mut columns = [&[][..]; N];
    for (number, column) in columns.iter_mut().enumerate() {
        *column = row.get_ref(number)?.as_bytes()?;
    }
    Ok(columns)
}

impl<const N: usize> Chunk<N> {
    fn with_number(number: usize) -> Self {
        Self { number, rows: Vec::new(), bytes: Zeroizing::new(Vec::with_capacity(PARCEL_BYTES)) }
    }

    fn is_full(&self) -> bool {
        // There is room for the rows that belong to the last one, unless they are very large.
        self.bytes.len() >= PARCEL_BYTES / 2
    }

    fn push(&mut self, columns: Columns<'_, N>) {
        self.make_room(columns.iter().map(|column| column.len()).sum());
        for column in columns {
            self.bytes.extend_from_slice(column);
        }
        self.rows.push(columns.map(<[u8]>::len));
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

    fn parse<T>(
        &self,
        restore: fn(&mut Vec<T>, Columns<'_, N>) -> std::result::Result<(), String>,
    ) -> std::result::Result<Vec<T>, String> {
        let mut values = Vec::with_capacity(self.rows.len());
        let mut rest = self.bytes.as_slice();
        for lengths in &self.rows {
            restore(&mut values, lengths.map(|length| rest.split_off(..length).unwrap_or_default()))?;
        }
        Ok(values)
    }
}

fn parse_parcels<const N: usize, T>(
    parcels: &Mutex<mpsc::Receiver<Chunk<N>>>,
    restore: fn(&mut Vec<T>, Columns<'_, N>) -> std::result::Result<(), String>,
) -> Vec<Parsed<T>> {
    let next = || parcels.lock().unwrap_or_else(PoisonError::into_inner).recv();
    let mut parsed = Vec::new();
    while let Ok(parcel) = next() {
        parsed.push((parcel.number, parcel.parse(restore)));
    }
    parsed
}

/// The text of an id.
pub(crate) fn text(id: &[u8]) -> std::result::Result<&str, String> {
    std::str::from_utf8(id).map_err(|_| "the id is no text".to_owned())
}

/// The largest number of parser threads; more would wait for the thread that reads.
const MAX_WORKERS: usize = 4;
const PARCEL_BYTES: usize = 512 * 1024;
