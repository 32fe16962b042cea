//! Values in PostgreSQL.

use bytes::BytesMut;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

use super::super::column::{Cell, Misread, ResultRow, Value};
use super::super::stored::{NotUnderstood, row_name};
use super::client::Error;
use crate::model::run_id::RunId;
use crate::model::unknown_value::UnknownValue;

impl ToSql for Value<'_> {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Misread> {
        match self {
            Self::Flag(flag) => flag.to_sql(kind, out),
            Self::Integer(number) if *kind == Type::INT4 => i32::try_from(*number)?.to_sql(kind, out),
            Self::Integer(number) => number.to_sql(kind, out),
            Self::Null => Ok(IsNull::Yes),
            Self::Text(text) => text.to_sql(kind, out),
        }
    }

    accepts!(BOOL, INT4, INT8, TEXT);
    to_sql_checked!();
}

/// A cell as a parameter of a statement.
pub(super) fn parameter<'c>(cell: &'c Cell<'c>) -> &'c (dyn ToSql + Sync) {
    &cell.value
}

impl<'a> FromSql<'a> for Value<'a> {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Misread> {
        Ok(match *kind {
            Type::BOOL => Self::Flag(bool::from_sql(kind, raw)?),
            Type::INT4 => Self::Integer(i32::from_sql(kind, raw)?.into()),
            Type::INT8 => Self::Integer(i64::from_sql(kind, raw)?),
            _ => Self::Text(<&str>::from_sql(kind, raw)?.into()),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, Misread> {
        Ok(Self::Null)
    }

    accepts!(BOOL, INT4, INT8, TEXT);
}

impl ResultRow for Row {
    type Error = Error;

    fn read_at<T>(
        &self,
        position: usize,
        read: impl FnOnce(Value<'_>) -> Result<T, Misread>,
    ) -> Result<T, Error> {
        let value = self.try_get(position).map_err(|error| {
            // The client's own words are about types of Rust.
            error.into_source().unwrap_or_else(|| UnknownValue::new("of another type").into())
        });
        value.and_then(read).map_err(|error| misread(self, position, error))
    }
}

/// The error of a value of this row, with its place.
pub(super) fn misread(row: &Row, position: usize, source: Misread) -> Error {
    let number = |name| row.try_get::<_, i64>(name).ok();
    let text = |name| row.try_get::<_, Option<&str>>(name).ok().flatten();
    let column = row.columns().get(position);
    Error::NotUnderstood(NotUnderstood {
        run: number("run").or_else(|| number("id")).map(RunId),
        row: text("device_id").map(|device| row_name(device, text("module_id").unwrap_or_default())),
        column: column.map_or_else(|| position.to_string(), |column| column.name().to_owned()),
        written_by: text("tool_version").map(str::to_owned),
        source,
    })
}
