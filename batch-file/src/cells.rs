//! [`Cells`]: the cells of one row as they were written, by name.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use csv::StringRecord;
use serde_json::Value;

use crate::column::Column;
use crate::header::{Header, HeaderCell, overlaps};
use crate::setting::Kind;

/// The cells of one row as they were written, with the names of their columns.
#[derive(Clone)]
pub struct Cells(Repr);

#[derive(Clone)]
enum Repr {
    Csv(Arc<CsvRow>),
    Json { cells: Arc<[Arc<HeaderCell>]>, values: Vec<JsonCell> },
}

/// A row of a CSV file, and the columns that its cells belong to.
#[derive(Clone)]
pub(crate) struct CsvRow {
    pub(crate) header: Arc<Header>,
    pub(crate) record: StringRecord,
}

/// A value of JSON Lines.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct JsonCell {
    pub(crate) value: Value,
    /// Those of its numbers that are not plain integers, as they are written.
    pub(crate) numbers: Vec<WrittenNumber>,
}

/// A number as it is written in a line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WrittenNumber {
    pub(crate) text: Box<str>,
    /// Its place in the line, from 1.
    pub(crate) character: usize,
}

/// A value as it was written: CSV has texts only, JSON has types.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Cell<'a> {
    Json(&'a JsonCell),
    Text(&'a str),
}

impl Cells {
    pub(crate) fn of_csv(row: Arc<CsvRow>) -> Self {
        Self(Repr::Csv(row))
    }

    pub(crate) fn of_json(cells: Vec<Arc<HeaderCell>>, values: Vec<JsonCell>) -> Self {
        Self(Repr::Json { cells: cells.into(), values })
    }

    /// Names (in our vocabulary) and texts, in the file's order; the name of a twin's value has no
    /// `:type`. Without `primary_key` and `secondary_key`: what this gives away may be shown, or
    /// rendered into a twin. Nothing where the row has more or fewer cells than there are columns.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        let known = self.pairs().filter(|(header, _)| !header.is_secret());
        known.map(|(header, cell)| (header.name.as_str(), cell.text()))
    }

    /// The text of a column, empty where the row says nothing; `None` where there is no such column.
    pub fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        self.iter().find(|(own, _)| *own == name).map(|(_, text)| text)
    }

    /// Every cell with its column, secrets included; none where the cells are more or fewer than the
    /// columns, since a secret might then come under another column's name.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&HeaderCell, Cell<'_>)> {
        let cells = match &self.0 {
            Repr::Csv(row) => row.record.len(),
            Repr::Json { values, .. } => values.len(),
        };
        let headers = if self.headers().len() == cells { self.headers() } else { &[] };
        headers.iter().map(AsRef::as_ref).zip(self.values())
    }

    /// Every value, secrets included; more or fewer than there are columns in a row that is broken.
    pub(crate) fn values(&self) -> impl Iterator<Item = Cell<'_>> {
        (0..).map_while(|index| match &self.0 {
            Repr::Csv(row) => row.record.get(index).map(Cell::Text),
            Repr::Json { values, .. } => values.get(index).map(Cell::Json),
        })
    }

    /// Pairs of columns of which only one may be filled.
    pub(crate) fn overlaps(&self) -> Cow<'_, [(usize, usize)]> {
        match &self.0 {
            Repr::Csv(row) => Cow::Borrowed(&row.header.overlaps),
            Repr::Json { cells, .. } => Cow::Owned(overlaps(cells)),
        }
    }

    pub(crate) fn headers(&self) -> &[Arc<HeaderCell>] {
        match &self.0 {
            Repr::Csv(row) => &row.header.cells,
            Repr::Json { cells, .. } => cells,
        }
    }
}

impl fmt::Debug for Cells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl HeaderCell {
    pub(crate) fn is_secret(&self) -> bool {
        matches!(&self.column, Some(Column::Field(field)) if field.is_secret())
    }

    /// Whether a row with this cell says nothing here. An empty string of JSON Lines is a value where
    /// the column takes any JSON: there it has a type, as nothing in a CSV has.
    pub(crate) fn says_nothing(&self, cell: Cell<'_>) -> bool {
        let takes_json = matches!(&self.column, Some(Column::Setting(setting)) if setting.kind == Kind::Json);
        cell.is_empty()
            && !(takes_json && matches!(cell, Cell::Json(JsonCell { value: Value::String(_), .. })))
    }
}

impl<'a> Cell<'a> {
    /// The value as text; nothing for a null, JSON for an array or an object.
    pub(crate) fn text(self) -> Cow<'a, str> {
        match self {
            Self::Text(text) => text.into(),
            Self::Json(cell) => cell.text(),
        }
    }

    /// Whether the row says nothing here.
    pub(crate) fn is_empty(self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Json(cell) => match &cell.value {
                Value::String(text) => text.is_empty(),
                value => value.is_null(),
            },
        }
    }
}

impl JsonCell {
    /// The value as text; the digits of a number are those that were written.
    pub(crate) fn text(&self) -> Cow<'_, str> {
        match (&self.value, self.numbers.as_slice()) {
            (Value::Null, _) => "".into(),
            (Value::String(text), _) => text.as_str().into(),
            (Value::Number(_), [written]) => (&*written.text).into(),
            (other, _) => other.to_string().into(),
        }
    }

    /// The value to write into another file, where it has to come to the same in a column.
    pub(crate) fn to_write(&self, header: &HeaderCell) -> Cow<'_, Value> {
        let takes_numbers =
            matches!(&header.column, Some(Column::Setting(setting)) if setting.kind != Kind::String);
        match (&self.value, self.numbers.as_slice()) {
            (Value::Number(_), [written]) if !takes_numbers => Cow::Owned(Value::from(&*written.text)),
            (value, _) => Cow::Borrowed(value),
        }
    }
}
