//! `apply`: make the hub hold what the batch says.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use cert_tool::{CaOptions, CertificateAuthority, IssueOptions, IssuedStore, Sink};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::args::{ApplyArgs, Format};
use super::failure::{Exit, Failure};
use super::loading::{READERS, counted, load_into};
use super::printer::Printer;
use super::progress::Progress;
use super::{runs, verify as verify_cli};
use crate::apply::Apply;
use crate::batch::{Loaded, MissingCertificates};
use crate::clock::{now, now_text};
use crate::desired::GivenKeys;
use crate::issue::issue_missing;
use crate::ledger::{Ledger, RowFilter, RunFacts, RunId, RunState, SharedLedger, Totals};
use crate::target::{OpenHub, Target};
use crate::verify::{Verified, Verify};

pub(super) async fn run(args: &ApplyArgs, ledger_path: &Path, printer: &Printer) -> Result<Exit, Failure> {
    let target = Target::resolve(args.job.target.choice(), ".".as_ref())?;
    printer.note(format_args!("hub: {target}"));
    let certificates = Certificates::open(args, &target, printer)?;
    let mut ledger = Ledger::open(ledger_path)?;
    let (hub, run, loaded) = begin(args, target, &mut ledger, certificates.is_some(), printer).await?;
    let work = Work { args, hub: &hub, run, keys: Arc::new(loaded.keys), printer };
    let result = match certificates {
        Some(certificates) => certificates.issue(&mut ledger, run, loaded.to_issue, printer),
        None => Ok(()),
    };
    let ledger = SharedLedger::new(ledger);
    let result = match result {
        Ok(()) => work.carry_out(&ledger).await,
        Err(failure) => Err(failure),
    };
    hub.close().await;
    let outcome = result?;
    let ledger = ledger.lock();
    print(&outcome, &ledger, ledger_path, args, printer)
}

/// Reads the batch and knocks at the hub's door. Only when both are well is there a run.
async fn begin(
    args: &ApplyArgs,
    target: Target,
    ledger: &mut Ledger,
    issues: bool,
    printer: &Printer,
) -> Result<(OpenHub, RunId, Loaded), Failure> {
    let (name, input) = (target.name(), args.job.batch.file.display().to_string());
    let loader = ledger.load_run(&RunFacts { hub: &name, input: &input, started: &now_text() })?;
    let certificates = if issues { MissingCertificates::Issued } else { MissingCertificates::Refused };
    let loaded = load_into(&loader, &args.job.batch, certificates, args.skip_bad_rows, printer)?;
    printer.note(format_args!(
        "batch: {input}: {}, {}, {}",
        counted(loaded.rows(), "row"),
        counted(loaded.devices, "device"),
        counted(loaded.modules, "module")
    ));
    let hub = target.open().await?;
    if let Err(error) = hub.client.probe().await {
        hub.close().await;
        return Err(error.into());
    }
    let run = loader.commit(&loaded.sha256, loaded.bad_rows)?;
    Ok((hub, run, loaded))
}

/// The CA, and the folder that its certificates go to.
struct Certificates {
    ca: CertificateAuthority,
    store: IssuedStore,
    options: IssueOptions,
}

impl Certificates {
    /// Opens both. Only for the embedded hub a CA is made where there is none: elsewhere a folder
    /// without a CA is a slip of the pen.
    fn open(args: &ApplyArgs, target: &Target, printer: &Printer) -> Result<Option<Self>, Failure> {
        let Some((folder, issued)) = args.job.issued.folders() else { return Ok(None) };
        let now = now();
        let ca = match (CertificateAuthority::exists(&folder), target) {
            (true, _) => CertificateAuthority::open(&folder)?,
            (false, Target::Embedded { .. }) => {
                printer.note(format_args!("CA: made a test CA in {}", folder.display()));
                CertificateAuthority::init(&folder, &CaOptions::default(), now)?
            }
            (false, Target::Remote { .. }) => {
                let text = format!("there is no CA in `{}`", folder.display());
                let hint = format!("make one with `cert-tool ca init {}`", folder.display());
                return Err(Failure::new(Exit::Refused, text).hint(hint));
            }
        };
        let store = IssuedStore::open(&issued, Sink::Bundle)?;
        Ok(Some(Self { ca, store, options: IssueOptions::new(now) }))
    }

