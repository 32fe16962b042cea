//! The store: the content of the registry, in SQLite, written by one thread.
//!
//! Requests pass on their rows while they hold the registry's lock, so rows arrive in the order of
//! the writes. The thread commits all waiting rows at once, and then notifies the requests; a
//! request is acknowledged only after that. No acknowledged write is lost when the process ends.

use hub_types::shown::ShownPath;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use hub_types::{IdentityId, ModuleId};
use rusqlite::{Connection, Transaction};
use tokio::sync::oneshot;

use crate::configurations::Configurations;
use crate::error::{Error, Result};
use crate::jobs::Jobs;
use crate::registry::Registry;

mod loading;
#[cfg(test)]
mod tests;
mod wal;

/// The change of one row: written with this content, or deleted.
#[derive(Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) subject: Subject,
    pub(crate) content: Option<Vec<u8>>,
}

/// The object of a row.
#[derive(Debug, PartialEq)]
pub(crate) enum Subject {
    Configuration(String),
    Identity(IdentityId),
    Job(String),
}

/// The content of a store.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stored {
    pub(crate) registry: Registry,
    pub(crate) configurations: Configurations,
    pub(crate) jobs: Jobs,
}

/// The writer's side of the store.
#[derive(Debug)]
pub(crate) struct Store {
    batches: mpsc::Sender<Batch>,
    writer: JoinHandle<()>,
    has_failed: Arc<AtomicBool>,
}

/// Resolves once the rows are durable; an error means that they may not be.
pub(crate) type Committed = oneshot::Receiver<()>;

#[derive(Debug)]
struct Batch {
    rows: Vec<Row>,
    committed: oneshot::Sender<()>,
}

impl Store {
    /// Opens the database and starts the writer. Returns the store and its content.
    pub(crate) fn open(path: &Path) -> Result<(Self, Stored)> {
        check_log(path)?;
        let connection = connect(path)?;
        let registry = loading::load(&connection, path)?;
        let (configurations, jobs) = load_documents(&connection, path)?;
        let stored = Stored { registry, configurations, jobs };
        let (batches, receiver) = mpsc::channel();
        let has_failed = Arc::new(AtomicBool::new(false));
        let failed = Arc::clone(&has_failed);
        let writer = thread::Builder::new()
            .name("hub-store".to_owned())
            .spawn(move || write_batches(connection, &receiver, &failed))
            .map_err(Error::Thread)?;
        Ok((Self { batches, writer, has_failed }, stored))
    }

