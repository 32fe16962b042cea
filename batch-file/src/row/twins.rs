//! [`Twins`]: the twin values in the rows.

use std::sync::Arc;

use hub_types::twin::{JsonObject, Nulls, Section, check_section};
use serde_json::Value;

use crate::across::types::Types;
use crate::header::cells::{Cell, Cells};
use crate::header::column::Column;
use crate::header::twin_column::{Kind, TwinColumn, section_name};
use crate::problem::{Findings, Flaw};
use crate::text::excel;

/// Reads tags and desired properties. Consecutive rows of a batch often have equal values: then
/// they share the result.
#[derive(Default)]
pub(crate) struct Twins {
    /// The previous row, and in an expansion the previous row of each module.
    last: Vec<LastTwin>,
    types: Types,
}

/// The previous row, and its twin.
#[derive(Default)]
struct LastTwin {
    cells: Option<Cells>,
    /// The result of the previous row; `None` if it had problems, which must be reported for each
    /// row.
    tags: Option<Arc<JsonObject>>,
    desired: Option<Arc<JsonObject>>,
}

/// Tags and desired properties.
type Twin = (Arc<JsonObject>, Arc<JsonObject>);

impl Twins {
    /// Reads the values of a row; `part` is the number of the module in an expansion, from 1, and 0 for
    /// all other rows.
    pub(crate) fn read(
        &mut self,
        cells: &Cells,
        (line, part): (u64, usize),
        findings: &mut Findings<'_>,
    ) -> Twin {
        if self.last.len() <= part {
            self.last.resize_with(part + 1, LastTwin::default);
        }
        let mut row = RowValues { cells, line, types: &mut self.types };
        let Some(last) = self.last.get_mut(part) else { return Twin::default() };
        let same = last.cells.as_ref().map_or_else(Same::default, |last| same(last, cells));
        last.cells = Some(cells.clone());
        let tags = read(Section::Tags, &mut row, (same.tags, &mut last.tags), findings);
        let desired = read(Section::Desired, &mut row, (same.desired, &mut last.desired), findings);
        (tags, desired)
    }

    /// Reports, at the end, problems that only all rows together show.
    pub(crate) fn report(&self, findings: &mut Findings<'_>) {
        self.types.report(findings);
    }
}

/// The cells of a row, with statistics about their columns.
struct RowValues<'a> {
    cells: &'a Cells,
    line: u64,
    types: &'a mut Types,
}

/// The sections in which two rows are equal.
#[derive(Default)]
struct Same {
    tags: bool,
    desired: bool,
}

fn same(one: &Cells, other: &Cells) -> Same {
    if one.headers().len() != other.headers().len() {
        return Same::default();
    }
    let mut same = Same { tags: true, desired: true };
    for ((header, cell), (other_header, other)) in one.pairs().zip(other.pairs()) {
        if !std::ptr::eq(header, other_header) {
            return Same::default();
        }
        if let Some(Column::Twin(twin_column)) = &header.column
            && cell != other
        {
            match twin_column.section {
                Section::Tags => same.tags = false,
                _ => same.desired = false,
            }
        }
    }
    same
}

fn read(
    section: Section,
    row: &mut RowValues<'_>,
    (is_same, known): (bool, &mut Option<Arc<JsonObject>>),
    findings: &mut Findings<'_>,
) -> Arc<JsonObject> {
    if let (true, Some(known)) = (is_same, &known) {
        return Arc::clone(known);
    }
    let before = findings.count();
    let values = Arc::new(values(section, row, findings));
    *known = (findings.count() == before).then(|| Arc::clone(&values));
    values
}

fn values(section: Section, row: &mut RowValues<'_>, findings: &mut Findings<'_>) -> JsonObject {
    let mut values = JsonObject::new();
    for (header, cell) in row.cells.pairs() {
        let twin_column = match &header.column {
            Some(Column::Twin(twin_column)) if twin_column.section == section => twin_column,
            _ => continue,
        };
        if header.gives_no_value(cell) {
            continue;
        }
        match twin_column.value(cell) {
            Ok(value) => {
                row.types.observe((header, twin_column), (cell, &value), row.line);
                warn_of_near_json(&header.name, twin_column, cell, &value, findings);
                twin_column.insert(&mut values, value);
            }
            Err(flaw) => findings.cell_error(&header.name, &cell.text(), flaw),
        }
    }
    check_rules(section, &values, findings);
    values
}

