//! `plan`: what would change on the hub?

use std::path::Path;
use std::sync::Arc;

use super::args::PlanArgs;
use super::context::{InContext, ResultContext};
use super::failure::{Exit, Failure};
use super::loading::{Compared, LoadRules, READERS, counted, run_options};
use super::printer::Printer;
use super::progress::Progress;
use super::row_list::{RowList, print_rejected};
use crate::clock::now_text;
use crate::ledger::{LedgerLocation, RunOptions};
use crate::plan::file::VERSION;
use crate::plan::{Header, Plan, PlanWriter, PlannedRow, Planner, Survey};

pub(super) async fn run(
    args: &PlanArgs,
    ledger: &LedgerLocation,
    printer: &Printer,
) -> Result<Exit, Failure> {
    refuse_existing(args.output.as_deref())?;
    let compared = Compared::open(&args.job, LoadRules::from(&args.rules), ledger, printer).await?;
    let mut writer = match &args.output {
        Some(path) => Some(PlanWriter::create(path, &header(args, &compared)?)?),
        None => None,
    };
    let context = ResultContext::of_hub(&compared.hub).ledger(ledger).input(&args.job.batch.file);
    let Compared { hub, holds, ledger, run, loaded, .. } = compared;
    let (size, rules) = (args.job.target.size(), args.rules.rules());
    let progress = Progress::new("comparing", loaded.rows());
    let survey = Survey {
        hub: hub.client.clone(),
        ledger,
        run,
        holds,
        keys: Arc::new(loaded.keys),
        twin: rules.twin,
        concurrency: READERS,
        progress: progress.counter(),
    };
    let mut planner = Planner::new(rules, size.tier, size.units);
    planner.set_rejected(loaded.bad_rows);
    let mut rows = RowList::begin(printer);
    let tell = |planned: PlannedRow| {
        if let Some(writer) = &mut writer {
            writer.row(&planned)?;
        }
        rows.print(&planned)
    };
    let careful = printer.stop.carefully();
    let surveyed = printer.stop.token().run_until_cancelled(survey.each(&mut planner, tell)).await;
    progress.finish();
    hub.close().await;
    drop(careful);
    surveyed.unwrap_or_else(|| {
        let text = "stopped; a plan changes nothing on the hub";
        Err(Failure::new(Exit::Interrupted, text).hint("run the same command again"))
    })?;
    let plan = planner.finish();
    if let (Some(writer), Some(path)) = (writer, &args.output) {
        writer.finish(&plan)?;
        printer.note(format_args!("plan: {0} (`provisioner apply {0}`)", path.display()));
    }
    rows.end(&InContext { context, result: &plan }, |printer| print_text(&plan, printer))?;
    Ok(if plan.all_well() { Exit::Done } else { Exit::SomeFailed })
}

/// Says at once what would only be found out at the end.
fn refuse_existing(output: Option<&Path>) -> Result<(), Failure> {
    match output {
        Some(path) if path.exists() => {
            let text = format!("`{}` is there already", path.display());
            Err(Failure::new(Exit::BadInput, text).hint("name a file that is not there yet"))
        }
        _ => Ok(()),
    }
}

fn header(args: &PlanArgs, compared: &Compared) -> Result<Header, Failure> {
    let absolute =
        |path: &Path| std::path::absolute(path).map_err(|error| Failure::new(Exit::BadInput, error));
    let issue = match args.job.issued.folders() {
        Some((ca, out)) => Some((absolute(&ca)?, absolute(&out)?)),
        None => None,
    };
    Ok(Header {
        provisioner_plan: VERSION,
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        made: now_text(),
        hub: compared.hub.name.clone(),
        input: absolute(&args.job.batch.file)?,
        input_sha256: compared.loaded.sha256.clone(),
        wanted_sha256: compared.wanted_sha256.clone(),
        options: RunOptions { issue, ..run_options(&args.job, &args.rules, &compared.read) },
        skip_bad_rows: args.rules.skip_bad_rows,
    })
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
        printer.data(format_args!("{} of those to keep are disabled until released", plan.held));
    }
    print_rejected(plan.rejected, printer);
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
