//! The meaning of SQLite's errors for a ledger.

use std::error::Error as StdError;
use std::path::{Path, PathBuf};

use rusqlite::types::Type;
use rusqlite::{Error, ErrorCode};

use super::super::LedgerError;
use super::super::stored::NotUnderstood;

/// The error of a ledger's file, by its cause, because each cause has a different remedy.
pub(super) fn of_file(path: &Path, source: Error) -> LedgerError {
    let ledger = path.display().to_string();
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
            // A table that was there when the ledger was opened.
            _ if source.to_string().starts_with("no such ") => {
                LedgerError::Damaged { path, source: source.into() }
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                LedgerError::Damaged { path, source: source.into() }
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => LedgerError::Locked { path },
            Some(ErrorCode::DiskFull) => LedgerError::DiskFull { path },
            Some(ErrorCode::ReadOnly) => LedgerError::ReadOnly { path },
            _ => LedgerError::Database { ledger, is_shared: false, source: source.into() },
        },
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
