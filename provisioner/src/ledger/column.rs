//! Columns and the values in them, the same for both databases.
//!
//! A type that a column can hold implements [`Stored`]: it becomes a [`Value`] and is made from one.
//! A database only has to read and write values.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use hub_types::identity::StatusReason;
use hub_types::{DeviceId, Etag};
use serde::de::DeserializeOwned;

use super::row::EFFECT;
use super::stored::{NotStorable, json_text};
use super::{RowState, RunOptions, RunState, Verification};
use crate::clock::Timestamp;
use crate::model::compare::Difference;
use crate::model::digest::Sha256Digest;
use crate::model::effect::Effect;
use crate::model::failure::ReasonCode;
use crate::model::run_id::RunId;
use crate::model::spec::StateSpec;
use crate::model::unknown_value::UnknownValue;

/// A value as a database stores it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'v> {
    /// A truth value. SQLite stores it as 0 or 1.
    Flag(bool),
    /// A whole number.
    Integer(i64),
    /// No value.
    Null,
    /// A text.
    Text(Cow<'v, str>),
}

impl Value<'_> {
    /// The value as text.
    pub(super) fn as_text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            other => other.to_string().into(),
        }
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => flag.fmt(f),
            Self::Integer(number) => number.fmt(f),
            Self::Null => f.write_str("NULL"),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// The kind of the values of a column, from which each database derives its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Truth values.
    Flag,
    /// Whole numbers of 64 bits.
    Integer,
    /// Text that is compared byte by byte, regardless of the database's language.
    Key,
    /// Whole numbers of 32 bits.
    SmallInteger,
    /// Text.
    Text,
}

/// The reason why a value is not understood.
pub(super) type Misread = Box<dyn Error + Send + Sync>;

/// A type that a column can hold.
pub(super) trait Stored: Sized {
    /// The kind of its values.
    const KIND: Kind;
    /// True if the column may be empty.
    const IS_OPTIONAL: bool = false;

    /// The value to store.
    fn to_value(&self) -> Result<Value<'_>, NotStorable>;

    /// Reads a stored value. It fails if this version does not know the value.
    fn from_value(value: Value<'_>) -> Result<Self, Misread>;
}

/// A column of a table that holds a `T`.
pub(super) struct Column<T> {
    name: &'static str,
    position: usize,
    holds: PhantomData<fn() -> T>,
}

impl<T: Stored> Column<T> {
    /// The column at this position in its table.
    pub(super) const fn new(name: &'static str, position: usize) -> Self {
        Self { name, position, holds: PhantomData }
    }

    /// Replaces the value.
    pub(super) fn set<'v>(self, value: impl Fits<'v, T>) -> Result<Cell<'v>, NotStorable> {
        self.cell(value, Rule::Replace)
    }

    /// Sets the value if the column is empty.
    pub(super) fn set_first<'v>(self, value: impl Fits<'v, T>) -> Result<Cell<'v>, NotStorable> {
        self.cell(value, Rule::First)
    }

    /// Sets the value if the column is empty, and clears it if the same change says that the run
    /// created the identity.
    pub(super) fn set_first_unless_created<'v>(
        self,
        value: impl Fits<'v, T>,
    ) -> Result<Cell<'v>, NotStorable> {
        self.cell(value, Rule::FirstUnlessCreated)
    }

    /// Adds to the value.
    pub(super) fn add<'v>(self, value: impl Fits<'v, T>) -> Result<Cell<'v>, NotStorable> {
        self.cell(value, Rule::Add)
    }

    fn cell<'v>(self, value: impl Fits<'v, T>, rule: Rule) -> Result<Cell<'v>, NotStorable> {
        Ok(Cell { column: self.name, kind: T::KIND, value: value.value()?, is_shared: false, rule })
    }
}

/// A value for a column of type `T`.
pub(super) trait Fits<'v, T> {
    /// The value.
    fn value(self) -> Result<Value<'v>, NotStorable>;
}

impl<'v, T: Stored> Fits<'v, T> for &'v T {
    fn value(self) -> Result<Value<'v>, NotStorable> {
        self.to_value()
    }
}

impl<'v, T: Stored> Fits<'v, Option<T>> for &'v T {
    fn value(self) -> Result<Value<'v>, NotStorable> {
        self.to_value()
    }
}

impl<'v, T: Stored> Fits<'v, Option<T>> for Option<&'v T> {
    fn value(self) -> Result<Value<'v>, NotStorable> {
        self.map_or(Ok(Value::Null), T::to_value)
    }
}

impl<'v> Fits<'v, String> for &'v str {
    fn value(self) -> Result<Value<'v>, NotStorable> {
        Ok(Value::Text(self.into()))
    }
}

