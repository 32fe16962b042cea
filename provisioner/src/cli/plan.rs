//! `plan`: what would change on the hub or the DPS?

use cli_support::exit::Exit;

use hub_types::shown::ShownBare;

use super::args::PlanArgs;
use super::context::{InContext, ResultContext};
use super::failure::Failure;
use super::printer::Printer;
use super::row_list::{RowList, print_rejected};
use crate::ledger::LedgerLocation;
use crate::plan::{BatchPlan, Plan, PlanRequest};
use crate::report::quoted;
use cli_support::counted::counted;

pub(super) async fn run(
    args: &PlanArgs,
    ledger: &LedgerLocation,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let request = PlanRequest {
        service: args.dps.choice(&args.job.target),
        size: args.job.target.size(),
        batch: args.job.batch.choice(),
        options: args.run_options()?,
        skip_bad_rows: args.rules.skip_bad_rows,
        ledger: ledger.clone(),
        output: args.output.clone(),
    };
    let opened = BatchPlan::open(request, printer).await?;
    let context = ResultContext::of_service(opened.service()).ledger(ledger).input(&args.job.batch.file);
    let mut rows = RowList::begin(printer, "batch has".to_owned());
    let plan = opened.compare(printer, |planned| rows.print(planned)).await?;
    if let Some(path) = &args.output {
        let path = path.to_string_lossy().into_owned();
        let service = args.dps.as_options(&args.job.target);
        printer.note(format_args!(
            "plan: {} (`provisioner apply {}{service}`)",
            ShownBare(&path),
            quoted(&path)
        ));
    }
    rows.end(&InContext { context, result: &plan }, |printer| print_text(&plan, printer))?;
    Ok(Exit::finished(plan.all_well()))
}

fn print_text(plan: &Plan, printer: &Printer) {
    printer.data(format_args!(
        "{} to create, {} to update, {} to keep, {} in conflict, {} refused; {} to issue",
        plan.create,
        plan.update,
        plan.keep,
        plan.conflict,
        plan.refuse,
        counted(plan.issue, "certificate")
    ));
    if plan.held > 0 {
        printer.data(format_args!("{} of those to keep were disabled by a run, and stay so", plan.held));
    }
    if let Some(waiting) = plan.wait.filter(|waiting| *waiting > 0) {
        printer.data(format_args!("{waiting} to wait for the registration of their device"));
    }
    print_rejected(plan.rejected, printer);
    for (class, operations) in &plan.operations {
        printer.data(format_args!(
            "  {}: {}",
            counted(operations.count, &format!("{class} operation")),
            duration_text(operations.seconds)
        ));
    }
    let rate = match (&plan.tier, plan.units) {
        (Some(tier), Some(units)) => format!("of {tier} with {}", counted(units, "unit")),
        _ => "of a DPS, if it counts ten enrolments in one call as one operation".to_owned(),
    };
    printer.data(format_args!("{} at the rate {rate}", duration_text(plan.seconds)));
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
