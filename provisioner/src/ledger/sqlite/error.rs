//! The meaning of SQLite's errors for a ledger.

use std::error::Error as StdError;
use std::path::Path;

use rusqlite::types::Type;
use rusqlite::{Error, ErrorCode, Row};

use super::super::stored::{NotUnderstood, UnknownValue, row_name};
use super::super::{LedgerError, RunId};

/// The error of a ledger's file, by its cause, because each cause has a different remedy.
pub(super) fn of_file(path: &Path, source: Error) -> LedgerError {
    let ledger = path.display().to_string();
    let path = path.to_owned();
    let source = match misread(source) {
        Ok((column, source)) => {
            let value = source.downcast().map(|value| *value).unwrap_or_else(|source| NotUnderstood {
                run: None,
                row: None,
                column: column.to_string(),
                written_by: None,
                source,
            });
            return LedgerError::NotUnderstood { ledger, value: Box::new(value) };
        }
        Err(source) => source,
    };
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
            _ => LedgerError::Database { ledger, source: source.into() },
        },
    }
}

/// Reads a row of a result. The error of an unknown value names its place: the run in the column
/// `run` or `id`, and the identity in `device_id` and `module_id`, if there are such columns.
pub(super) fn read<T>(
    row: &Row<'_>,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    read(row).map_err(|error| placed(row, error))
}

/// Parses the text of a column.
pub(super) fn parsed<T: std::str::FromStr<Err: StdError + Send + Sync + 'static>>(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str().map_err(|error| unknown(column, error))?;
    text.parse().map_err(|error| unknown(column, error))
}

/// Reads a column that holds JSON.
pub(super) fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_bytes().map_err(|error| unknown(column, error))?;
    serde_json::from_slice(text).map_err(|error| unknown(column, error))
}

/// The same where the column may be empty.
pub(super) fn optional<T>(
    row: &Row<'_>,
    column: usize,
    read: impl FnOnce(&Row<'_>, usize) -> rusqlite::Result<T>,
) -> rusqlite::Result<Option<T>> {
    match row.get_ref(column)?.data_type() {
        Type::Null => Ok(None),
        _ => read(row, column).map(Some),
    }
}

/// The error of a value that can't be written.
pub(super) fn unstorable(error: impl StdError + Send + Sync + 'static) -> Error {
    Error::ToSqlConversionFailure(error.into())
}

/// The error of a value in this column.
pub(super) fn unknown(column: usize, error: impl StdError + Send + Sync + 'static) -> Error {
    Error::FromSqlConversionFailure(column, Type::Text, error.into())
}

/// The column and the reason of an error about a value; other errors are returned unchanged.
fn misread(error: Error) -> Result<(usize, Box<dyn StdError + Send + Sync>), Error> {
    Ok(match error {
        Error::FromSqlConversionFailure(column, _, source) => (column, source),
        Error::InvalidColumnType(column, _, found) => {
            (column, UnknownValue::new(format!("of type {found}")).into())
        }
        Error::IntegralValueOutOfRange(column, value) => {
            (column, UnknownValue::new(value.to_string()).into())
        }
        Error::Utf8Error(column, error) => (column, error.into()),
        other => return Err(other),
    })
}

fn placed(row: &Row<'_>, error: Error) -> Error {
    let (column, source) = match misread(error) {
        Ok(misread) => misread,
        Err(other) => return other,
    };
    let number = |name| row.get::<_, i64>(name).ok();
    let text = |name| row.get::<_, String>(name).ok();
    let value = NotUnderstood {
        run: number("run").or_else(|| number("id")).map(RunId),
        row: text("device_id").map(|device| row_name(&device, &text("module_id").unwrap_or_default())),
        column: row.as_ref().column_name(column).map_or_else(|_| column.to_string(), str::to_owned),
        written_by: text("tool_version"),
        source,
    };
    unknown(column, value)
}
