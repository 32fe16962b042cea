//! The store of a service: its content in SQLite, written by one thread.
//!
//! Requests pass on their rows while they hold the lock of the content, so rows arrive in the order of
//! the writes. The thread commits all waiting rows at once, and then notifies the requests; a
//! request is acknowledged only after that. No acknowledged write is lost when the process ends.

use hub_types::shown::ShownPath;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use rusqlite::{Connection, Transaction};
use tokio::sync::oneshot;

use crate::error::{Error, Result};

mod wal;

/// The tables of a database: their schema, and the ways of their content to rows and back.
pub(crate) trait Tables: 'static {
    /// The change of one row.
    type Row: Send + 'static;
    /// The content of all tables.
    type Content;

    /// The format of the database: its `user_version`, which the schema sets.
    const FORMAT: i64;
    /// The names of the tables.
    const NAMES: &'static [&'static str];
    /// The statements that make missing tables.
    const SCHEMA: &'static str;

    /// Loads the content of all tables.
    fn load(connection: &Connection, path: &Path) -> Result<Self::Content>;

    /// Writes or deletes a row.
    fn write(transaction: &Transaction<'_>, row: &Self::Row) -> rusqlite::Result<()>;
}

/// The writer's side of the store.
#[derive(Debug)]
pub(crate) struct Store<T: Tables> {
    batches: mpsc::Sender<Batch<T>>,
    writer: JoinHandle<()>,
    has_failed: Arc<AtomicBool>,
}

/// Resolves once the rows are durable; an error means that they may not be.
pub(crate) type Committed = oneshot::Receiver<()>;

struct Batch<T: Tables> {
    rows: Vec<T::Row>,
    committed: oneshot::Sender<()>,
}

impl<T: Tables> Store<T> {
    /// Opens the database and starts the writer. Returns the store and its content.
    pub(crate) fn open(path: &Path) -> Result<(Self, T::Content)> {
        check_log(path)?;
        let connection = connect::<T>(path)?;
        let stored = T::load(&connection, path)?;
        let (batches, receiver) = mpsc::channel();
        let has_failed = Arc::new(AtomicBool::new(false));
        let failed = Arc::clone(&has_failed);
        let writer = thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || write_batches::<T>(connection, &receiver, &failed))
            .map_err(Error::Thread)?;
        Ok((Self { batches, writer, has_failed }, stored))
    }

    /// Passes rows to the writer.
    pub(crate) fn write(&self, rows: Vec<T::Row>) -> Committed {
        let (committed, receiver) = oneshot::channel();
        // Where the writer is gone, dropping the sender tells the caller.
        let _ = self.batches.send(Batch { rows, committed });
        receiver
    }

    /// Returns true if the writer is running.
    pub(crate) fn is_alive(&self) -> bool {
        !self.has_failed.load(Ordering::Acquire) && !self.writer.is_finished()
    }

    /// Waits until all rows are durable.
    pub(crate) fn close(self) {
        drop(self.batches);
        if self.writer.join().is_err() {
            tracing::error!("the store's writer panicked");
        }
    }
}

fn write_batches<T: Tables>(
    mut connection: Connection,
    batches: &mpsc::Receiver<Batch<T>>,
    has_failed: &AtomicBool,
) {
    while let Ok(first) = batches.recv() {
        let gathered: Vec<_> =
            std::iter::once(first).chain(batches.try_iter().take(MAX_GATHERED - 1)).collect();
        if let Err(error) = commit(&mut connection, &gathered) {
            // Later rows could build on lost ones: from here on nothing is acknowledged any more.
            tracing::error!(%error, "the database can't be written; the hub answers nothing more");
            // Before anybody learns of it: what is in memory is not to be shown any more.
            has_failed.store(true, Ordering::Release);
            return;
        }
        for batch in gathered {
            // A caller that went away does not wait for the answer.
            let _ = batch.committed.send(());
        }
    }
}

fn commit<T: Tables>(connection: &mut Connection, batches: &[Batch<T>]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    batches.iter().flat_map(|batch| &batch.rows).try_for_each(|row| T::write(&transaction, row))?;
    transaction.commit()
}

/// Refuses a log of which SQLite would silently discard transactions.
fn check_log(path: &Path) -> Result<()> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let log = PathBuf::from(log);
    let looked = wal::lost(&log);
    let looked = looked.map_err(|source| Error::File { action: "read", path: log.clone(), source })?;
    let Some(wal::Lost { at, transactions }) = looked else { return Ok(()) };
    let reason = format!(
        "up to {transactions} acknowledged writes from byte {at} on can't be read; keep a copy of the folder, then \
         `truncate -s {at} {}` lets the hub start with what comes before them",
        ShownPath(&log)
    );
    Err(Error::Damaged { path: log, reason })
}

fn connect<T: Tables>(path: &Path) -> Result<Connection> {
    let failed = |source| store_error(path, source);
    let connection = Connection::open(path).map_err(failed)?;
    check_format::<T>(&connection, path)?;
    let set_up = || {
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // With FULL a commit survives a power failure as well, not only the end of the process.
        connection.pragma_update(None, "synchronous", "FULL")?;
        // A record holds keys: what is deleted is overwritten.
        connection.pragma_update(None, "secure_delete", "ON")?;
        let transaction = connection.unchecked_transaction()?;
        transaction.execute_batch(T::SCHEMA)?;
        transaction.commit()
    };
    set_up().map_err(failed)?;
    Ok(connection)
}

/// Refuses a database of a newer version or of a different program, and one that has lost its
/// tables.
fn check_format<T: Tables>(connection: &Connection, path: &Path) -> Result<()> {
    let count = |sql: &str| -> rusqlite::Result<i64> { connection.query_row(sql, (), |row| row.get(0)) };
    let failed = |source| store_error(path, source);
    let found = count("SELECT user_version FROM pragma_user_version").map_err(failed)?;
    let tables = count("SELECT count(*) FROM sqlite_schema WHERE type = 'table'").map_err(failed)?;
    let known = T::NAMES.iter().map(|name| Ok(i64::from(connection.table_exists(None, *name)?)));
    let known: i64 = known.sum::<rusqlite::Result<_>>().map_err(failed)?;
    let has_all = known == T::NAMES.len() as i64;
    let damaged = |reason: &str| Error::Damaged { path: path.to_owned(), reason: reason.to_owned() };
    match found {
        found if found == T::FORMAT && has_all => Ok(()),
        found if found == T::FORMAT => {
            Err(damaged("its tables are missing; put it back from a copy, or serve another folder"))
        }
        // New, or left by a program that was killed while it made the tables one by one.
        0 if tables == known => Ok(()),
        1.. if has_all => Err(Error::Newer { path: path.to_owned(), found, known: T::FORMAT }),
        _ => Err(damaged("it is the database of a different program")),
    }
}

pub(super) fn store_error(path: &Path, source: rusqlite::Error) -> Error {
    Error::Store { path: PathBuf::from(path), source }
}

/// The largest number of requests whose rows go into one commit.
const MAX_GATHERED: usize = 256;
