//! Values in SQLite.

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Error, Row};

use super::super::column::{Misread, ResultRow, Value};
use super::super::stored::{NotUnderstood, row_name};
use super::error::not_understood;
use crate::model::run_id::RunId;
use crate::model::unknown_value::UnknownValue;

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Flag(flag) => ValueRef::Integer(i64::from(*flag)),
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Null => ValueRef::Null,
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

impl ResultRow for Row<'_> {
    type Error = Error;

    fn read_at<T>(
        &self,
        position: usize,
        read: impl FnOnce(Value<'_>) -> Result<T, Misread>,
    ) -> rusqlite::Result<T> {
        value(self.get_ref(position)?).and_then(read).map_err(|error| misread(self, position, error))
    }
}

fn value(stored: ValueRef<'_>) -> Result<Value<'_>, Misread> {
    Ok(match stored {
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Null => Value::Null,
        ValueRef::Text(text) => Value::Text(std::str::from_utf8(text)?.into()),
        ValueRef::Blob(_) | ValueRef::Real(_) => {
            return Err(UnknownValue::new(format!("of type {}", stored.data_type())).into());
        }
    })
}

/// The error of a value of this row, with its place.
pub(super) fn misread(row: &Row<'_>, position: usize, source: Misread) -> Error {
    let number = |name| row.get::<_, i64>(name).ok();
    let text = |name| row.get::<_, String>(name).ok();
    not_understood(NotUnderstood {
        run: number("run").or_else(|| number("id")).map(RunId),
        row: text("device_id").map(|device| row_name(&device, &text("module_id").unwrap_or_default())),
        column: row.as_ref().column_name(position).map_or_else(|_| position.to_string(), str::to_owned),
        written_by: text("tool_version"),
        source,
    })
}
