//! `runs` and `status`: the runs that the ledger knows.

use std::fmt;

use cli_support::causes::with_causes;
use cli_support::exit::Exit;
use serde::Serialize;

use super::args::Format;
use super::failure::Failure;
use super::printer::Printer;
use crate::ledger::{
    HeldDevices, LedgerLocation, NotUnderstood, Operator, Run, RunReader, Totals, Verification,
};
use crate::model::run_id::RunId;
use crate::model::text::counted;
use crate::report::{Cause, RunEntry, held_note, list_runs, to_disable_note};

/// A run with its sums.
#[derive(Serialize)]
pub(super) struct RunReport {
    #[serde(flatten)]
    pub(super) run: Run,
    /// True if its hub is one for tests.
    test_hub: bool,
    /// The ledger that tells of it.
    ledger: String,
    pub(super) totals: Totals,
    /// The devices that the run left disabled, by the run that disabled them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_disabled: Vec<HeldDevices>,
    /// The causes why rows are not as asked, if they were determined.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) causes: Vec<Cause>,
}

impl RunReport {
    pub(super) fn new(
        run: Run,
        totals: Totals,
        left_disabled: Vec<HeldDevices>,
        causes: Vec<Cause>,
        ledger: &LedgerLocation,
    ) -> Self {
        let (test_hub, ledger) = (run.is_on_test_hub(), ledger.to_string());
        Self { test_hub, ledger, run, totals, left_disabled, causes }
    }
}

pub(super) fn list(ledger: &LedgerLocation, printer: &Printer) -> Result<Exit, Failure> {
    let entries = list_runs(ledger, printer)?.into_iter();
    let listed: Vec<Listed> = entries.map(|entry| Listed::of(entry, ledger)).collect();
    match printer.format {
        Format::Json => printer.json(&listed)?,
        Format::Csv => {
            print_runs_csv(listed.iter().filter_map(Listed::known), printer);
            listed.iter().filter_map(Listed::unknown).for_each(|run| printer.note(run));
        }
        Format::Text => listed.iter().for_each(|run| match run {
            Listed::Known(report) => print_run(report, printer),
            Listed::Unknown(run) => printer.data(run),
        }),
    }
    let all_known = listed.iter().all(|run| run.known().is_some());
    Ok(Exit::finished(all_known))
}

/// A run in the list: one that is not understood hides no other.
#[derive(Serialize)]
#[serde(untagged)]
enum Listed {
    Known(Box<RunReport>),
    Unknown(UnknownRun),
}

/// A run of which something is not understood.
#[derive(Serialize)]
struct UnknownRun {
    id: Option<RunId>,
    tool_version: Option<String>,
    not_understood: String,
}

impl Listed {
    fn of(entry: RunEntry, ledger: &LedgerLocation) -> Self {
        match entry {
            RunEntry::Known(run, totals, held) => {
                Self::Known(Box::new(RunReport::new(*run, totals, held, Vec::new(), ledger)))
            }
            RunEntry::Unknown(value) => Self::Unknown(UnknownRun::of(&value)),
        }
    }

    fn known(&self) -> Option<&RunReport> {
        match self {
            Self::Known(report) => Some(report),
            Self::Unknown(_) => None,
        }
    }

    fn unknown(&self) -> Option<&UnknownRun> {
        match self {
            Self::Known(_) => None,
            Self::Unknown(run) => Some(run),
        }
    }
}

impl UnknownRun {
    fn of(value: &NotUnderstood) -> Self {
        Self { id: value.run, tool_version: value.written_by.clone(), not_understood: with_causes(value) }
    }
}

impl fmt::Display for UnknownRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = self.tool_version.as_ref().map(|version| format!(" (provisioner {version} wrote it)"));
        write!(
            f,
            "{}: not understood by provisioner {}{}; was it written by a newer version?",
            self.not_understood,
            env!("CARGO_PKG_VERSION"),
            written.unwrap_or_default()
        )
    }
}

pub(super) fn status(
    run: Option<RunId>,
    ledger: &LedgerLocation,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let reader = RunReader::open(ledger, run, printer)?;
    printer.remember_hub(reader.run().is_on_test_hub());
    let (totals, held) = (reader.totals()?, reader.lock().held_devices(reader.run().id)?);
    let report = RunReport::new(reader.run().clone(), totals, held, Vec::new(), ledger);
    match printer.format {
        Format::Json => printer.json(&report)?,
        Format::Csv => print_runs_csv(std::iter::once(&report), printer),
        Format::Text => print_run(&report, printer),
    }
    Ok(Exit::Done)
}

pub(super) fn print_run(report: &RunReport, printer: &Printer) {
    let RunReport { run, totals, left_disabled, causes, test_hub, .. } = report;
    let finished = run.finished.as_ref().map(|time| format!(" to {time}")).unwrap_or_default();
    let mut what = run.options.maintenance.as_ref().map(|what| format!("{what}, ")).unwrap_or_default();
    if run.options.quarantine {
        what.push_str("in quarantine, ");
    }
    let hub = if *test_hub { "TEST HUB " } else { "" };
    let unread = if run.is_unread() { ", not read back" } else { "" };
    printer
        .data(format_args!("run {}: {what}{} on {hub}{}: {}{unread}", run.id, run.input, run.hub, run.state));
    printer.data(format_args!("  {}{finished}{}", run.started, by(&run.by)));
    printer.data(format_args!("  {totals}"));
    left_disabled.iter().for_each(|held| printer.data(format_args!("  {}", held_note(held))));
    to_disable_note(run, totals).iter().for_each(|note| printer.data(format_args!("  {note}")));
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
            ]
        }),
    );
}
