//! `report`: the results of a run's rows, as text, JSON, CSV or a page. However many rows there are,
//! only some of them are in memory.

use cli_support::exit::Exit;
use cli_support::new_file::Existing;
use hub_types::shown::ShownPath;

use super::args::{Format, ReportArgs};
use super::failure::Failure;
use super::new_file::{self, unwritable};
use super::printer::{Printer, pretty_json};
use super::runs::print_run;
use crate::batch::write_failed_rows;
use crate::ledger::LedgerLocation;
use crate::report::{OpenReport, PAGE_BEGIN, PageError, ROW_COLUMNS, RunReport, unread_note};
use cli_support::counted::counted;

pub(super) fn run(args: &ReportArgs, ledger: &LedgerLocation, printer: &Printer) -> Result<Exit, Failure> {
    let opened = OpenReport::open(ledger, args.run, printer)?;
    printer.remember_service(opened.run().options.service, opened.run().is_on_test_hub());
    if let Some(out) = &args.failed_rows {
        let rows = write_failed_rows(out, opened.reader())?;
        printer.note(format_args!("{}: {}", ShownPath(out), counted(rows, "row")));
    }
    if let Some(out) = &args.html {
        let is_page = |content: &[u8]| content.starts_with(PAGE_BEGIN.as_bytes());
        let mut file = new_file::create(out, Existing::ReplacedIf(is_page))?;
        opened.write_page(&mut file)?;
        file.finish().map_err(|error| unwritable(out, error))?;
        printer.note(format_args!("page: {}", ShownPath(out)));
    }
    let report = opened.summary()?;
    print(&report, &opened, printer)?;
    Ok(Exit::finished(report.all_well()))
}

fn print(report: &RunReport, opened: &OpenReport, printer: &Printer) -> Result<(), Failure> {
    match printer.format {
        Format::Json => print_json(report, opened, printer),
        Format::Csv => print_rows_csv(opened, printer),
        Format::Text => {
            print_remarkable(opened, printer)?;
            print_run(report, printer);
            Ok(())
        }
    }
}

/// Prints that a run was not read back, if so, and the rows that need attention.
pub(super) fn print_remarkable(opened: &OpenReport, printer: &Printer) -> Result<(), Failure> {
    unread_note(opened.run()).iter().for_each(|note| printer.data(note));
    Ok(opened.each_remarkable_row(|row| printer.data(row))?)
}

/// Prints the run and, in its `rows`, one row after the other.
fn print_json(report: &RunReport, opened: &OpenReport, printer: &Printer) -> Result<(), Failure> {
    let text = pretty_json(report)?;
    #[expect(
        clippy::expect_used,
        reason = "a report has members, so it ends with a brace on a line of its own"
    )]
    let open = text.strip_suffix("\n}").expect("a report is a JSON object");
    let mut before = format!("{open},\n  \"rows\": [");
    let mut is_empty = true;
    opened.each_row(|row| -> Result<(), Failure> {
        let text = pretty_json(row)?;
        printer.data(format_args!("{before}"));
        before = format!("    {},", text.replace('\n', "\n    "));
        is_empty = false;
        Ok(())
    })?;
    match is_empty {
        true => printer.data(format_args!("{before}]\n}}")),
        false => printer.data(format_args!("{}\n  ]\n}}", before.trim_end_matches(','))),
    }
    Ok(())
}

/// Prints every row of a run as CSV.
pub(super) fn print_rows_csv(opened: &OpenReport, printer: &Printer) -> Result<(), Failure> {
    let mut rows = printer.csv_rows(ROW_COLUMNS);
    opened.each_row(|row| -> Result<(), Failure> {
        rows.push(row.cells());
        Ok(())
    })
}

impl From<PageError> for Failure {
    fn from(error: PageError) -> Self {
        match error {
            PageError::Ledger(error) => error.into(),
            PageError::Data(error) => Self::new(Exit::Bug, error),
            PageError::Template(error) => Self::new(Exit::Bug, error),
            other => Self::new(Exit::BadInput, other).hint("check the path, its rights and the free space"),
        }
    }
}
