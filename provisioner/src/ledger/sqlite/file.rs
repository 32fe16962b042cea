//! The check that a file is a ledger: other files are neither written to nor used as one.

use hub_types::shown::ShownPath;
use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::super::LedgerError;
use super::error::of_file;

/// A file as it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileState {
    /// An empty file, as it is after creation, or after its creator was killed.
    Empty,
    /// The file does not exist.
    Missing,
    /// The file begins as an SQLite database.
    Sqlite,
}

/// Checks a file's type and its first bytes. Everything that can't be a ledger is an error.
pub(super) fn look(path: &Path) -> Result<FileState, LedgerError> {
    let no_ledger = |what| LedgerError::NoLedger { path: path.to_owned(), what };
    let metadata = match std::fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(FileState::Missing),
        metadata => metadata.map_err(|source| unusable(path, source))?,
    };
    if metadata.is_dir() {
        return Err(no_ledger("it is a folder"));
    }
    if !metadata.is_file() {
        return Err(no_ledger("it is not a regular file"));
    }
    if metadata.len() == 0 {
        return Ok(FileState::Empty);
    }
    match first_bytes(path, &metadata).map_err(|source| unusable(path, source))?.as_slice() {
        MAGIC => Ok(FileState::Sqlite),
        _ => Err(no_ledger(
            "it does not begin as an SQLite file does: it is a different file, or its beginning is damaged",
        )),
    }
}

fn first_bytes(path: &Path, metadata: &Metadata) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(MAGIC.len());
    if metadata.len() >= HEADER_BYTES {
        File::open(path)?.take(MAGIC.len() as u64).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn unusable(path: &Path, source: std::io::Error) -> LedgerError {
    LedgerError::Database { ledger: ShownPath(path).to_string(), is_shared: false, source: source.into() }
}

/// Refuses a database of a different program, or one with a damaged header. Nothing is written.
pub(super) fn refuse_foreign(connection: &Connection, path: &Path) -> Result<(), LedgerError> {
    match owner(connection).map_err(|source| of_file(path, source))? {
        FileOwner::Us => Ok(()),
        FileOwner::Other => Err(LedgerError::NoLedger {
            path: path.to_owned(),
            what: "it is the database of a different program",
        }),
        FileOwner::Nobody(version) => Err(LedgerError::Damaged {
            path: path.to_owned(),
            finding: format!("its version {version} is not one of a ledger"),
        }),
    }
}

/// The program that a database is of.
enum FileOwner {
    /// It is marked as a ledger, or has the tables of a version without a mark, or it is new.
    Us,
    /// It has a different mark or different tables.
    Other,
    /// It is marked as a ledger, with a version that no ledger had.
    Nobody(i64),
}

fn owner(connection: &Connection) -> rusqlite::Result<FileOwner> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let tables = |names: &str| {
        let sql = format!("SELECT count(*) FROM sqlite_master WHERE {names}");
        connection.query_row(&sql, [], |row| row.get::<_, usize>(0))
    };
    let is_ours = match (number("application_id")?, number("user_version")?) {
        (APPLICATION_ID, version) if version < FIRST_WITH_MARK => return Ok(FileOwner::Nobody(version)),
        (APPLICATION_ID, _) => true,
        (0, 0) => tables("TRUE")? == 0,
        (0, version) if version < FIRST_WITH_MARK => {
            tables("type = 'table' AND name IN ('run', 'row', 'credential')")? == 3
        }
        _ => false,
    };
    Ok(if is_ours { FileOwner::Us } else { FileOwner::Other })
}

/// The lock of a ledger, which its only writer holds until the value is dropped.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Drop for Lock {
    /// Unlocks the file explicitly: closing it is not enough if a different thread has just started
    /// a process, which keeps the open file until it executes its program.
    fn drop(&mut self) {
        // A lock that can't be given back ends with the process.
        let _ = self.0.unlock();
    }
}

/// Locks a ledger for its only writer.
pub(super) fn lock(ledger: &Path) -> Result<Lock, LedgerError> {
    let mut name = ledger.as_os_str().to_owned();
    name.push(".lock");
    let path = PathBuf::from(name);
    let file = File::options().create(true).read(true).write(true).truncate(false).open(&path);
    let mut file = file.map_err(|source| LedgerError::Lock { path: path.clone(), source })?;
    match file.try_lock() {
        Ok(()) => {
            // For people only: a disk that is full must not keep a run from ending.
            let _ = sign(&mut file);
            Ok(Lock(file))
        }
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(LedgerError::Busy { path: ledger.to_owned(), holder: holder(file) })
        }
        Err(std::fs::TryLockError::Error(source)) => Err(LedgerError::Lock { path, source }),
    }
}

/// The holder of a lock, as it signed the file.
fn holder(file: File) -> Option<String> {
    let mut holder = String::new();
    let read = file.take(MAX_HOLDER).read_to_string(&mut holder);
    let holder: String = holder.chars().filter(|character| !character.is_control()).collect();
    Some(holder).filter(|text| read.is_ok() && !text.is_empty())
}

/// Writes into a lock file which process holds it.
fn sign(file: &mut File) -> std::io::Result<()> {
    let host = whoami::hostname().unwrap_or_else(|_| "an unknown host".to_owned());
    file.set_len(0)?;
    writeln!(file, "process {} on {host}", std::process::id())
}

/// The first bytes of every SQLite database (SQLite, "Database File Format", 1.3).
const MAGIC: &[u8] = b"SQLite format 3\0";
/// The length of a database's header.
const HEADER_BYTES: u64 = 100;
/// The mark of a ledger in the header: "PROV".
pub(super) const APPLICATION_ID: i64 = 0x5052_4f56;
/// The first version of the tables that has it.
const FIRST_WITH_MARK: i64 = 4;
/// A process's number and a host's name are shorter.
const MAX_HOLDER: u64 = 512;
