//! `runs` and `status`: the runs that the ledger knows.

use serde::Serialize;

use super::args::Format;
use super::failure::{Exit, Failure};
use super::loading::counted;
use super::printer::Printer;
use crate::ledger::{Ledger, LedgerLocation, Operator, Run, RunId, Totals, Verification};
use crate::report::Cause;

/// A run with its sums.
#[derive(Serialize)]
pub(super) struct RunReport {
    #[serde(flatten)]
    pub(super) run: Run,
    pub(super) totals: Totals,
    /// Why rows are not as asked, where somebody has looked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) causes: Vec<Cause>,
}

pub(super) fn list(ledger: &LedgerLocation, printer: &Printer) -> Result<Exit, Failure> {
    let mut ledger = Ledger::open_to_read(ledger)?;
    let mut reports = Vec::new();
    for run in ledger.runs()? {
        let totals = ledger.totals(run.id)?;
        reports.push(RunReport { run, totals, causes: Vec::new() });
    }
    match printer.format {
        Format::Json => printer.json(&reports),
        Format::Csv => print_runs_csv(&reports, printer),
        Format::Text => reports.iter().for_each(|report| print_run(report, printer)),
    }
    Ok(Exit::Done)
}

pub(super) fn status(
    run: Option<RunId>,
    ledger: &LedgerLocation,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let mut ledger = Ledger::open_to_read(ledger)?;
    let run = ledger.run(run)?;
    let report = RunReport { totals: ledger.totals(run.id)?, run, causes: Vec::new() };
    match printer.format {
        Format::Json => printer.json(&report),
        Format::Csv => print_runs_csv(&[report], printer),
        Format::Text => print_run(&report, printer),
    }
    Ok(Exit::Done)
}

pub(super) fn print_run(report: &RunReport, printer: &Printer) {
    let RunReport { run, totals, causes } = report;
    let finished = run.finished.as_ref().map(|time| format!(" to {time}")).unwrap_or_default();
    let what = run.options.alteration.as_ref().map(|what| format!("{what}, ")).unwrap_or_default();
    printer.data(format_args!("run {}: {what}{} on {}: {}", run.id, run.input, run.hub, run.state));
    printer.data(format_args!("  {}{finished}{}", run.started, by(&run.by)));
    printer.data(format_args!("  {totals}"));
    if let Some(seen) = &run.verification {
        let Verification { at, checked, equal, missing, different, .. } = seen;
        printer.data(format_args!(
            "  verified {at}: {checked} checked: {equal} equal, {missing} missing, {different} different"
        ));
    }
    for Cause { cause, to_do, rows, examples } in causes {
        let more = if *rows > examples.len() as u64 { ", …" } else { "" };
        printer.data(format_args!("  {}: {cause}: {}{more}", counted(*rows, "row"), examples.join(", ")));
        printer.data(format_args!("    {}", to_do.text()));
    }
}

/// ` by NAME at STATION`, as far as it is known.
fn by(operator: &Operator) -> String {
    let part =
        |word: &str, text: &str| if text.is_empty() { String::new() } else { format!(" {word} {text}") };
    part("by", &operator.name) + &part("at", &operator.station)
}

fn print_runs_csv(reports: &[RunReport], printer: &Printer) {
    printer.csv(
        [
            "run",
            "started",
            "finished",
            "state",
            "hub",
            "input",
            "input_sha256",
            "rows",
            "created",
            "updated",
            "unchanged",
            "conflict",
            "rejected",
            "failed",
            "pending",
            "operator",
            "station",
        ],
        reports.iter().map(|RunReport { run, totals, .. }| {
            [
                run.id.to_string(),
                run.started.clone(),
                run.finished.clone().unwrap_or_default(),
                run.state.to_string(),
                run.hub.clone(),
                run.input.clone(),
                run.input_sha256.clone(),
                totals.rows.to_string(),
                totals.created.to_string(),
                totals.updated.to_string(),
                totals.unchanged.to_string(),
                totals.conflict.to_string(),
                totals.rejected.to_string(),
                totals.failed.to_string(),
                totals.pending.to_string(),
                run.by.name.clone(),
                run.by.station.clone(),
            ]
        }),
    );
}
