//! [`Types`]: the types of a column's cells, whose differences no single row shows.

use hub_types::number;
use serde_json::Value;

use crate::header::HeaderCell;
use crate::header::cells::Cell;
use crate::header::twin_column::{Kind, TwinColumn};
use crate::problem::redact::redact;
use crate::problem::{Findings, Flaw};

/// The types so far in the columns for twin values.
#[derive(Debug, Default)]
pub(crate) struct Types {
    /// The types by column index.
    columns: Vec<Option<ColumnTypes>>,
}

#[derive(Debug)]
struct ColumnTypes {
    column: String,
    kind: Kind,
    /// The first cell of each type, in the order of [`TYPES`].
    first: [Option<Example>; TYPES.len()],
    /// The first number with a comma in place of the point.
    comma: Option<Example>,
    /// The first number that is written back in a different form.
    respelled: Option<Respelled>,
}

#[derive(Debug)]
struct Example {
    line: u64,
    text: String,
}

#[derive(Debug)]
struct Respelled {
    cell: Example,
    /// The number's form when it is written back.
    read: String,
    written: String,
}

impl Types {
    /// Records a cell and its value.
    pub(crate) fn observe(
        &mut self,
        (header, twin_column): (&HeaderCell, &TwinColumn),
        (cell, value): (Cell<'_>, &Value),
        line: u64,
    ) {
        let Some(place) = header.place else { return };
        if self.columns.len() <= place {
            self.columns.resize_with(place + 1, || None);
        }
        if let Some(slot) = self.columns.get_mut(place) {
            slot.get_or_insert_with(|| ColumnTypes::new(header.label(), twin_column.kind))
                .observe(cell, value, line);
        }
    }

    /// Reports, at the end, types that were probably not intended: once for each column.
    pub(crate) fn report(&self, findings: &mut Findings<'_>) {
        self.columns.iter().flatten().for_each(|column| column.report(findings));
    }
}

impl ColumnTypes {
    fn new(column: &str, kind: Kind) -> Self {
        Self { column: column.to_owned(), kind, first: Default::default(), comma: None, respelled: None }
    }

    fn observe(&mut self, cell: Cell<'_>, value: &Value, line: u64) {
        let example = || Example { line, text: cell.text().into_owned() };
        if let Some(first) = type_of(value).and_then(|place| self.first.get_mut(place)) {
            first.get_or_insert_with(example);
        }
        let text = match cell {
            Cell::Text(text) => text,
            Cell::Json(_) if value.is_string() => return,
            Cell::Json(json) => {
                let mut numbers = json.numbers.iter();
                return self.note_respelled(|| numbers.find_map(|number| respelled(&number.text)), example);
            }
        };
        match value {
            Value::String(_) if self.kind == Kind::AsWritten && self.comma.is_none() => {
                self.comma = has_decimal_comma(text).then(example);
            }
            // As it is written, a number has the text of its cell.
            Value::Number(_) if self.kind == Kind::AsWritten => {}
            Value::Number(number) if text.trim() != text => {
                self.note_respelled(|| Some((text.to_owned(), number.to_string())), example);
            }
            Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                let mut numbers = number::literals(text.as_bytes());
                self.note_respelled(|| numbers.find_map(|number| respelled(number.text)), example);
            }
            _ => {}
        }
    }

    fn note_respelled(
        &mut self,
        find: impl FnOnce() -> Option<(String, String)>,
        example: impl Fn() -> Example,
    ) {
        if self.respelled.is_none() {
            let found = find();
            self.respelled = found.map(|(read, written)| Respelled { cell: example(), read, written });
        }
    }

    fn report(&self, findings: &mut Findings<'_>) {
        if self.kind == Kind::AsWritten {
            self.report_types(findings);
        }
        if let Some(comma) = &self.comma {
            self.warn(comma, decimal_comma(), findings);
        }
        if let Some(Respelled { cell, read, written }) = &self.respelled {
            let message = format!(
                "a hub keeps the value of a number, not its digits: `{}` comes back as `{}`",
                quoted(read),
                quoted(written)
            );
            let remedy = "nothing is to be done for an amount; write a version or a serial number as a text, with \
                          `:string` after the column's name";
            self.warn(cell, Flaw::new(message, remedy), findings);
        }
    }

    /// Reports that not all cells have the same type, unless only decimal commas make the
    /// difference.
    fn report_types(&self, findings: &mut Findings<'_>) {
        let mut first: Vec<_> =
            TYPES.iter().zip(&self.first).filter_map(|(name, first)| Some((name, first.as_ref()?))).collect();
        first.sort_by_key(|(_, example)| example.line);
        let [(one_type, one), (other_type, other), ..] = first.as_slice() else { return };
        if self.comma.as_ref().is_some_and(|comma| comma.line == one.line || comma.line == other.line) {
            return;
        }
        let message = format!(
            "cells of this column come out as different types: `{}` on line {} as {one_type}, `{}` on line {} as \
             {other_type}",
            quoted(&one.text),
            one.line,
            quoted(&other.text),
            other.line
        );
        let remedy =
            "add `:string` to the column's name if every cell is a text, `:number` if every cell is a number";
        self.warn(other, Flaw::new(message, remedy), findings);
    }

