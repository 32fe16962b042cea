//! `runs` and `status`: the runs that the ledger knows.

use cli_support::exit::Exit;
use hub_types::shown::ShownBare;

use super::args::Format;
use super::failure::Failure;
use super::printer::Printer;
use crate::ledger::{LedgerLocation, Operator, Verification};
use crate::model::run_id::RunId;
use crate::report::{
    Cause, OpenReport, RunEntry, RunReport, held_note, left_enabled_note, list_runs, to_disable_note,
    undone_note,
};
use cli_support::counted::counted;

pub(super) fn list(ledger: &LedgerLocation, printer: &Printer) -> Result<Exit, Failure> {
    let entries = list_runs(ledger, printer)?;
    match printer.format {
        Format::Json => printer.json(&entries)?,
        Format::Csv => {
            print_runs_csv(entries.iter().filter_map(RunEntry::known), printer);
            entries.iter().filter_map(RunEntry::unknown).for_each(|run| printer.note(run));
        }
        Format::Text => entries.iter().for_each(|run| match run {
            RunEntry::Known(report) => print_run(report, printer),
            RunEntry::Unknown(run) => printer.data(run),
        }),
    }
    Ok(Exit::finished(entries.iter().all(|run| run.known().is_some())))
}

pub(super) fn status(
    run: Option<RunId>,
    ledger: &LedgerLocation,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let report = OpenReport::open(ledger, run, printer)?.status()?;
    printer.remember_service(report.run.options.service, report.test_hub);
    match printer.format {
        Format::Json => printer.json(&report)?,
        Format::Csv => print_runs_csv(std::iter::once(&report), printer),
        Format::Text => print_run(&report, printer),
    }
    Ok(Exit::Done)
}

pub(super) fn print_run(report: &RunReport, printer: &Printer) {
    let RunReport { run, totals, left_disabled, undone_by, causes, test_hub, .. } = report;
    let finished = run.finished.as_ref().map(|time| format!(" to {time}")).unwrap_or_default();
    let mut what = run.options.maintenance.as_ref().map(|what| format!("{what}, ")).unwrap_or_default();
    if run.options.quarantine {
        what.push_str("in quarantine, ");
    }
    let mark = if *test_hub { format!("{} ", run.options.service.test_mark()) } else { String::new() };
    let unread = if run.is_unread() { ", not read back" } else { "" };
    printer.data(format_args!(
        "run {}: {what}{} on {mark}{}: {}{unread}",
        run.id,
        ShownBare(&run.input),
        run.hub,
        run.state
    ));
    printer.data(format_args!("  {}{finished}{}", run.started, by(&run.by)));
    printer.data(format_args!("  {totals}"));
    undone_note(*undone_by).iter().for_each(|note| printer.data(format_args!("  {note}")));
    left_disabled.iter().for_each(|held| printer.data(format_args!("  {}", held_note(held))));
    to_disable_note(run, totals).iter().for_each(|note| printer.data(format_args!("  {note}")));
    left_enabled_note(run, totals).iter().for_each(|note| printer.data(format_args!("  {note}")));
    if let Some(seen) = &run.verification {
        let Verification { at, checked, equal, missing, different, .. } = seen;
        printer.data(format_args!(
            "  verified {at}: {checked} checked: {equal} equal, {missing} missing, {different} different"
        ));
    }
    for Cause { cause, to_do, rows, examples, .. } in causes {
        let more = if *rows > examples.len() as u64 { ", …" } else { "" };
        printer.data(format_args!("  {}: {cause}: {}{more}", counted(*rows, "row"), examples.join(", ")));
        printer.data(format_args!("    {}", to_do));
    }
}

/// ` by NAME at STATION`, as far as it is known.
fn by(operator: &Operator) -> String {
    let part =
        |word: &str, text: &str| if text.is_empty() { String::new() } else { format!(" {word} {text}") };
    part("by", &operator.name) + &part("at", &operator.station)
}

fn print_runs_csv<'r>(reports: impl Iterator<Item = &'r RunReport>, printer: &Printer) {
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
            "skipped",
            "held",
            "waiting",
        ],
        reports.map(|RunReport { run, totals, .. }| {
            [
                run.id.to_string(),
                run.started.to_string(),
                run.finished.as_ref().map(ToString::to_string).unwrap_or_default(),
                run.state.to_string(),
                run.hub.clone(),
                run.input.clone(),
                run.input_sha256.to_string(),
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
                totals.skipped.to_string(),
                totals.held.to_string(),
                totals.waiting.to_string(),
            ]
        }),
    );
}
