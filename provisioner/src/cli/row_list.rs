//! The list of planned actions for rows, as text, JSON or CSV.

use serde::Serialize;

use super::args::Format;
use super::failure::Failure;
use super::printer::{Printer, json_line, pretty_json};
use crate::plan::{Action, PlannedRow};
use cli_support::counted::counted;

/// Prints rows as they are found, and the sum after them. What is as it should be is only counted.
pub(super) struct RowList<'a> {
    printer: &'a Printer,
    /// The words for what has the expected value of a difference.
    expects: String,
    is_first: bool,
}

impl<'a> RowList<'a> {
    pub(super) fn begin(printer: &'a Printer, expects: String) -> Self {
        match printer.format {
            Format::Csv => printer.csv_row(["line", "identity", "action", "differences", "reason"]),
            Format::Json => printer.data("{\n  \"rows\": ["),
            Format::Text => {}
        }
        Self { printer, expects, is_first: true }
    }

    pub(super) fn print(&mut self, row: &PlannedRow) -> Result<(), Failure> {
        if !row.is_remarkable() {
            return Ok(());
        }
        match self.printer.format {
            Format::Csv => {
                let differences: Vec<_> = row
                    .differences
                    .iter()
                    .map(|difference| difference.told(&self.expects, self.printer.service()))
                    .collect();
                self.printer.csv_row([
                    row.line.to_string(),
                    row.identity.clone(),
                    row.action.as_str().to_owned(),
                    differences.join("; "),
                    row.reason.clone().unwrap_or_default(),
                ]);
            }
            Format::Json => {
                let comma = if self.is_first { " " } else { "," };
                let text = json_line(row)?;
                self.printer.data(format_args!("   {comma}{text}"));
            }
            Format::Text
                if matches!(row.action, Action::Conflict | Action::Refuse)
                    || row.reason.is_some()
                    || !row.differences.is_empty() =>
            {
                let printer = self.printer;
                let reason = row.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
                let action = row.action.as_str();
                printer.data(format_args!("line {}: {}: {action}{reason}", row.line, row.identity));
                for difference in &row.differences {
                    printer.data(format_args!("  {}", difference.told(&self.expects, printer.service())));
                }
            }
            Format::Text => {}
        }
        self.is_first = false;
        Ok(())
    }

    pub(super) fn end(self, sum: &impl Serialize, print_text: impl FnOnce(&Printer)) -> Result<(), Failure> {
        match self.printer.format {
            Format::Csv => {}
            Format::Json => {
                self.printer.data(format_args!("  ],{}", members_of(sum)?));
            }
            Format::Text => print_text(self.printer),
        }
        Ok(())
    }
}

/// The members of an object as JSON with its closing brace, to stand behind others in the same object.
pub(super) fn members_of(object: &impl Serialize) -> Result<String, Failure> {
    let text = pretty_json(object)?;
    Ok(text.strip_prefix('{').map_or_else(|| text.clone(), str::to_owned))
}

/// Says how many rows are bad and left out, where there are any.
pub(super) fn print_rejected(rows: u64, printer: &Printer) {
    if rows > 0 {
        printer.data(format_args!("{} rejected: bad, and left out", counted(rows, "row")));
    }
}
