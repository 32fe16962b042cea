//! `verify`: does the hub hold what the batch says, and nothing besides? Does it let its devices in?

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use hub_types::DeviceId;
use tokio_util::sync::CancellationToken;

use super::args::{ConnectArgs, Format, VerifyArgs};
use super::context::{InContext, ResultContext};
use super::failure::{Exit, Failure};
use super::loading::{LoadRules, READERS, Temporary, open_owners};
use super::printer::Printer;
use super::progress::Progress;
use crate::device::{CredentialSource, default_concurrency};
use crate::ledger::{LedgerLocation, RowFilter, RunId, SharedLedger};
use crate::model::holds::Holds;
use crate::target::{OpenHub, Target};
use crate::verify::{
    CertificateMismatches, Connections, Drift, DriftKind, Extras, Sample, Trial, Unconnected, Verified,
    Verify, recompute_issued,
};

pub(super) async fn run(
    args: &VerifyArgs,
    ledger: &LedgerLocation,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let target = Target::resolve(args.job.target.choice(), ".".as_ref())?;
    printer.hub(&target);
    let mut batch =
        Temporary::load(&args.job, LoadRules { note_files: true, ..LoadRules::default() }, None, printer)?;
    let mismatch = match &batch.issued {
        Some(list) => recompute_issued(&mut batch.ledger, batch.run, list)?,
        None => CertificateMismatches::new(),
    };
    refuse_unissued(&mut batch)?;
    let hub = match args.connect.sample {
        Some(_) => target.open_for_devices(batch.device_cas()).await?,
        None => target.open().await?,
    };
    let holds = Holds::new(open_owners(ledger)?.map(SharedLedger::new), &hub.name);
    let verifying = Verifying::of(args, &hub, holds, batch, printer.stop.token());
    let verified = verifying.run(mismatch).await;
    let context = ResultContext::of_hub(&hub).ledger(ledger).input(&args.job.batch.file);
    hub.close().await;
    let verified = verified?;
    match printer.format {
        Format::Json => printer.json(&InContext { context, result: &verified })?,
        Format::Csv | Format::Text => print(&verified, printer)?,
    }
    Ok(if verified.all_well() { Exit::Done } else { Exit::SomeFailed })
}

/// A row whose certificate was never issued has no thumbprint that the hub's could be compared with.
fn refuse_unissued(batch: &mut Temporary) -> Result<(), Failure> {
    let rows = batch.ledger.page(batch.run, RowFilter::ToBeIssued, None, 1)?;
    let Some(row) = rows.first() else { return Ok(()) };
    let text = format!("line {}: no certificate was issued for `{}` yet", row.line, row.spec.identity);
    Err(Failure::new(Exit::BadInput, text).hint("run `provisioner apply` with the same `--issue` first"))
}

/// A batch in a temporary ledger, and the hub that it is compared with.
struct Verifying<'a> {
    args: &'a VerifyArgs,
    hub: &'a OpenHub,
    holds: Holds,
    ledger: SharedLedger,
    run: RunId,
    rows: u64,
    credentials: Arc<CredentialSource>,
    stop: CancellationToken,
}

impl<'a> Verifying<'a> {
    fn of(
        args: &'a VerifyArgs,
        hub: &'a OpenHub,
        holds: Holds,
        batch: Temporary,
        stop: CancellationToken,
    ) -> Self {
        let rows = batch.loaded.rows();
        let credentials = CredentialSource {
            files: batch.loaded.files,
            issued: batch.issued,
            keys: Arc::new(batch.loaded.keys),
        };
        let (ledger, run) = (SharedLedger::new(batch.ledger), batch.run);
        Self { args, hub, holds, ledger, run, rows, credentials: Arc::new(credentials), stop }
    }

    async fn run(&self, mismatch: CertificateMismatches) -> Result<Verified, Failure> {
        self.hub.client.probe().await?;
        let progress = Progress::new("verifying", self.rows);
        let verify = Verify {
            hub: self.hub.client.clone(),
            ledger: self.ledger.clone(),
            run: self.run,
            filter: RowFilter::All,
            holds: self.holds.clone(),
            keys: self.credentials.keys.clone(),
            concurrency: READERS,
            progress: progress.counter(),
        };
        let extras = Extras {
            hub: self.hub.client.clone(),
            ledger: self.ledger.clone(),
            run: self.run,
            within: self.args.within.clone(),
        };
        let looked = tokio::try_join!(verify.run(), extras.find());
        progress.finish();
        let (mut verified, extras) = looked?;
        verified.add_certificate_mismatches(mismatch);
        verified.name_certificates(|identity| self.credentials.certificate(identity))?;
        verified.add_extra(extras);
        let connect = &self.args.connect;
        if let Some(sample) = connect.sample {
            let disabled = Arc::new(std::mem::take(&mut verified.disabled));
            verified.connections = Some(self.connect(sample, connect, disabled).await?);
        }
        Ok(verified)
    }

    async fn connect(
        &self,
        sample: Sample,
        args: &ConnectArgs,
        disabled: Arc<HashSet<DeviceId>>,
    ) -> Result<Connections, Failure> {
        let trial = Trial {
            hub: Arc::new(self.hub.for_devices(args.mqtt.clone())?),
            credentials: self.credentials.clone(),
            ledger: self.ledger.clone(),
            run: self.run,
            filter: RowFilter::All,
            sample,
            disabled,
            concurrency: args.connections.map_or_else(default_concurrency, usize::from),
            stop: self.stop.clone(),
        };
        let progress = Progress::new("connecting", trial.identities().await?);
        let connections = trial.run(&|identities| progress.add(identities)).await;
        progress.finish();
        Ok(connections?)
    }
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
            row(&difference.path, &difference.expected.to_string(), &difference.found.to_string())
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
    differences.iter().for_each(|difference| printer.data(format_args!("  {difference}")));
    match (certificate, mismatch) {
        (Some(file), Some(reason)) => printer.data(format_args!("  certificate: {file}: {reason}")),
        (Some(file), None) => printer.data(format_args!("  certificate: {file}")),
        (None, _) => {}
    }
}

/// Prints the results of connecting. Each remedy is printed once, for any number of devices.
fn print_connections(connections: &Connections, printer: &Printer) {
    for Unconnected { line, identity, reason, differences, .. } in &connections.failures {
        printer.data(format_args!("line {line}: {identity}: did not connect as the batch wants: {reason}"));
        differences.iter().for_each(|difference| printer.data(format_args!("  {difference}")));
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
        text.push_str(&format!(" ({held} of the equal ones disabled until released)"));
    }
    if *twin_written_since > 0 {
        text.push_str(&format!(
            " ({twin_written_since} of the equal ones have a twin written since, which is kept)"
        ));
    }
    text
}