/// Warns of strings that look as if a different type was intended.
fn warn_of_near_json(
    name: &str,
    twin_column: &TwinColumn,
    cell: Cell<'_>,
    value: &Value,
    findings: &mut Findings<'_>,
) {
    let (Cell::Text(text), Value::String(_)) = (cell, value) else {
        return;
    };
    if let Some(flaw) = excel::doubt(text) {
        findings.cell_warning(name, text, flaw);
    }
    if twin_column.kind != Kind::AsWritten {
        return;
    }
    if matches!(text, "TRUE" | "FALSE") {
        findings.cell_warning(
            name,
            text,
            Flaw::new(
                "this is a string; a boolean is written in small letters",
                "add `:bool` to the column's name for a boolean, `:string` if a string is meant",
            ),
        );
    } else if text.starts_with(['{', '[']) && text.ends_with(['}', ']']) && !text.starts_with("{{") {
        findings.cell_warning(
            name,
            text,
            Flaw::new(
                "this looks like JSON but is not, so it is a string",
                "correct the JSON; add `:string` to the column's name if a string is meant",
            ),
        );
    }
}

fn check_rules(section: Section, object: &JsonObject, findings: &mut Findings<'_>) {
    if object.is_empty() {
        return;
    }
    if let Err(error) = check_section(section, object, Nulls::Refuse) {
        let inside = error.path.strip_prefix(section.path()).unwrap_or_default();
        let column = format!("{}{inside}", section_name(section));
        findings.column_error(
            &column,
            Flaw::new(
                error.rule.to_string(),
                "keep to the rules of twins; an empty cell leaves the value out, `:string` keeps a number's digits",
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::sync::Arc;

    use proptest::prelude::*;

    use crate::reader::{Batch, BatchReader};
    use crate::{Problem, ReadOptions, Row};

    fn read(text: &str) -> Batch {
        let input = Cursor::new(text.as_bytes().to_vec());
        BatchReader::from_read(input, "b", "".as_ref(), &ReadOptions::default()).unwrap().read_all()
    }

    #[test]
    fn rows_that_say_the_same_share_it_section_by_section() {
        let rows = read("device_id,tags.a,desired.b\na,1,x\nb,1,x\nc,1,y\nd,2,y\ne,1,x\n").rows;
        let shared = |one: usize, other: usize| {
            let (one, other): (&Row, &Row) = (&rows[one], &rows[other]);
            (Arc::ptr_eq(&one.tags, &other.tags), Arc::ptr_eq(&one.desired, &other.desired))
        };
        assert_eq!([shared(0, 1), shared(1, 2), shared(2, 3)], [(true, true), (true, false), (false, true)]);
        assert_eq!((&rows[4].tags, &rows[4].desired), (&rows[0].tags, &rows[0].desired));
    }

    #[test]
    fn json_that_looks_the_same_and_has_another_type_is_not_the_same() {
        let rows = read("{\"device_id\":\"a\",\"tags.n\":5}\n{\"device_id\":\"b\",\"tags.n\":\"5\"}\n").rows;
        assert_eq!([&rows[0].tags["n"], &rows[1].tags["n"]], [&serde_json::json!(5), &"5".into()]);
    }

    /// The result of one row, without its line.
    fn text_of(row: &Row) -> String {
        let about = |problem: &Problem| format!("{:?} {}", problem.column, problem.message);
        let warnings: Vec<_> = row.warnings.iter().map(about).collect();
        format!("{:?} {:?} {warnings:?}", row.tags, row.desired)
    }

    proptest! {
        #[test]
        fn a_row_comes_to_the_same_whatever_stands_before_it(
            rows in proptest::collection::vec(proptest::array::uniform3("|1|x|TRUE|\\[|3-Apr"), 1..40)
        ) {
            let header = "device_id,tags.a,tags.b:json,desired.a\n";
            let lines: Vec<_> = (0..).zip(&rows).map(|(n, cells)| format!("d{n},{}\n", cells.join(","))).collect();
            let together = read(&format!("{header}{}", lines.concat()));
            let alone: Vec<_> = lines.iter().map(|line| read(&format!("{header}{line}"))).collect();
            let good: Vec<_> = alone.iter().flat_map(|batch| &batch.rows).map(text_of).collect();
            prop_assert_eq!(together.rows.iter().map(text_of).collect::<Vec<_>>(), good);
            let bad = alone.iter().map(|batch| batch.bad_rows.len()).sum::<usize>();
            prop_assert_eq!(together.bad_rows.len(), bad);
        }
    }
}