    fn issue(mut self, ledger: &mut Ledger, run: RunId, rows: u64, printer: &Printer) -> Result<(), Failure> {
        let begun = Instant::now();
        let progress = Progress::new("issuing", rows);
        let count = |rows| progress.add(rows);
        let totals = issue_missing(ledger, run, &self.ca, &self.options, &mut self.store, &count);
        progress.finish();
        let totals = match totals {
            Ok(totals) => totals,
            Err(error) => {
                ledger.end_run(run, RunState::Interrupted, &now_text())?;
                return Err(error.into());
            }
        };
        printer.note(format_args!(
            "certificates: {} issued, {} there already, {} refused, in {:.1} s",
            totals.issued,
            totals.already_there,
            totals.refused,
            begun.elapsed().as_secs_f64()
        ));
        Ok(())
    }
}

/// What is left to do once there is a run.
struct Work<'a> {
    args: &'a ApplyArgs,
    hub: &'a OpenHub,
    run: RunId,
    keys: Arc<GivenKeys>,
    printer: &'a Printer,
}

#[derive(Serialize)]
struct Outcome {
    run: RunId,
    state: RunState,
    totals: Totals,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<Verified>,
}

impl Work<'_> {
    async fn carry_out(&self, ledger: &SharedLedger) -> Result<Outcome, Failure> {
        let begun = Instant::now();
        let (look_first, rows) = {
            let ledger = ledger.lock();
            (ledger.knows_hub(&self.hub.name, self.run)?, ledger.totals(self.run)?.pending)
        };
        let progress = Progress::new("provisioning", rows);
        let stop = stop_on_ctrl_c();
        let apply = Apply {
            hub: self.hub.client.clone(),
            ledger: ledger.clone(),
            run: self.run,
            keys: self.keys.clone(),
            look_first,
            workers: usize::try_from(self.args.workers.get()).unwrap_or(1),
            stop: stop.clone(),
            progress: progress.counter(),
        };
        let state = apply.run().await;
        progress.finish();
        let state = state?;
        let totals = ledger.lock().totals(self.run)?;
        let seconds = begun.elapsed().as_secs_f64();
        self.printer.note(format_args!("provisioned in {seconds:.1} s"));
        let verified = match state {
            RunState::Finished if !self.args.no_verify => Some(self.verify(ledger, &totals).await?),
            _ => None,
        };
        Ok(Outcome { run: self.run, state, totals, seconds, verified })
    }

    async fn verify(&self, ledger: &SharedLedger, totals: &Totals) -> Result<Verified, Failure> {
        let progress = Progress::new("verifying", totals.created + totals.updated + totals.unchanged);
        let verify = Verify {
            hub: self.hub.client.clone(),
            ledger: ledger.clone(),
            run: self.run,
            filter: RowFilter::Settled,
            keys: self.keys.clone(),
            concurrency: READERS,
            progress: progress.counter(),
        };
        let verified = verify.run().await;
        progress.finish();
        Ok(verified?)
    }
}

fn print(
    outcome: &Outcome,
    ledger: &Ledger,
    ledger_path: &Path,
    args: &ApplyArgs,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let Outcome { run, state, totals, verified, .. } = outcome;
    match printer.format {
        Format::Json => printer.json(outcome),
        Format::Csv => runs::print_rows_csv(ledger, *run, printer)?,
        Format::Text => {
            runs::print_remarkable(ledger, *run, printer)?;
            if let Some(verified) = verified {
                verify_cli::print(verified, printer);
            }
            printer.data(format_args!("run {run}: {state}: {totals}"));
            if let Some((_, issued)) = args.job.issued.folders() {
                printer.data(format_args!("certificates and keys: {}", issued.display()));
            }
            printer.data(format_args!("ledger: {} (`provisioner report {run}`)", ledger_path.display()));
        }
    }
    if !totals.add_up() {
        return Err(Failure::new(Exit::Bug, format!("the rows of run {run} do not add up: {totals}")));
    }
    let all_verified = verified.as_ref().is_none_or(Verified::all_well);
    Ok(match state {
        RunState::Finished if totals.all_well() && all_verified => Exit::Done,
        RunState::Finished => Exit::SomeFailed,
        RunState::Interrupted | RunState::Running => {
            printer.note("stopped; run the same command again for the rest");
            Exit::Interrupted
        }
    })
}

/// A token that the first Ctrl-C cancels; the second ends the program at once, which loses nothing
/// either.
fn stop_on_ctrl_c() -> CancellationToken {
    let stop = CancellationToken::new();
    let cancelled = stop.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            cancelled.cancel();
        }
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(i32::from(Exit::Interrupted as u8));
        }
    });
    stop
}