impl<'v> Fits<'v, Self> for String {
    fn value(self) -> Result<Value<'v>, NotStorable> {
        Ok(Value::Text(self.into()))
    }
}

impl<'v> Fits<'v, Self> for Sha256Digest {
    fn value(self) -> Result<Value<'v>, NotStorable> {
        Ok(Value::Text(String::from(self).into()))
    }
}

impl<'v> Fits<'v, Option<String>> for Option<&'v str> {
    fn value(self) -> Result<Value<'v>, NotStorable> {
        Ok(self.map_or(Value::Null, |text| Value::Text(text.into())))
    }
}

/// A value that is written into a column of one row.
#[derive(Debug)]
pub(super) struct Cell<'v> {
    pub(super) column: &'static str,
    pub(super) kind: Kind,
    pub(super) value: Value<'v>,
    /// True if all rows of the change have the same value.
    pub(super) is_shared: bool,
    rule: Rule,
}

impl Cell<'_> {
    /// Marks a value that all rows of a change have, so that a statement for many rows takes it
    /// only once.
    pub(super) fn shared(self) -> Self {
        Self { is_shared: true, ..self }
    }
}

/// The way in which a new value is combined with the stored one.
#[derive(Debug, Clone, Copy)]
enum Rule {
    Add,
    First,
    FirstUnlessCreated,
    Replace,
}

/// The `SET` list of an update of the table `row` with these cells. `new` is the SQL of the
/// new values.
pub(super) fn assignments(cells: &[Cell<'_>], new: &[String]) -> String {
    let mut values = cells.iter().zip(new);
    let effect = values.find(|(cell, _)| cell.column == EFFECT.name).map(|(_, new)| new);
    let assignment = |(Cell { column, rule, .. }, new): (&Cell<'_>, &String)| {
        let old = format!(r#""row".{column}"#);
        let first = format!("coalesce({old}, {new})");
        let value = match (rule, effect) {
            (Rule::Add, _) => format!("{old} + {new}"),
            (Rule::FirstUnlessCreated, Some(effect)) => {
                format!("CASE {effect} WHEN 'created' THEN NULL ELSE {first} END")
            }
            (Rule::First | Rule::FirstUnlessCreated, _) => first,
            (Rule::Replace, _) => new.clone(),
        };
        format!("{column} = {value}")
    };
    cells.iter().zip(new).map(assignment).collect::<Vec<_>>().join(", ")
}

/// The names of the columns of these cells.
pub(super) fn names(cells: &[Cell<'_>]) -> String {
    cells.iter().map(|cell| cell.column).collect::<Vec<_>>().join(", ")
}

/// A row of a query's result.
pub(super) trait ResultRow {
    /// The error of the database.
    type Error;

    /// The value at a position. The error of a value that is not understood names its place: the run
    /// in the column `run` or `id`, and the identity in `device_id` and `module_id`, if there are
    /// such columns.
    fn at<T: Stored>(&self, position: usize) -> Result<T, Self::Error> {
        self.read_at(position, T::from_value)
    }

    /// The same for a value that is read by a function.
    fn read_at<T>(
        &self,
        position: usize,
        read: impl FnOnce(Value<'_>) -> Result<T, Misread>,
    ) -> Result<T, Self::Error>;

    /// The value of a column of a table that was selected with all its columns.
    fn get<T: Stored>(&self, column: Column<T>) -> Result<T, Self::Error> {
        self.at(column.position)
    }
}

impl<T: Stored> Stored for Option<T> {
    const KIND: Kind = T::KIND;
    const IS_OPTIONAL: bool = true;

    fn to_value(&self) -> Result<Value<'_>, NotStorable> {
        self.as_ref().value()
    }

    fn from_value(value: Value<'_>) -> Result<Self, Misread> {
        match value {
            Value::Null => Ok(None),
            value => T::from_value(value).map(Some),
        }
    }
}

impl Stored for bool {
    const KIND: Kind = Kind::Flag;

    fn to_value(&self) -> Result<Value<'_>, NotStorable> {
        Ok(Value::Flag(*self))
    }

    fn from_value(value: Value<'_>) -> Result<Self, Misread> {
        match value {
            Value::Flag(flag) => Ok(flag),
            Value::Integer(number @ (0 | 1)) => Ok(number == 1),
            other => Err(unknown(&other)),
        }
    }
}

/// A duration in milliseconds.
impl Stored for Duration {
    const KIND: Kind = Kind::Integer;

    fn to_value(&self) -> Result<Value<'_>, NotStorable> {
        Ok(Value::Integer(i64::try_from(self.as_millis())?))
    }

    fn from_value(value: Value<'_>) -> Result<Self, Misread> {
        u64::from_value(value).map(Self::from_millis)
    }
}

impl Stored for RunId {
    const KIND: Kind = Kind::Integer;

    fn to_value(&self) -> Result<Value<'_>, NotStorable> {
        Ok(Value::Integer(self.0))
    }

    fn from_value(value: Value<'_>) -> Result<Self, Misread> {
        integer(&value).map(Self)
    }
}