    /// Passes rows to the writer.
    pub(crate) fn write(&self, rows: Vec<Row>) -> Committed {
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

fn write_batches(mut connection: Connection, batches: &mpsc::Receiver<Batch>, has_failed: &AtomicBool) {
    while let Ok(first) = batches.recv() {
        let gathered: Vec<Batch> =
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

fn commit(connection: &mut Connection, batches: &[Batch]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    {
        let mut put = transaction.prepare_cached(
            "INSERT INTO identities (device, module, record) VALUES (?1, ?2, ?3)
             ON CONFLICT (device, module) DO UPDATE SET record = excluded.record",
        )?;
        let mut delete =
            transaction.prepare_cached("DELETE FROM identities WHERE device = ?1 AND module = ?2")?;
        for Row { subject, content } in batches.iter().flat_map(|batch| &batch.rows) {
            match subject {
                Subject::Configuration(id) => {
                    commit_document(&transaction, (CONFIGURATION, id), content.as_deref())?;
                }
                Subject::Job(id) => commit_document(&transaction, (JOB, id), content.as_deref())?,
                Subject::Identity(identity) => {
                    let (device, module) = key(identity);
                    match content {
                        Some(content) => put.execute((device, module, content))?,
                        None => delete.execute((device, module))?,
                    };
                }
            }
        }
    }
    transaction.commit()
}

fn commit_document(
    transaction: &Transaction<'_>,
    (kind, id): (&str, &str),
    content: Option<&[u8]>,
) -> rusqlite::Result<()> {
    match content {
        Some(content) => transaction.execute(
            "INSERT INTO documents (kind, id, content) VALUES (?1, ?2, ?3)
             ON CONFLICT (kind, id) DO UPDATE SET content = excluded.content",
            (kind, id, content),
        ),
        None => transaction.execute("DELETE FROM documents WHERE kind = ?1 AND id = ?2", (kind, id)),
    }
    .map(drop)
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

fn connect(path: &Path) -> Result<Connection> {
    let failed = |source| store_error(path, source);
    let connection = Connection::open(path).map_err(failed)?;
    check_format(&connection, path)?;
    let set_up = || {
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // With FULL a commit survives a power failure as well, not only the end of the process.
        connection.pragma_update(None, "synchronous", "FULL")?;
        // A record holds keys: what is deleted is overwritten.
        connection.pragma_update(None, "secure_delete", "ON")?;
        connection.execute_batch(SCHEMA)
    };
    set_up().map_err(failed)?;
    Ok(connection)
}

/// Refuses a database of a newer version or of a different program, and one that has lost its
/// tables.
fn check_format(connection: &Connection, path: &Path) -> Result<()> {
    let count = |sql: &str| -> Result<i64> {
        connection.query_row(sql, (), |row| row.get(0)).map_err(|source| store_error(path, source))
    };
    let found = count("SELECT user_version FROM pragma_user_version")?;
    let tables = count("SELECT count(*) FROM sqlite_schema WHERE type = 'table'")?;
    let ours = count("SELECT count(*) FROM sqlite_schema WHERE name IN ('identities', 'documents')")?;
    let damaged = |reason: &str| Error::Damaged { path: path.to_owned(), reason: reason.to_owned() };
    match found {
        FORMAT if ours == 2 => Ok(()),
        FORMAT => Err(damaged("its tables are missing; put it back from a copy, or serve another folder")),
        0 if tables == 0 => Ok(()),
        1.. if ours == 2 => Err(Error::Newer { path: path.to_owned(), found, known: FORMAT }),
        _ => Err(damaged("it is the database of a different program")),
    }
}

fn load_documents(connection: &Connection, path: &Path) -> Result<(Configurations, Jobs)> {
    let (mut configurations, mut jobs) = (Configurations::default(), Jobs::default());
    let failed = |source| store_error(path, source);
    let mut statement = connection.prepare("SELECT kind, id, content FROM documents").map_err(failed)?;
    let mut rows = statement.query(()).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let kind: String = row.get(0).map_err(failed)?;
        let id: String = row.get(1).map_err(failed)?;
        let content = row.get_ref(2).map_err(failed)?.as_blob().map_err(|error| failed(error.into()))?;
        let damaged = |reason| Error::Damaged { path: path.to_owned(), reason };
        let restored = match kind.as_str() {
            CONFIGURATION => configurations.restore(id.clone(), content),
            JOB => jobs.restore(id.clone(), content),
            _ => return Err(damaged(format!("`{kind}` is no kind"))),
        };
        restored.map_err(|error| damaged(format!("{kind} {id} breaks at column {}", error.column())))?;
    }
    Ok((configurations, jobs))
}

fn key(identity: &IdentityId) -> (&str, &str) {
    (identity.device().as_str(), identity.module().map_or("", ModuleId::as_str))
}

fn store_error(path: &Path, source: rusqlite::Error) -> Error {
    Error::Store { path: PathBuf::from(path), source }
}

/// The largest number of requests whose rows go into one commit.
const MAX_GATHERED: usize = 256;

/// The kinds of the rows of `documents`.
const CONFIGURATION: &str = "configuration";
const JOB: &str = "job";

/// The format of the database: its `user_version`.
const FORMAT: i64 = 1;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS identities (
        device TEXT NOT NULL,
        module TEXT NOT NULL, -- empty for the device itself
        record BLOB NOT NULL,
        PRIMARY KEY (device, module)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS documents (
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        content BLOB NOT NULL,
        PRIMARY KEY (kind, id)
    ) STRICT, WITHOUT ROWID;
    PRAGMA user_version = 1;
";