    fn warn(&self, example: &Example, flaw: Flaw, findings: &mut Findings<'_>) {
        findings.set_line(example.line);
        findings.cell_warning(&self.column, &example.text, flaw);
    }
}

/// The index of the value's type in [`TYPES`].
fn type_of(value: &Value) -> Option<usize> {
    match value {
        Value::Null => None,
        Value::String(_) => Some(0),
        Value::Number(_) => Some(1),
        Value::Bool(_) => Some(2),
        Value::Array(_) | Value::Object(_) => Some(3),
    }
}

/// A number that is written back in a different form, and that form.
fn respelled(text: &str) -> Option<(String, String)> {
    let read = number::read(text).ok().filter(|read| !read.has_same_text)?;
    Some((text.to_owned(), read.number.to_string()))
}

/// Returns true if the text is a number with a decimal comma: `2,02`.
fn has_decimal_comma(text: &str) -> bool {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some((whole, fraction)) = text.split_once(',') else { return false };
    is_digits(whole.strip_prefix('-').unwrap_or(whole)) && is_digits(fraction)
}

fn decimal_comma() -> Flaw {
    Flaw::new(
        "this is a string: a number of a twin has a decimal point, not a comma",
        "write the numbers with a point and add `:number` to the column's name; `:string` says that a text is meant",
    )
}

/// A text for a message, without a secret.
fn quoted(text: &str) -> String {
    redact(text).unwrap_or_else(|| "…".to_owned())
}

const TYPES: [&str; 4] = ["a string", "a number", "a boolean", "an array or an object"];

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use crate::reader::BatchReader;
    use crate::{Problem, ReadOptions};

    fn warnings(text: &str) -> Vec<(Option<u64>, String)> {
        let input = Cursor::new(text.as_bytes().to_vec());
        let reader = BatchReader::from_read(input, "b", "".as_ref(), &ReadOptions::default()).unwrap();
        let batch = reader.read_all();
        assert_eq!(batch.bad_rows.len(), 0);
        assert!(!batch.file_problems.iter().any(Problem::is_error));
        batch.file_problems.into_iter().map(|problem| (problem.line, problem.message)).collect()
    }

    #[test]
    fn a_column_of_different_types_is_told_once_with_both_lines() {
        let found = warnings("device_id,tags.order\na,4711\nb,4712\nc,WO-88000\nd,WO-88001\ne,true\n");
        let [(Some(4), message)] = found.as_slice() else { panic!("{found:?}") };
        assert!(
            message.ends_with("`4711` on line 2 as a number, `WO-88000` on line 4 as a string"),
            "{message}"
        );
    }

    #[test]
    fn a_column_of_one_type_or_of_a_forced_one_is_as_it_is_meant() {
        for text in [
            "device_id,tags.a,tags.b\na,1,x\nb,2.5,y\nc,,\n",
            "device_id,tags.a:string\na,1\nb,x\n",
            "device_id,tags.a:json\na,1\nb,\"\"\"x\"\"\"\n",
        ] {
            assert_eq!(warnings(text), [], "{text}");
        }
    }

    #[test]
    fn decimal_commas_are_told_of_once() {
        let found = warnings("device_id;tags.a;tags.b:string\na;2,02;1,5\nb;-3,1;1,5\nc;4;1\n");
        let [(Some(2), message)] = found.as_slice() else { panic!("{found:?}") };
        assert!(message.contains("decimal point"), "{message}");
        assert_eq!(warnings("device_id,tags.a\na,\"1,2,3\"\nb,\"x,1\"\n"), []);
    }

    #[test]
    fn numbers_that_come_back_in_another_way_are_told_of_once() {
        let found =
            warnings("device_id,tags.a:number,tags.b:json\na,1.5,\"[1, 2.5]\"\nb,72.50,[1e2]\nc, 7,1.0\n");
        let [(Some(3), one), (Some(3), other)] = found.as_slice() else { panic!("{found:?}") };
        assert!(one.ends_with("`72.50` comes back as `72.5`"), "{one}");
        assert!(other.ends_with("`1e2` comes back as `100.0`"), "{other}");
        let found =
            warnings("{\"device_id\":\"a\",\"tags.fw\":1.1}\n{\"device_id\":\"b\",\"tags.fw\":1.10}\n");
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].0, Some(2));
    }
}
