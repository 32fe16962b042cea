//! `plan`: what would change on the hub?

use super::args::{Format, PlanArgs};
use super::failure::{Exit, Failure};
use super::loading::{Comparison, counted};
use super::printer::Printer;
use crate::plan::{Action, Plan, Planner};

pub(super) async fn run(args: &PlanArgs, printer: &Printer) -> Result<Exit, Failure> {
    let comparison = Comparison::open(&args.job, "comparing", printer).await?;
    let size = args.job.target.size();
    let mut planner = Planner::new(size.tier, size.units);
    let compared = comparison.verify.each(|row, standing| planner.add(&row, standing)).await;
    comparison.close().await;
    compared?;
    print(&planner.finish(), printer);
    Ok(Exit::Done)
}

fn print(plan: &Plan, printer: &Printer) {
    match printer.format {
        Format::Json => printer.json(plan),
        Format::Csv => printer.csv(
            ["line", "identity", "action", "differences"],
            plan.rows.iter().map(|row| {
                let differences: Vec<_> = row.differences.iter().map(ToString::to_string).collect();
                [
                    row.line.to_string(),
                    row.identity.clone(),
                    row.action.as_str().to_owned(),
                    differences.join("; "),
                ]
            }),
        ),
        Format::Text => print_text(plan, printer),
    }
}

fn print_text(plan: &Plan, printer: &Printer) {
    for row in plan.rows.iter().filter(|row| row.action == Action::Conflict || !row.differences.is_empty()) {
        printer.data(format_args!("line {}: {}: {}", row.line, row.identity, row.action.as_str()));
        row.differences.iter().for_each(|difference| printer.data(format_args!("  {difference}")));
    }
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
