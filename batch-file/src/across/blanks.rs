//! [`Blanks`]: ids and file names that are read without their surrounding blanks.

use crate::header::column::Field;
use crate::problem::{Findings, Flaw};

/// The removed blanks so far, for each column. Ids with blanks are never legal, and whole columns
/// have them if a program padded them: so a column is reported once.
#[derive(Debug, Default)]
pub(crate) struct Blanks {
    columns: Vec<RemovedBlanks>,
}

#[derive(Debug)]
struct RemovedBlanks {
    field: Field,
    line: u64,
    cell: String,
    count: u64,
}

impl Blanks {
    /// Records that a cell has blanks around its value.
    pub(crate) fn note(&mut self, field: Field, cell: &str, line: u64) {
        match self.columns.iter_mut().find(|column| column.field == field) {
            Some(column) => column.count += 1,
            None => self.columns.push(RemovedBlanks { field, line, cell: cell.to_owned(), count: 1 }),
        }
    }

    /// Reports, at the end, the columns with blanks.
    pub(crate) fn report(&self, findings: &mut Findings<'_>) {
        for RemovedBlanks { field, line, cell, count } in &self.columns {
            let cells = if *count == 1 { "1 cell".to_owned() } else { format!("{count} cells") };
            findings.set_line(*line);
            findings.cell_warning(
                field.name(),
                cell,
                Flaw::new(
                    format!("blanks before or behind the value are left out, in {cells} of this column"),
                    "remove them, unless the label has them: then the value is another one",
                ),
            );
        }
    }
}
