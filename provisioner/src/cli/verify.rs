//! `verify`: compares the hub with the batch, and connects as its devices.

use std::collections::BTreeSet;

use cli_support::exit::Exit;

use hub_types::shown::ShownBare;

use super::args::{Format, VerifyArgs};
use super::context::{InContext, ResultContext};
use super::failure::Failure;
use super::printer::Printer;
use crate::ledger::LedgerLocation;
use crate::model::compare::Difference;
use crate::target::{DpsChoice, ServiceChoice};
use crate::verify::{
    Connections, Drift, DriftKind, Unconnected, Verified, VerifyEnrollmentsRequest, VerifyRequest,
    verify_batch, verify_enrollments,
};

pub(super) async fn run(
    args: &VerifyArgs,
    ledger: &LedgerLocation,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let (hub, batch) = match args.dps.choice(&args.job.target) {
        ServiceChoice::Hub(hub) => (hub, args.job.batch.choice()),
        ServiceChoice::Dps(dps) => return run_on_dps(args, dps, printer).await,
    };
    let connect = args.connect_request();
    let request = VerifyRequest {
        hub,
        batch,
        issued: args.job.issued.folders().map(|folders| folders.out),
        ledger: ledger.clone(),
        within: args.within.clone(),
        connect,
    };
    let (hub, verified) = verify_batch(request, printer).await?;
    print_in_context(ResultContext::of_hub(hub).ledger(ledger), args, &verified, printer)
}

async fn run_on_dps(args: &VerifyArgs, dps: DpsChoice, printer: &Printer) -> Result<Exit, Failure> {
    let issue = args.job.issued.folders();
    let (dps, connect, group) = (args.with_id_scope(dps), args.connect_request(), args.group()?);
    let request = VerifyEnrollmentsRequest { dps, batch: args.job.batch.choice(), issue, group, connect };
    let (dps, verified) = verify_enrollments(request, printer).await?;
    print_in_context(ResultContext::of_dps(dps), args, &verified, printer)
}

fn print_in_context(
    context: ResultContext,
    args: &VerifyArgs,
    verified: &Verified,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let context = context.input(&args.job.batch.file);
    match printer.format {
        Format::Json => printer.json(&InContext { context, result: verified })?,
        Format::Csv | Format::Text => print(verified, printer)?,
    }
    Ok(Exit::finished(verified.all_well()))
}

pub(super) fn print(verified: &Verified, printer: &Printer) -> Result<(), Failure> {
    match printer.format {
        Format::Json => printer.json(verified)?,
        Format::Csv => {
            let drifts = verified.drifts.iter().flat_map(csv_of_drift);
            let connections = verified.connections.iter().flat_map(csv_of_connections);
            printer.csv(["line", "identity", "path", "batch", "hub"], drifts.chain(connections));
        }
        Format::Text => {
            verified.drifts.iter().for_each(|drift| print_drift(drift, printer));
            if let Some(connections) = &verified.connections {
                print_connections(connections, printer);
            }
            printer.data(summary(verified));
            if let Some(Connections { connected, failed, not_tried, disabled, .. }) = &verified.connections {
                let disabled = match disabled {
                    0 => String::new(),
                    disabled => format!(", {disabled} disabled: not tried"),
                };
                printer.data(format_args!(
                    "{connected} connected, {failed} failed, {not_tried} not tried{disabled}"
                ));
            }
        }
    }
    Ok(())
}

fn csv_of_drift(drift: &Drift) -> Vec<[String; 5]> {
    let line = drift.line.map(|line| line.to_string()).unwrap_or_default();
    let row = |path: &str, batch: &str, hub: &str| {
        [line.clone(), drift.identity.clone(), path.to_owned(), batch.to_owned(), hub.to_owned()]
    };
    let mut rows: Vec<_> = drift
        .differences
        .iter()
        .map(|difference| {
            row(&difference.path.to_string(), &difference.expected.to_string(), &difference.found.to_string())
        })
        .collect();
    match drift.kind {
        DriftKind::Missing => rows.push(row("", "there", "missing")),
        DriftKind::Extra => rows.push(row("", "missing", "there")),
        DriftKind::Different => {}
    }
    if let (Some(file), Some(reason)) = (&drift.certificate, &drift.mismatch) {
        rows.push(row("certificate", file, reason));
    }
    rows
}

fn csv_of_connections(connections: &Connections) -> impl Iterator<Item = [String; 5]> {
    let row = |one: &Unconnected, batch: &str, hub: String| {
        [one.line.to_string(), one.identity.clone(), "connection".to_owned(), batch.to_owned(), hub]
    };
    let failures = connections.failures.iter().map(move |one| row(one, "connects", one.reason.clone()));
    let untried =
        connections.untried.iter().map(move |one| row(one, "", format!("not tried: {}", one.reason)));
    failures.chain(untried)
}

fn print_drift(drift: &Drift, printer: &Printer) {
    let Drift { kind, identity, differences, certificate, mismatch, .. } = drift;
    match drift.line {
        Some(line) => printer.data(format_args!("line {line}: {identity}: {}", kind.as_str())),
        None => printer.data(format_args!("{identity}: {}: it has no row in the batch", kind.as_str())),
    }
    print_differences(differences, printer);
    match (certificate, mismatch) {
        (Some(file), Some(reason)) => {
            printer.data(format_args!("  certificate: {}: {reason}", ShownBare(file)))
        }
        (Some(file), None) => printer.data(format_args!("  certificate: {}", ShownBare(file))),
        (None, _) => {}
    }
}

/// Prints the results of connecting. Each remedy is printed once, for any number of devices.
fn print_differences(differences: &[Difference], printer: &Printer) {
    for difference in differences {
        printer.data(format_args!("  {}", difference.told("batch has", printer.service())));
    }
}

fn print_connections(connections: &Connections, printer: &Printer) {
    for Unconnected { line, identity, reason, differences, .. } in &connections.failures {
        printer.data(format_args!("line {line}: {identity}: did not connect as the batch wants: {reason}"));
        print_differences(differences, printer);
    }
    for Unconnected { line, identity, reason, .. } in &connections.untried {
        printer.data(format_args!("line {line}: {identity}: not tried to connect: {reason}"));
    }
    let all = connections.failures.iter().chain(&connections.untried);
    let remedies: BTreeSet<&str> = all.filter_map(|one| one.remedy.as_deref()).collect();
    remedies.iter().for_each(|remedy| printer.note(format_args!("hint: {remedy}")));
}

/// `1920 checked: 1920 equal, 0 missing, 0 different, 0 extra`
pub(super) fn summary(verified: &Verified) -> String {
    let Verified { checked, equal, missing, different, held, twin_written_since, .. } = verified;
    let mut text = format!("{checked} checked: {equal} equal, {missing} missing, {different} different");
    if let Some(extra) = verified.extra {
        text.push_str(&format!(", {extra} extra"));
    }
    if *held > 0 {
        text.push_str(&format!(" ({held} of the equal ones were disabled by a run, and stay so)"));
    }
    if *twin_written_since > 0 {
        text.push_str(&format!(
            " ({twin_written_since} of the equal ones have a twin written since, which is kept)"
        ));
    }
    text
}
