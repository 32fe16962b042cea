//! `plan`: what would change on the hub?

use super::args::{Format, PlanArgs};
use super::failure::{Exit, Failure};
use super::loading::{Comparison, counted};
use super::printer::Printer;
use crate::ledger::LedgerRow;
use crate::plan::{Action, Plan, PlannedRow, Planner};
use crate::standing::Standing;

pub(super) async fn run(args: &PlanArgs, printer: &Printer) -> Result<Exit, Failure> {
    let comparison = Comparison::open(&args.job, "comparing", printer).await?;
    let size = args.job.target.size();
    let mut planner = Planner::new(size.tier, size.units);
    let mut rows = Rows::begin(printer);
    let add = |row: LedgerRow, standing: Standing| {
        if let Some(planned) = planner.add(&row, &standing) {
            rows.print(&planned);
        }
    };
    let compared = comparison.verify.each(add).await;
    comparison.close().await;
    compared?;
    rows.end(&planner.finish());
    Ok(Exit::Done)
}

/// Prints rows as they are found, and the sum after them.
struct Rows<'a> {
    printer: &'a Printer,
    is_first: bool,
}

impl<'a> Rows<'a> {
    fn begin(printer: &'a Printer) -> Self {
        match printer.format {
            Format::Csv => printer.csv_row(["line", "identity", "action", "differences"]),
            Format::Json => printer.data("{\n  \"rows\": ["),
            Format::Text => {}
        }
        Self { printer, is_first: true }
    }

    fn print(&mut self, row: &PlannedRow) {
        match self.printer.format {
            Format::Csv => {
                let differences: Vec<_> = row.differences.iter().map(ToString::to_string).collect();
                self.printer.csv_row([
                    row.line.to_string(),
                    row.identity.clone(),
                    row.action.as_str().to_owned(),
                    differences.join("; "),
                ]);
            }
            Format::Json => {
                let comma = if self.is_first { " " } else { "," };
                let text = serde_json::to_string(row).unwrap_or_default();
                self.printer.data(format_args!("   {comma}{text}"));
            }
            Format::Text if row.action == Action::Conflict || !row.differences.is_empty() => {
                let printer = self.printer;
                printer.data(format_args!("line {}: {}: {}", row.line, row.identity, row.action.as_str()));
                row.differences.iter().for_each(|difference| printer.data(format_args!("  {difference}")));
            }
            Format::Text => {}
        }
        self.is_first = false;
    }

    fn end(self, plan: &Plan) {
        match self.printer.format {
            Format::Csv => {}
            Format::Json => {
                let sum = serde_json::to_string_pretty(plan).unwrap_or_default();
                // The members of the sum, after the rows in the same object.
                let members = sum.strip_prefix('{').unwrap_or_default();
                self.printer.data(format_args!("  ],{members}"));
            }
            Format::Text => print_text(plan, self.printer),
        }
    }
}

fn print_text(plan: &Plan, printer: &Printer) {
    printer.data(format_args!(
        "{} to create, {} to update, {} to keep, {} in conflict; {} to issue",
        plan.create,
        plan.update,
        plan.keep,
        plan.conflict,
        counted(plan.issue, "certificate")
    ));
    for (class, operations) in &plan.operations {
        printer.data(format_args!(
            "  {}: {}",
            counted(operations.count, &format!("{class} operation")),
            duration_text(operations.seconds)
        ));
    }
    printer.data(format_args!(
        "{} at the rate of {} with {}",
        duration_text(plan.seconds),
        plan.tier,
        counted(plan.units, "unit")
    ));
}

/// A duration to the unit that matters: `0.4 s`, `12 s`, `192 min`, `6.9 days`.
fn duration_text(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 10.0 => format!("{seconds:.1} s"),
        seconds if seconds < 600.0 => format!("{seconds:.0} s"),
        seconds if seconds < 48.0 * 3600.0 => format!("{:.0} min", seconds / 60.0),
        seconds => format!("{:.1} days", seconds / 86_400.0),
    }
}
