//! `report`: what became of a run's rows, as text, JSON, CSV or a page. However many rows there are, only
//! some of them are in memory.

use cli_support::exit::Exit;
use cli_support::new_file::Existing;
use serde::Serialize;

use super::args::{Format, ReportArgs};
use super::failure::Failure;
use super::new_file::{self, unwritable};
use super::printer::{Printer, pretty_json};
use super::runs::{RunReport, print_run};
use crate::batch::write_failed_rows;
use crate::clock::Timestamp;
use crate::ledger::{
    Ledger, LedgerError, LedgerLocation, LedgerRow, Operator, Record, RowFilter, Run, RunReader, Session,
};
use crate::model::compare::{Difference, Etags};
use crate::model::run_id::RunId;
use crate::model::text::counted;
use crate::report::{PageError, causes_of, write_page};

pub(super) fn run(args: &ReportArgs, ledger: &LedgerLocation, printer: &Printer) -> Result<Exit, Failure> {
    let location = ledger;
    let reader = RunReader::open(location, args.run, printer)?;
    let run = reader.run().clone();
    printer.remember_hub(run.is_on_test_hub());
    if let Some(out) = &args.failed_rows {
        let rows = write_failed_rows(out, &reader)?;
        printer.note(format_args!("{}: {}", out.display(), counted(rows, "row")));
    }
    let mut ledger = reader.lock();
    if let Some(out) = &args.html {
        let mut file = new_file::create(out, Existing::Replaced)?;
        write_page(&mut ledger, run.id, &mut file)?;
        file.finish().map_err(|error| unwritable(out, error))?;
        printer.note(format_args!("page: {}", out.display()));
    }
    let totals = ledger.totals(run.id)?;
    let is_verified = run.verification.as_ref().is_none_or(|seen| seen.all_well());
    let causes = causes_of(&mut ledger, &run)?;
    let held = ledger.held_devices(run.id)?;
    let report = RunReport::new(run, totals, held, causes, location);
    match printer.format {
        Format::Json => print_json(&report, &mut ledger, printer)?,
        Format::Csv => print_rows_csv(&mut ledger, report.run.id, printer)?,
        Format::Text => {
            print_unread(&report.run, printer);
            print_remarkable(&mut ledger, report.run.id, printer)?;
            print_run(&report, printer);
        }
    }
    Ok(Exit::finished(totals.all_well() && is_verified))
}

/// Says first of all that nobody has read back what a run did, where that is so.
pub(super) fn print_unread(run: &Run, printer: &Printer) {
    if run.is_unread() {
        printer.data(format_args!(
            "run {0}: not read back: `provisioner resume {0}` compares the hub with what the run did",
            run.id
        ));
    }
}

/// Prints the rows that need a look: what failed, what is in conflict, which twins were kept.
pub(super) fn print_remarkable(ledger: &mut Ledger, run: RunId, printer: &Printer) -> Result<(), Failure> {
    let expects = ledger.run(Some(run))?.options.expects();
    for row in ledger.rows(run, RowFilter::Remarkable) {
        let row = row?;
        let Record { state, error, differences, .. } = &row.record;
        let reason = error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        printer.data(format_args!("line {}: {}: {state}{reason}", row.line, row.spec.identity));
        differences
            .iter()
            .for_each(|difference| printer.data(format_args!("  {}", difference.told(&expects))));
        match row.drift.as_deref() {
            Some([]) => printer.data("  verification: it is not on the hub"),
            Some(found) => {
                found.iter().for_each(|found| printer.data(format_args!("  verification: {found}")));
            }
            None => {}
        }
    }
    Ok(())
}

#[derive(Serialize)]
struct ReportRow<'a> {
    line: u64,
    device_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    module_id: Option<&'a str>,
    #[serde(flatten)]
    record: &'a Record,
    #[serde(flatten)]
    etags: &'a Etags,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity_etag_before: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    twin_etag_before: Option<&'a str>,
    /// The differences found at verification; empty if the identity is missing.
    #[serde(rename = "deviation", skip_serializing_if = "Option::is_none")]
    drift: Option<&'a [Difference]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<&'a str>,
    #[serde(flatten)]
    by: &'a Operator,
}

/// The operators of rows.
struct Hands {
    run: Run,
    sessions: Vec<Session>,
}

