//! The meaning of SQLite's errors for a ledger.

use hub_types::shown::ShownPath;
use std::error::Error as StdError;
use std::path::{Path, PathBuf};

use rusqlite::ffi::{SQLITE_ERROR, SQLITE_IOERR_SHMSIZE};
use rusqlite::types::Type;
use rusqlite::{Error, ErrorCode};

use super::super::LedgerError;
use super::super::stored::NotUnderstood;

/// The error of a ledger's file, by its cause, because each cause has a different remedy.
pub(super) fn of_file(path: &Path, source: Error) -> LedgerError {
    let ledger = ShownPath(path).to_string();
    let path = path.to_owned();
    match value_of(source) {
        Ok(value) => LedgerError::NotUnderstood { ledger, value },
        Err(source) => of_database(ledger, path, source),
    }
}

fn of_database(ledger: String, path: PathBuf, source: Error) -> LedgerError {
    match source {
        Error::ToSqlConversionFailure(source) => LedgerError::NotStorable(source),
        source => match source.sqlite_error_code() {
            // The statements are constant, and their tables were there when the ledger was opened.
            _ if is_other_schema(&source) => {
                LedgerError::Damaged { path, finding: "a table or a column is missing".to_owned() }
            }
            Some(ErrorCode::DatabaseCorrupt) => {
                LedgerError::Damaged { path, finding: "its content contradicts itself".to_owned() }
            }
            Some(ErrorCode::NotADatabase) => {
                LedgerError::Damaged { path, finding: "it is not an SQLite database".to_owned() }
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => LedgerError::Locked { path },
            Some(ErrorCode::DiskFull) => LedgerError::DiskFull { path },
            _ if is_without_room(&source) => LedgerError::DiskFull { path },
            Some(ErrorCode::ReadOnly) => LedgerError::ReadOnly { path },
            Some(ErrorCode::CannotOpen) if is_folder_missing(&path) => LedgerError::NoFolder { path },
            Some(code) => {
                LedgerError::Database { ledger, is_shared: false, source: in_words(code, &source).into() }
            }
            None => LedgerError::Database { ledger, is_shared: false, source: source.into() },
        },
    }
}

/// Returns true if a statement does not fit the tables of the file: SQLite has no code of its own for a table or
/// a column that is missing.
fn is_other_schema(source: &Error) -> bool {
    let is_generic = source.sqlite_extended_error_code() == Some(SQLITE_ERROR);
    is_generic || matches!(source, Error::SqlInputError { .. })
}

/// Returns true if there is no room for the file with suffix `-shm`, which SQLite does not call a full disk.
fn is_without_room(source: &Error) -> bool {
    source.sqlite_error().is_some_and(|error| error.extended_code == SQLITE_IOERR_SHMSIZE)
}

fn is_folder_missing(path: &Path) -> bool {
    path.parent().is_some_and(|folder| !folder.as_os_str().is_empty() && !folder.exists())
}

/// An error of SQLite without its number.
fn in_words(code: ErrorCode, error: &Error) -> String {
    match code {
        ErrorCode::CannotOpen => "the file can't be opened".to_owned(),
        ErrorCode::PermissionDenied => "this user has no right to open the file".to_owned(),
        ErrorCode::SystemIoFailure => "the disk reports an error".to_owned(),
        _ => error.to_string(),
    }
}

/// The error of a value that can't be written.
pub(super) fn unstorable(error: impl StdError + Send + Sync + 'static) -> Error {
    Error::ToSqlConversionFailure(error.into())
}

/// The error of a value that is not understood.
pub(super) fn not_understood(value: NotUnderstood) -> Error {
    Error::FromSqlConversionFailure(0, Type::Null, value.into())
}

/// The value that is not understood, if the error is about one; other errors are returned
/// unchanged.
pub(super) fn value_of(error: Error) -> Result<Box<NotUnderstood>, Error> {
    match error {
        Error::FromSqlConversionFailure(column, kind, source) => {
            source.downcast().map_err(|source| Error::FromSqlConversionFailure(column, kind, source))
        }
        error => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    /// What SQLite says when there is no room for the file `-shm`.
    #[test]
    fn a_disk_without_room_for_shared_memory_is_full() {
        let source = Error::SqliteFailure(ffi::Error::new(SQLITE_IOERR_SHMSIZE), None);
        let error = of_file(Path::new("line-3.ledger"), source).to_string();
        assert_eq!(error, "there is no space left for the ledger line-3.ledger");
    }
}
