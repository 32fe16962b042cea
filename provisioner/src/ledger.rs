//! The ledger: what was asked of the hub, what became of it, and what is still to be done.
//!
//! One row per run and one per identity in it, in an SQLite file. A row is written `sent` before
//! the request leaves, and gets its final state after the answer has come; so after a crash a row
//! that is `sent` is one whose effect must be asked of the hub. The hub decides, the ledger
//! explains. No secret is ever written into it.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

pub use crate::lifecycle::Effect;
pub use chunks::{Chunk, Claim, Lease};
pub use credentials::{Credential, CredentialKind, Taken};
pub use record::{Record, RowState};
pub use rows::{LedgerRow, Loader, RowFilter, RunFacts};
pub use runs::{Run, RunId, RunOptions, RunState, Totals};
pub use shared::SharedLedger;

mod chunks;
mod credentials;
mod record;
mod rows;
mod runs;
mod schema;
mod shared;
#[cfg(test)]
mod tests;

/// An open ledger.
pub struct Ledger {
    connection: Connection,
    path: PathBuf,
    /// Held as long as the ledger is open for writing.
    _lock: Option<File>,
}

impl Ledger {
    /// Opens a ledger for writing, and makes it where it is missing. Only one process at a time may
    /// have it open so.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        let lock = lock(path)?;
        let ledger = Self::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        Self { _lock: Some(lock), ..ledger }.with_schema()
    }

    /// Opens an existing ledger for reading, also while a run writes to it.
    pub fn open_to_read(path: &Path) -> Result<Self, LedgerError> {
        if !path.exists() {
            return Err(LedgerError::Missing { path: path.to_owned() });
        }
        // Reading a WAL file needs its shared memory, which is written to: hence not read-only.
        Self::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?.with_schema()
    }

    /// Opens a ledger in a nameless file that goes with it, for a plan.
    pub fn open_temporary() -> Result<Self, LedgerError> {
        Self::connect(Path::new(""), OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?
            .with_schema()
    }

    fn connect(path: &Path, flags: OpenFlags) -> Result<Self, LedgerError> {
        let path = path.to_owned();
        match Connection::open_with_flags(&path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX) {
            Ok(connection) => Ok(Self { connection, path, _lock: None }),
            Err(source) => Err(LedgerError::Database { path, source }),
        }
    }

    fn with_schema(self) -> Result<Self, LedgerError> {
        schema::prepare(&self.connection).map_err(|source| self.error(source))?;
        match schema::version(&self.connection).map_err(|source| self.error(source))? {
            schema::VERSION => Ok(self),
            found => Err(LedgerError::Version { path: self.path, found }),
        }
    }

    fn error(&self, source: rusqlite::Error) -> LedgerError {
        LedgerError::Database { path: self.path.clone(), source }
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What can go wrong with a ledger.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// Another process writes to it.
    #[error("{} is in use by another provisioner", path.display())]
    Busy {
        /// The ledger.
        path: PathBuf,
    },
    /// The database can't be read or written.
    #[error("the ledger {} can't be used", path.display())]
    Database {
        /// The ledger.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The lock file beside it can't be made.
    #[error("{} can't be locked", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is none.
    #[error("there is no ledger at {}", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// There is no such run in it.
    #[error("there is no run {run} in {}", path.display())]
    NoSuchRun {
        /// The ledger.
        path: PathBuf,
        /// The run.
        run: RunId,
    },
    /// Another version of this program wrote it.
    #[error("{} has ledger version {found}, this program writes version {}", path.display(), schema::VERSION)]
    Version {
        /// The ledger.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
}

fn lock(ledger: &Path) -> Result<File, LedgerError> {
    let mut name = ledger.as_os_str().to_owned();
    name.push(".lock");
    let path = PathBuf::from(name);
    let file = File::options().create(true).write(true).truncate(false).open(&path);
    let file = file.map_err(|source| LedgerError::Lock { path: path.clone(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(LedgerError::Busy { path: ledger.to_owned() }),
        Err(std::fs::TryLockError::Error(source)) => Err(LedgerError::Lock { path, source }),
    }
}
