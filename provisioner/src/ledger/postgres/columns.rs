//! Values of columns: an unknown value is an error that names its place.

use std::str::FromStr;

use serde::Deserialize;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type, accepts};

use super::super::RunId;
use super::super::stored::{NotUnderstood, UnknownValue, row_name};
use super::client::Error;

/// The value of a column.
pub(super) fn get<'r, T: FromSql<'r>>(row: &'r Row, column: usize) -> Result<T, Error> {
    row.try_get(column).map_err(|error| misread(row, column, error))
}

/// The error of a value of this row. It names the run in the column `run` or `id` and the identity
/// in `device_id` and `module`, if there are such columns.
pub(super) fn misread(
    row: &Row,
    column: usize,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    let number = |name| row.try_get::<_, i64>(name).ok();
    let text = |name| row.try_get::<_, Option<&str>>(name).ok().flatten();
    let error = error.into();
    let source = match error.downcast::<tokio_postgres::Error>() {
        // The client's own words are about types of Rust.
        Ok(error) => error.into_source().unwrap_or_else(|| UnknownValue::new("of another type").into()),
        Err(error) => error,
    };
    Error::NotUnderstood(NotUnderstood {
        run: number("run").or_else(|| number("id")).map(RunId),
        row: text("device_id").map(|device| row_name(device, text("module").unwrap_or_default())),
        column: row
            .columns()
            .get(column)
            .map_or_else(|| column.to_string(), |column| column.name().to_owned()),
        written_by: text("tool_version").map(str::to_owned),
        source,
    })
}

/// A text column that holds a `T`.
pub(super) struct Parsed<T>(pub(super) T);

impl<'a, T: FromStr<Err: std::error::Error + Send + Sync + 'static>> FromSql<'a> for Parsed<T> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(std::str::from_utf8(raw)?.parse()?))
    }

    accepts!(TEXT);
}

/// A text column that holds a `T` as JSON.
pub(super) struct Json<T>(pub(super) T);

impl<'a, T: Deserialize<'a>> FromSql<'a> for Json<T> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(serde_json::from_slice(raw)?))
    }

    accepts!(TEXT);
}

/// A column of whole numbers that holds a `T`.
pub(super) struct Number<T>(pub(super) T);

impl<'a, T: TryFrom<i64>> FromSql<'a> for Number<T> {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        let number = match *kind {
            Type::INT4 => i64::from(i32::from_sql(kind, raw)?),
            _ => i64::from_sql(kind, raw)?,
        };
        Ok(Self(T::try_from(number).map_err(|_| UnknownValue::new(number.to_string()))?))
    }

    accepts!(INT4, INT8);
}