impl Stored for String {
    const KIND: Kind = Kind::Text;

    fn to_value(&self) -> Result<Value<'_>, NotStorable> {
        Ok(Value::Text(self.as_str().into()))
    }

    fn from_value(value: Value<'_>) -> Result<Self, Misread> {
        text(value).map(Cow::into_owned)
    }
}

impl Stored for Etag {
    const KIND: Kind = Kind::Text;

    fn to_value(&self) -> Result<Value<'_>, NotStorable> {
        Ok(Value::Text(self.as_str().into()))
    }

    fn from_value(value: Value<'_>) -> Result<Self, Misread> {
        text(value).map(|text| Self::new(&text))
    }
}

impl Stored for Sha256Digest {
    const KIND: Kind = Kind::Text;

    fn to_value(&self) -> Result<Value<'_>, NotStorable> {
        (*self).value()
    }

    fn from_value(value: Value<'_>) -> Result<Self, Misread> {
        Ok(text(value)?.parse()?)
    }
}

/// Implements [`Stored`] for numbers.
macro_rules! stored_as_number {
    ($($type:ty: $kind:ident),+) => {
        $(impl Stored for $type {
            const KIND: Kind = Kind::$kind;

            fn to_value(&self) -> Result<Value<'_>, NotStorable> {
                Ok(Value::Integer(i64::from(*self)))
            }

            fn from_value(value: Value<'_>) -> Result<Self, Misread> {
                Self::try_from(integer(&value)?).map_err(|_| unknown(&value))
            }
        })+
    };
}

stored_as_number!(u16: SmallInteger, u32: Integer);

impl Stored for i64 {
    const KIND: Kind = Kind::Integer;

    fn to_value(&self) -> Result<Value<'_>, NotStorable> {
        Ok(Value::Integer(*self))
    }

    fn from_value(value: Value<'_>) -> Result<Self, Misread> {
        integer(&value)
    }
}

impl Stored for u64 {
    const KIND: Kind = Kind::Integer;

    fn to_value(&self) -> Result<Value<'_>, NotStorable> {
        Ok(Value::Integer(i64::try_from(*self)?))
    }

    fn from_value(value: Value<'_>) -> Result<Self, Misread> {
        Self::try_from(integer(&value)?).map_err(|_| unknown(&value))
    }
}

/// Implements [`Stored`] for types with a text of their own.
macro_rules! stored_as_text {
    ($($type:ty: $kind:ident),+) => {
        $(impl Stored for $type {
            const KIND: Kind = Kind::$kind;

            fn to_value(&self) -> Result<Value<'_>, NotStorable> {
                Ok(Value::Text(self.as_str().into()))
            }

            fn from_value(value: Value<'_>) -> Result<Self, Misread> {
                Ok(text(value)?.parse()?)
            }
        })+
    };
}

stored_as_text!(
    DeviceId: Key, Effect: Text, ReasonCode: Text, RowState: Text, RunState: Text, StatusReason: Text, Timestamp: Text
);

/// Implements [`Stored`] for types that are stored as JSON.
macro_rules! stored_as_json {
    ($($type:ty),+) => {
        $(impl Stored for $type {
            const KIND: Kind = Kind::Text;

            fn to_value(&self) -> Result<Value<'_>, NotStorable> {
                Ok(Value::Text(json_text(self)?.into()))
            }

            fn from_value(value: Value<'_>) -> Result<Self, Misread> {
                from_json(value)
            }
        })+
    };
}

stored_as_json!(StateSpec, RunOptions, Vec<Difference>, Verification);

fn from_json<T: DeserializeOwned>(value: Value<'_>) -> Result<T, Misread> {
    Ok(serde_json::from_str(&text(value)?)?)
}

pub(super) fn text(value: Value<'_>) -> Result<Cow<'_, str>, Misread> {
    match value {
        Value::Text(text) => Ok(text),
        other => Err(unknown(&other)),
    }
}

fn integer(value: &Value<'_>) -> Result<i64, Misread> {
    match value {
        Value::Integer(number) => Ok(*number),
        other => Err(unknown(other)),
    }
}

fn unknown(value: &Value<'_>) -> Misread {
    UnknownValue::new(value.to_string()).into()
}
