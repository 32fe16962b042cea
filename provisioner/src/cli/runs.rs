//! `runs`, `status` and `report`: what the ledger knows.

use hub_types::IdentityId;
use serde::Serialize;

use super::args::{Format, ReportArgs};
use super::failed_rows;
use super::failure::{Exit, Failure};
use super::printer::Printer;
use crate::ledger::{Ledger, LedgerLocation, LedgerRow, Record, RowFilter, Run, RunId, Totals};
use crate::standing::Etags;

#[derive(Serialize)]
struct RunReport {
    #[serde(flatten)]
    run: Run,
    totals: Totals,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<Vec<ReportRow>>,
}

#[derive(Serialize)]
struct ReportRow {
    line: u64,
    device_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    module_id: Option<String>,
    #[serde(flatten)]
    record: Record,
    #[serde(flatten)]
    etags: Etags,
}

pub(super) fn list(ledger: &LedgerLocation, printer: &Printer) -> Result<Exit, Failure> {
    let mut ledger = Ledger::open_to_read(ledger)?;
    let mut reports = Vec::new();
    for run in ledger.runs()? {
        let totals = ledger.totals(run.id)?;
        reports.push(RunReport { run, totals, rows: None });
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
    let report = RunReport { totals: ledger.totals(run.id)?, run, rows: None };
    match printer.format {
        Format::Json => printer.json(&report),
        Format::Csv => print_runs_csv(&[report], printer),
        Format::Text => print_run(&report, printer),
    }
    Ok(Exit::Done)
}

pub(super) fn report(args: &ReportArgs, ledger: &LedgerLocation, printer: &Printer) -> Result<Exit, Failure> {
    let mut ledger = Ledger::open_to_read(ledger)?;
    let run = ledger.run(args.run)?;
    if let Some(out) = &args.failed_rows {
        failed_rows::write_to(out, &mut ledger, &run, printer)?;
    }
    let totals = ledger.totals(run.id)?;
    match printer.format {
        Format::Json => {
            let rows = all_rows(&mut ledger, run.id, RowFilter::All)?;
            printer.json(&RunReport { run, totals, rows: Some(rows.into_iter().map(report_row).collect()) });
        }
        Format::Csv => print_rows_csv(&mut ledger, run.id, printer)?,
        Format::Text => {
            print_remarkable(&mut ledger, run.id, printer)?;
            print_run(&RunReport { run, totals, rows: None }, printer);
        }
    }
    Ok(if totals.all_well() { Exit::Done } else { Exit::SomeFailed })
}

/// Prints the rows that need a look: what failed, what is in conflict, which twins were kept.
pub(super) fn print_remarkable(ledger: &mut Ledger, run: RunId, printer: &Printer) -> Result<(), Failure> {
    for row in all_rows(ledger, run, RowFilter::Remarkable)? {
        let Record { state, error, differences, .. } = &row.record;
        let reason = error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        printer.data(format_args!("line {}: {}: {state}{reason}", row.line, row.wanted.identity));
        differences.iter().for_each(|difference| printer.data(format_args!("  {difference}")));
    }
    Ok(())
}

fn print_run(report: &RunReport, printer: &Printer) {
    let RunReport { run, totals, .. } = report;
    let finished = run.finished.as_ref().map(|time| format!(" to {time}")).unwrap_or_default();
    printer.data(format_args!("run {}: {} on {}: {}", run.id, run.input, run.hub, run.state));
    printer.data(format_args!("  {}{finished}", run.started));
    printer.data(format_args!("  {totals}"));
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
            ]
        }),
    );
}

/// Prints every row of a run as CSV.
pub(super) fn print_rows_csv(ledger: &mut Ledger, run: RunId, printer: &Printer) -> Result<(), Failure> {
    let rows = all_rows(ledger, run, RowFilter::All)?;
    printer.csv(
        [
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
        ],
        rows.into_iter().map(|row| {
            let identity = &row.wanted.identity;
            let differences: Vec<_> = row.record.differences.iter().map(ToString::to_string).collect();
            [
                row.line.to_string(),
                identity.device().to_string(),
                identity.module().map(ToString::to_string).unwrap_or_default(),
                row.record.state.to_string(),
                row.record.effect.map(|effect| effect.as_str().to_owned()).unwrap_or_default(),
                row.record.http_status.map(|status| status.to_string()).unwrap_or_default(),
                row.record.error_code.unwrap_or_default(),
                row.record.error.unwrap_or_default(),
                row.record.tracking_id.unwrap_or_default(),
                differences.join("; "),
                row.etags.identity.map(String::from).unwrap_or_default(),
                row.etags.twin.map(String::from).unwrap_or_default(),
            ]
        }),
    );
    Ok(())
}

fn report_row(row: LedgerRow) -> ReportRow {
    let identity = row.wanted.identity;
    ReportRow {
        line: row.line,
        device_id: identity.device().to_string(),
        module_id: identity.module().map(ToString::to_string),
        record: row.record,
        etags: row.etags,
    }
}

fn all_rows(ledger: &mut Ledger, run: RunId, filter: RowFilter) -> Result<Vec<LedgerRow>, Failure> {
    let mut rows = Vec::new();
    let mut after: Option<IdentityId> = None;
    loop {
        let page = ledger.page(run, filter, after.as_ref(), PAGE)?;
        let Some(last) = page.last() else { return Ok(rows) };
        after = Some(last.wanted.identity.clone());
        rows.extend(page);
    }
}

const PAGE: usize = 10_000;
