//! [`Cells`]: the unchanged cells of one row, by name.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use csv::StringRecord;
use serde_json::Value;

use crate::header::column::Column;
use crate::header::twin_column::Kind;
use crate::header::{Header, HeaderCell, overlaps};

/// The unchanged cells of one row, with the names of their columns.
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
    /// Its numbers that are not plain integers, in their original text.
    pub(crate) numbers: Vec<WrittenNumber>,
}

/// A number in its original text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WrittenNumber {
    pub(crate) text: Box<str>,
    /// Its place in the line, from 1.
    pub(crate) character: usize,
}

/// An unchanged value: a text in CSV, a typed value in JSON.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Cell<'a> {
    Json(&'a JsonCell),
    Text(&'a str),
}

impl Cells {
    pub(crate) fn of_csv(row: Arc<CsvRow>) -> Self {
        Self(Repr::Csv(row))
    }

    pub(crate) fn of_json(cells: impl Into<Arc<[Arc<HeaderCell>]>>, values: Vec<JsonCell>) -> Self {
        Self(Repr::Json { cells: cells.into(), values })
    }

    /// Returns names (in our vocabulary) and texts, in the file's order; the name of a twin's value
    /// has no `:type`. `primary_key` and `secondary_key` are left out, so the result may be shown,
    /// or rendered into a twin. Empty if the row has more or fewer cells than there are columns.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        let known = self.pairs().filter(|(header, _)| !header.is_secret() && !header.is_ignored());
        known.map(|(header, cell)| (header.name.as_str(), cell.text()))
    }

    /// Returns the text of a column, empty if the cell is empty; `None` if there is no such column.
    pub fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        self.iter().find(|(own, _)| *own == name).map(|(_, text)| text)
    }

    /// Returns every cell with its column, secrets included. Empty if the numbers of cells and
    /// columns differ, since a secret might then appear under a different column's name.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&HeaderCell, Cell<'_>)> {
        let cells = match &self.0 {
            Repr::Csv(row) => row.record.len(),
            Repr::Json { values, .. } => values.len(),
        };
        let headers = if self.headers().len() == cells { self.headers() } else { &[] };
        headers.iter().map(AsRef::as_ref).zip(self.values())
    }

    /// Returns every value, secrets included; a broken row may have more or fewer than there are
    /// columns.
    pub(crate) fn values(&self) -> impl Iterator<Item = Cell<'_>> {
        (0..).map_while(|index| match &self.0 {
            Repr::Csv(row) => row.record.get(index).map(Cell::Text),
            Repr::Json { values, .. } => values.get(index).map(Cell::Json),
        })
    }

    /// The record of a CSV file, if the cells are of one.
    pub(crate) fn csv_record(&self) -> Option<&StringRecord> {
        match &self.0 {
            Repr::Csv(row) => Some(&row.record),
            Repr::Json { .. } => None,
        }
    }

    /// Pairs of columns of which only one may have a value.
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
        self.column.as_ref().is_some_and(Column::is_secret)
    }

    pub(crate) fn is_ignored(&self) -> bool {
        matches!(&self.column, Some(Column::Ignored(_)))
    }

    /// The name for messages: as written for the column of a module, which has its own name in the row
    /// of the module.
    pub(crate) fn label(&self) -> &str {
        match self.is_of_module {
            true => self.written.trim(),
            false => &self.name,
        }
    }

    /// Returns true if a row with this cell gives no value. An empty string of JSON Lines is a
    /// value if the column takes any JSON, because it has a type there, unlike an empty CSV cell.
    pub(crate) fn gives_no_value(&self, cell: Cell<'_>) -> bool {
        let takes_json =
            matches!(&self.column, Some(Column::Twin(twin_column)) if twin_column.kind == Kind::Json);
        cell.is_empty()
            && !(takes_json && matches!(cell, Cell::Json(JsonCell { value: Value::String(_), .. })))
    }
}

impl<'a> Cell<'a> {
    /// The value as text; empty for a null, JSON for an array or an object.
    pub(crate) fn text(self) -> Cow<'a, str> {
        match self {
            Self::Text(text) => text.into(),
            Self::Json(cell) => cell.text(),
        }
    }

    /// Returns true if the cell gives no value.
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
    /// The value as text; a number keeps its original digits.
    pub(crate) fn text(&self) -> Cow<'_, str> {
        match (&self.value, self.numbers.as_slice()) {
            (Value::Null, _) => "".into(),
            (Value::String(text), _) => text.as_str().into(),
            (Value::Number(_), [written]) => (&*written.text).into(),
            (other, _) => other.to_string().into(),
        }
    }

    /// The value to write into a different file, so that it is read as the same value in a column.
    pub(crate) fn to_write(&self, header: &HeaderCell) -> Cow<'_, Value> {
        let takes_numbers =
            matches!(&header.column, Some(Column::Twin(twin_column)) if twin_column.kind != Kind::String);
        match (&self.value, self.numbers.as_slice()) {
            (Value::Number(_), [written]) if !takes_numbers => Cow::Owned(Value::from(&*written.text)),
            (value, _) => Cow::Borrowed(value),
        }
    }
}