impl Hands {
    fn of(ledger: &mut Ledger, run: RunId) -> Result<Self, LedgerError> {
        Ok(Self { run: ledger.run(Some(run))?, sessions: ledger.sessions(run)? })
    }

    fn row<'a>(&'a self, row: &'a LedgerRow) -> ReportRow<'a> {
        let identity = &row.spec.identity;
        ReportRow {
            line: row.line,
            device_id: identity.device().as_str(),
            module_id: identity.module().map(|module| module.as_str()),
            record: &row.record,
            etags: &row.etags,
            identity_etag_before: row.before.identity.as_ref().map(|etag| etag.as_str()),
            twin_etag_before: row.before.twin.as_ref().map(|etag| etag.as_str()),
            drift: row.drift.as_deref(),
            serial: row.serial.as_deref(),
            sent: row.sent.as_ref().map(Timestamp::as_str),
            ended: row.ended.as_ref().map(Timestamp::as_str),
            by: row.operator(&self.run, &self.sessions),
        }
    }
}

/// Prints the run and, in its `rows`, one row after the other.
fn print_json(report: &RunReport, ledger: &mut Ledger, printer: &Printer) -> Result<(), Failure> {
    let hands = Hands::of(ledger, report.run.id)?;
    let text = pretty_json(report)?;
    let open = text.strip_suffix("\n}").unwrap_or(&text);
    let mut before = format!("{open},\n  \"rows\": [");
    let mut is_empty = true;
    for row in ledger.rows(report.run.id, RowFilter::All) {
        let row = row?;
        let text = pretty_json(&hands.row(&row))?;
        printer.data(format_args!("{before}"));
        before = format!("    {},", text.replace('\n', "\n    "));
        is_empty = false;
    }
    match is_empty {
        true => printer.data(format_args!("{before}]\n}}")),
        false => printer.data(format_args!("{}\n  ]\n}}", before.trim_end_matches(','))),
    }
    Ok(())
}

/// Prints every row of a run as CSV.
pub(super) fn print_rows_csv(ledger: &mut Ledger, run: RunId, printer: &Printer) -> Result<(), Failure> {
    let hands = Hands::of(ledger, run)?;
    let mut failed = None;
    let rows =
        ledger.rows(run, RowFilter::All).map_while(|row| row.map_err(|error| failed = Some(error)).ok());
    printer.csv(COLUMNS, rows.map(|row| cells(&row, &hands.row(&row))));
    failed.map_or(Ok(()), |error| Err(error.into()))
}

const COLUMNS: [&str; 23] = [
    "line",
    "device_id",
    "module_id",
    "state",
    "effect",
    "http_status",
    "error_code",
    "error",
    "tracking_id",
    "differences",
    "identity_etag",
    "twin_etag",
    "identity_etag_before",
    "twin_etag_before",
    "deviation",
    "serial",
    "sent",
    "ended",
    "operator",
    "station",
    "reason",
    "held_by",
    "presumed",
];

fn cells(row: &LedgerRow, report: &ReportRow<'_>) -> [String; COLUMNS.len()] {
    let record = &row.record;
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let list = |found: &[Difference]| found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let drift = match report.drift {
        Some([]) => "missing".into(),
        Some(found) => list(found),
        None => String::new(),
    };
    [
        row.line.to_string(),
        report.device_id.to_owned(),
        text(report.module_id),
        record.state.to_string(),
        text(record.effect.map(|effect| effect.as_str())),
        record.http_status.map(|status| status.to_string()).unwrap_or_default(),
        text(record.error_code.as_deref()),
        text(record.error.as_deref()),
        text(record.tracking_id.as_deref()),
        list(&record.differences),
        text(row.etags.identity.as_ref().map(|etag| etag.as_str())),
        text(row.etags.twin.as_ref().map(|etag| etag.as_str())),
        text(report.identity_etag_before),
        text(report.twin_etag_before),
        drift,
        text(report.serial),
        text(report.sent),
        text(report.ended),
        report.by.name.clone(),
        report.by.station.clone(),
        text(record.reason.map(|reason| reason.as_str())),
        record.held_by.map(|run| run.to_string()).unwrap_or_default(),
        text(record.presumed.then_some("true")),
    ]
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
