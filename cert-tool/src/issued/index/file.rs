//! The file of the index: its tables, its version, and the right to issue.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::{IssuanceIndex, authorities};
use crate::error::Error;
use crate::platform::fs;

impl IssuanceIndex {
    /// Opens a CA's index to issue; only one process can.
    pub(crate) fn open(ca: &Path) -> Result<Self, Error> {
        let lock = Lock::take(ca)?;
        Self::open_with(&ca.join(INDEX), Some(lock))
    }

    /// Opens an index file, and makes it if it is missing.
    pub(crate) fn open_with(path: &Path, lock: Option<Lock>) -> Result<Self, Error> {
        let path = path.to_owned();
        // SQLite gives its other files the mode of this one.
        drop(fs::open_private(&path)?);
        let connect = || {
            let connection = Connection::open(&path)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            // Otherwise a statement may be prepared anew each time a value is bound.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
            connection.pragma_update(None, "journal_mode", "wal")?;
            // Written means written, also after a power cut.
            connection.pragma_update(None, "synchronous", "full")?;
            let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
            if version == 0 {
                connection.execute_batch(SCHEMA)?;
            }
            if version < VERSION {
                let steps = format!(
                    "BEGIN EXCLUSIVE; {} PRAGMA user_version = {VERSION}; COMMIT;",
                    authorities::TABLE
                );
                connection.execute_batch(&steps)?;
            }
            Ok((connection, version))
        };
        let (connection, version) = connect().map_err(|source| Error::database(&path, source))?;
        refuse_newer(&path, version)?;
        Ok(Self { path, connection, has_ordered_keys: false, _lock: lock })
    }

    /// Opens a CA's index without the right to write it; `None` if the CA has issued nothing yet.
    pub(crate) fn open_to_read(ca: &Path) -> Result<Option<Self>, Error> {
        Self::open_file_to_read(ca.join(INDEX))
    }

    /// The same of the index in a file.
    pub(crate) fn open_file_to_read(path: PathBuf) -> Result<Option<Self>, Error> {
        if !fs::is_present(&path)? {
            return Ok(None);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connect = || {
            let connection = Connection::open_with_flags(&path, flags)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
            Ok((connection, version))
        };
        let (connection, version) = connect().map_err(|source| Error::database(&path, source))?;
        refuse_newer(&path, version)?;
        Ok(Some(Self { path, connection, has_ordered_keys: false, _lock: None }))
    }
}

fn refuse_newer(path: &Path, version: i64) -> Result<(), Error> {
    match version > VERSION {
        true => Err(Error::BadCa {
            path: path.to_owned(),
            reason: format!("its index has version {version}, and this program knows {VERSION}"),
        }),
        false => Ok(()),
    }
}

/// The right to issue, held by one process at a time.
pub(crate) struct Lock(File);

impl Lock {
    fn take(ca: &Path) -> Result<Self, Error> {
        let path = ca.join(LOCK);
        let file = fs::open_private(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(Error::Locked { path: ca.to_owned() }),
            Err(TryLockError::Error(source)) => Err(Error::io("lock", &path)(source)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough while a process that is just being started shares the open file.
        let _ = self.0.unlock();
    }
}

pub(crate) const INDEX: &str = "index.db";
const LOCK: &str = "index.lock";
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
const VERSION: i64 = 2;

const SCHEMA: &str = "
BEGIN EXCLUSIVE;
CREATE TABLE IF NOT EXISTS outputs (
    id INTEGER PRIMARY KEY,
    -- Also in a file in the folder, which may be moved.
    token TEXT NOT NULL UNIQUE,
    path TEXT NOT NULL,
    sink TEXT NOT NULL,
    -- Certificates of this output up to this one have reached it.
    released INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS certificates (
    id INTEGER PRIMARY KEY,
    output INTEGER NOT NULL REFERENCES outputs,
    -- `device` or `device/module`.
    identity TEXT NOT NULL,
    serial BLOB NOT NULL,
    sha256 BLOB NOT NULL,
    sha1 BLOB NOT NULL,
    -- SHA-256 of the SubjectPublicKeyInfo.
    key BLOB NOT NULL,
    -- Seconds since 1970.
    not_before INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    auth INTEGER NOT NULL,
    -- Places in the files of the output.
    entry_at INTEGER NOT NULL,
    certificate_at INTEGER NOT NULL,
    key_at INTEGER,
    list_at INTEGER NOT NULL,
    -- The thumbprint of the certificate that this one takes the place of.
    replaced BLOB,
    -- Where the private key is when it is not in the output.
    private_key TEXT,
    revoked_at INTEGER,
    -- CRLReason, RFC 5280 section 5.3.1.
    reason INTEGER
);
CREATE INDEX IF NOT EXISTS by_identity ON certificates (identity);
CREATE INDEX IF NOT EXISTS revoked ON certificates (revoked_at) WHERE revoked_at IS NOT NULL;
-- The first 8 bytes of keys, in order, of certificates up to progress.keyed.
CREATE TABLE IF NOT EXISTS keys (
    prefix BLOB NOT NULL,
    certificate INTEGER NOT NULL,
    PRIMARY KEY (prefix, certificate)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS progress (keyed INTEGER NOT NULL, crl_number INTEGER NOT NULL);
INSERT INTO progress SELECT 0, 0 WHERE NOT EXISTS (SELECT 1 FROM progress);
PRAGMA user_version = 1;
COMMIT;
";
