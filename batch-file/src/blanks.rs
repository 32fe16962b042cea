//! [`Blanks`]: ids and names of files that are read without the blanks around them.

use crate::column::Field;
use crate::problem::{Findings, Flaw};

/// What was left out so far, for each column. An id with blanks is legal nowhere, and whole columns have them where a
/// program filled them up: so it is said once.
#[derive(Debug, Default)]
pub(crate) struct Blanks {
    columns: Vec<LeftOut>,
}

#[derive(Debug)]
struct LeftOut {
    field: Field,
    line: u64,
    cell: String,
    count: u64,
}

impl Blanks {
    /// Notes that a cell has blanks around its value.
    pub(crate) fn note(&mut self, field: Field, cell: &str, line: u64) {
        match self.columns.iter_mut().find(|column| column.field == field) {
            Some(column) => column.count += 1,
            None => self.columns.push(LeftOut { field, line, cell: cell.to_owned(), count: 1 }),
        }
    }

    /// Says, at the end, in which columns there were some.
    pub(crate) fn report(&self, findings: &mut Findings<'_>) {
        for LeftOut { field, line, cell, count } in &self.columns {
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
