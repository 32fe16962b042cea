//! The common part of `apply`, `resume` and `work`: carries out a run, and reports its end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cert_tool::{CaOptions, CertificateAuthority, IssueOptions, IssuedStore, SecretSource, Sink};
use serde::Serialize;
use tokio_util::task::AbortOnDropHandle;

use super::args::{Format, WorkArgs};
use super::context::{InContext, ResultContext};
use super::failure::{Exit, Failure};
use super::printer::Printer;
use super::{failed_rows, report, verify as verify_cli};
use crate::apply::Apply;
use crate::clock::{Timestamp, now};
use crate::ledger::{
    IssueFolders, Ledger, LedgerLocation, RowFilter, Run, RunId, RunOptions, RunState, SharedLedger, Totals,
    Verification,
};
use crate::maintain::change::Maintenance;
use crate::maintain::{CertificateCheck, Maintain, VerifyMaintenance};
use crate::model::creator_tag;
use crate::model::holds::Holds;
use crate::model::observer::{Activity, ActivityProgress, RunObserver, row_counter};
use crate::model::options::ApplyOptions;
use crate::model::spec::GivenKeys;
use crate::report::held_note;
use crate::run::issue::{IssueError, issue_missing};
use crate::run::progress::ProgressRecorder;
use crate::target::{OpenHub, Target};
use crate::verify::{Verified, Verify};
use crate::workers::WorkerPool;
use crate::workers::concurrent_reads::READERS;

/// The CA, and the folder that its certificates go to.
pub(super) struct Certificates {
    ca: CertificateAuthority,
    store: IssuedStore,
    options: IssueOptions,
}

impl Certificates {
    /// Opens both. Only for the embedded hub a CA is made where there is none: elsewhere a folder
    /// without a CA is a slip of the pen.
    pub(super) fn open(
        folders: Option<IssueFolders>,
        secrets: &SecretSource,
        target: &Target,
        printer: &Printer,
    ) -> Result<Option<Self>, Failure> {
        let Some(IssueFolders { ca: folder, out }) = folders else { return Ok(None) };
        let now = now();
        let ca = match (CertificateAuthority::exists(&folder), target) {
            (true, _) => CertificateAuthority::open_with(&folder, &mut |locked| secrets.ask(locked))?,
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
        let store = IssuedStore::open(&ca, &out, Sink::Bundle)?;
        Ok(Some(Self { ca, store, options: IssueOptions::new(now) }))
    }

    /// The folder of what was issued.
    pub(super) fn store(&self) -> &IssuedStore {
        &self.store
    }

    fn issue(mut self, ledger: &mut Ledger, run: RunId, printer: &Printer) -> Result<(), Failure> {
        let begun = Instant::now();
        let rows = ledger.count(run, RowFilter::ToBeIssued)?;
        let progress = printer.begin(Activity::Issuing, rows);
        let count = |rows| progress.add(rows);
        let stop = printer.stop.token();
        let is_stopped = || stop.is_cancelled();
        let totals =
            issue_missing(ledger, run, &self.ca, &self.options, &mut self.store, &count, &is_stopped);
        progress.finish();
        let totals = match totals {
            Ok(totals) => totals,
            // The run ends as one that was stopped before its first row.
            Err(IssueError::Stopped) => return Ok(()),
            Err(error) => {
                ledger.end_run(run, RunState::Interrupted, &Timestamp::now())?;
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
        let end = self.ca.earlier_end(self.options.days, self.options.now);
        if let Some(end) = end.filter(|_| totals.issued > 0) {
            printer.note(format_args!("note: {end}"));
        }
        Ok(())
    }
}

/// The work that remains once there is a run.
pub(super) struct Job<'a> {
    pub(super) hub: OpenHub,
    pub(super) keys: Arc<GivenKeys>,
    /// The batch file, where it is at hand.
    pub(super) batch: Option<PathBuf>,
    pub(super) certificates: Option<Certificates>,
    /// Asked before an old thumbprint is taken out.
    pub(super) certificate_check: Option<CertificateCheck>,
    pub(super) args: &'a WorkArgs,
    /// True to read everything back at the end.
    pub(super) verify: bool,
    pub(super) printer: &'a Printer,
}

#[derive(Serialize)]
struct Outcome {
    run: RunId,
    state: RunState,
    /// True to keep devices disabled until they are released.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    quarantine: bool,
    totals: Totals,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<Verified>,
}

impl Job<'_> {
    /// Issues, provisions, verifies, and prints what came of it.
    pub(super) async fn carry_out(
        mut self,
        mut ledger: Ledger,
        location: &LedgerLocation,
        run: RunId,
    ) -> Result<Exit, Failure> {
        let begun = Instant::now();
        ledger.set_patience(Duration::from_secs(60 * u64::from(self.args.wait_for_hub)));
        for weakness in ledger.weaknesses()? {
            self.printer.note(format_args!("warning: the ledger {location}: {weakness}"));
        }
        ledger.begin_stint(run, &self.args.operator(), &Timestamp::now())?;
        let stop = &self.printer.stop;
        stop.advise(format!("`provisioner resume {run}` does the rest"));
        stop.set_careful(true);
        let issued = match self.certificates.take() {
            Some(certificates) => certificates.issue(&mut ledger, run, self.printer),
            None => Ok(()),
        };
        let ledger = SharedLedger::new(ledger);
        let outcome = match issued {
            Ok(()) => {
                let client = self.hub.client.clone();
                let recorder = ProgressRecorder::new(ledger.clone(), run, begun, move || {
                    client.rate_limiter().call_stats()
                });
                self.provision(&ledger, run, recorder).await
            }
            Err(failure) => Err(failure),
        };
        self.hub.close().await;
        stop.set_careful(false);
        let outcome = outcome?;
        let mut ledger = ledger.lock();
        let run = ledger.run(Some(run))?;
        let exit = print(&outcome, &mut ledger, location, &run, self.printer)?;
        if let Some(batch) = &self.batch {
            failed_rows::write_beside(batch, &mut ledger, &run, self.printer)?;
        }
        Ok(exit)
    }

    async fn provision(
        &self,
        ledger: &SharedLedger,
        run: RunId,
        recorder: Arc<ProgressRecorder>,
    ) -> Result<Outcome, Failure> {
        let begun = Instant::now();
        let (rows, options) = {
            let mut ledger = ledger.lock();
            (ledger.totals(run)?.pending, ledger.run(Some(run))?.options)
        };
        let (maintenance, quarantine) = (options.maintenance.clone(), options.quarantine);
        let activity = if maintenance.is_some() { Activity::Altering } else { Activity::Provisioning };
        let progress = self.printer.begin(activity, rows);
        let pool = self.pool(ledger, run, &progress, &recorder);
        let keeping = AbortOnDropHandle::new(tokio::spawn(recorder.clone().keep()));
        let state = match &maintenance {
            Some(maintenance) => self.alter(maintenance, pool).await,
            None => self.apply(ledger, run, options, pool).await,
        };
        drop(keeping);
        progress.finish();
        recorder.write().await?;
        let state = state.inspect_err(|_| {
            self.printer.note(format_args!(
                "the ledger knows what was done; `provisioner resume {run}` does the rest"
            ));
        })?;
        let totals = ledger.lock().totals(run)?;
        let seconds = begun.elapsed().as_secs_f64();
        if rows > 0 {
            let what = if maintenance.is_some() { "done" } else { "provisioned" };
            self.printer.note(format_args!("{what} in {seconds:.1} s"));
        }
        let verified = match state {
            RunState::Finished if self.verify => self.read_back(ledger, run, &totals, maintenance).await?,
            _ => None,
        };
        if let Some(verified) = &verified {
            ledger.lock().set_verification(run, &verified.counts(Timestamp::now()))?;
        }
        Ok(Outcome { run, state, quarantine, totals, seconds, verified })
    }

    /// Those who work on the run: they stop on Ctrl-C, and wait for a hub that is down.
    fn pool(
        &self,
        ledger: &SharedLedger,
        run: RunId,
        progress: &Arc<dyn ActivityProgress>,
        recorder: &Arc<ProgressRecorder>,
    ) -> WorkerPool {
        let stop = self.printer.stop.token();
        let rate_limiter = self.hub.client.rate_limiter();
        rate_limiter.stop_with(stop.clone());
        rate_limiter.set_patience(self.args.patience());
        let (client, recorder, show) = (self.hub.client.clone(), recorder.clone(), row_counter(progress));
        WorkerPool {
            ledger: ledger.clone(),
            run,
            workers: usize::try_from(self.args.workers.get()).unwrap_or(1),
            lease: Duration::from_secs(self.args.lease),
            share: Arc::new(move |share| client.rate_limiter().set_share(share)),
            stop,
            progress: Arc::new(move |rows| {
                recorder.count(rows);
                show(rows);
            }),
        }
    }

    async fn apply(
        &self,
        ledger: &SharedLedger,
        run: RunId,
        options: RunOptions,
        pool: WorkerPool,
    ) -> Result<RunState, Failure> {
        let look_first = ledger.lock().knows_hub(&self.hub.name, run)?;
        let (hub, keys) = (self.hub.client.clone(), self.keys.clone());
        let apply = Apply { hub, keys, options: apply_options(run, options), look_first, pool };
        Ok(apply.run().await?)
    }

    async fn alter(&self, maintenance: &Maintenance, pool: WorkerPool) -> Result<RunState, Failure> {
        let (hub, maintenance, certificate_check) =
            (self.hub.client.clone(), maintenance.clone(), self.certificate_check.clone());
        Ok(Maintain { hub, maintenance, certificate_check, pool }.run().await?)
    }

    /// Verifies the run; `None` where somebody stopped it before the end.
    async fn read_back(
        &self,
        ledger: &SharedLedger,
        run: RunId,
        totals: &Totals,
        maintenance: Option<Maintenance>,
    ) -> Result<Option<Verified>, Failure> {
        let stop = self.printer.stop.token();
        self.printer.stop.advise(format!("`provisioner resume {run}` reads the rest back"));
        let verified = stop.run_until_cancelled(self.verify(ledger, run, totals, maintenance)).await;
        match verified {
            Some(Err(_)) | None if stop.is_cancelled() => Ok(None),
            verified => verified.transpose(),
        }
    }

    async fn verify(
        &self,
        ledger: &SharedLedger,
        run: RunId,
        totals: &Totals,
        maintenance: Option<Maintenance>,
    ) -> Result<Verified, Failure> {
        let Totals { created, updated, deleted, unchanged, .. } = totals;
        let progress = self.printer.begin(Activity::Verifying, created + updated + deleted + unchanged);
        let (hub, ledger, counter) = (self.hub.client.clone(), ledger.clone(), row_counter(&progress));
        let verified = match maintenance {
            Some(maintenance) => {
                let check = VerifyMaintenance {
                    hub,
                    ledger,
                    run,
                    maintenance,
                    concurrency: READERS,
                    progress: counter,
                };
                check.run().await
            }
            None => {
                let verify = Verify {
                    hub,
                    holds: Holds::new(Some(ledger.clone()), &self.hub.name),
                    ledger,
                    run,
                    filter: RowFilter::Settled,
                    keys: self.keys.clone(),
                    concurrency: READERS,
                    progress: counter,
                };
                verify.run().await
            }
        };
        progress.finish();
        Ok(verified?)
    }
}

/// Prints what a run came to of which nothing is left to do.
pub(super) fn print_finished(
    ledger: &mut Ledger,
    location: &LedgerLocation,
    run: &Run,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let totals = ledger.totals(run.id)?;
    let (state, quarantine) = (run.state, run.options.quarantine);
    let outcome = Outcome { run: run.id, state, quarantine, totals, seconds: 0.0, verified: None };
    let exit = print(&outcome, ledger, location, run, printer)?;
    let all_verified = run.verification.as_ref().is_none_or(Verification::all_well);
    Ok(if all_verified { exit } else { Exit::SomeFailed })
}

fn print(
    outcome: &Outcome,
    ledger: &mut Ledger,
    location: &LedgerLocation,
    run: &Run,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let Outcome { state, totals, verified, .. } = outcome;
    let id = run.id;
    match printer.format {
        Format::Json => {
            printer.json(&InContext { context: ResultContext::of_run(run, location), result: outcome })?;
        }
        Format::Csv => report::print_rows_csv(ledger, id, printer)?,
        Format::Text => {
            report::print_unread(run, printer);
            report::print_remarkable(ledger, id, printer)?;
            if let Some(verified) = verified {
                verify_cli::print(verified, printer)?;
            }
            printer.data(format_args!("run {id}: {state}: {totals}"));
            if let Some(note) = held_note(run, totals) {
                printer.data(note);
            }
            if let Some(folders) = &run.options.issue {
                printer.data(format_args!("certificates and keys: {}", folders.out.display()));
            }
            printer.data(format_args!("ledger: {} (`provisioner report {id}`)", location));
        }
    }
    if !totals.add_up() {
        return Err(Failure::new(Exit::Bug, format!("the rows of run {id} do not add up: {totals}")));
    }
    let all_verified = verified.as_ref().is_none_or(Verified::all_well);
    Ok(match state {
        RunState::Finished if verified.is_none() && printer.stop.token().is_cancelled() => {
            printer.note(format_args!("stopped; `provisioner resume {id}` reads the rest back"));
            Exit::Interrupted
        }
        RunState::Finished if totals.all_well() && all_verified => Exit::Done,
        RunState::Finished => Exit::SomeFailed,
        RunState::Interrupted | RunState::Running => {
            printer.note(format_args!("stopped; `provisioner resume {id}` does the rest"));
            Exit::Interrupted
        }
    })
}

fn apply_options(run: RunId, options: RunOptions) -> ApplyOptions {
    ApplyOptions {
        rules: options.rules,
        created_by: options.created_by_tag.map(|name| (name, creator_tag::value(run))),
        as_planned: options.plan.is_some(),
    }
}
