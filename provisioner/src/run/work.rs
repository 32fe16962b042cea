//! The work on a run: certificates are issued, the rows are worked on, and the results are read back.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tokio_util::task::AbortOnDropHandle;

use super::RunContext;
use super::error::RunFailure;
use super::issue::Certificates;
use super::maintain::credentials;
use super::outcome::{RunOutcome, RunResults};
use super::progress::ProgressRecorder;
use crate::allocation::{Allocation, AllocationServer, ListenSettings};
use crate::apply::{
    Apply, ApplyEnrollments, ApplyGroup, DpsRegistrations, Follow, HubRegistrations, Schedule,
};
use crate::clock::{self, Timestamp};
use crate::device::CredentialSource;
use crate::dps::{DpsClient, EnrollmentReader, EnrollmentSource, EntryError, GroupCa, read_settings};
use crate::hub::HubClient;
use crate::ledger::{Holds, Ledger, RowFilter, RunOptions, RunReader, RunState, SharedLedger, Totals};
use crate::maintain::{
    CertificateCheck, Maintain, Retire, UndoEnrollments, VerifyMaintenance, VerifyRetired,
    VerifyUndoneEnrollments,
};
use crate::model::creator_tag;
use crate::model::maintenance::Maintenance;
use crate::model::observer::{Activity, ActivityProgress, row_counter};
use crate::model::options::ApplyOptions;
use crate::model::run_id::RunId;
use crate::model::spec::GivenKeys;
use crate::target::{OpenDps, OpenHub, OpenService};
use crate::verify::{HubReader, Verified, Verify};
use crate::workers::concurrent_reads::READERS;
use crate::workers::{RunError, WorkerPool};

/// The work on a run that is in the ledger.
pub(super) struct Job<'a> {
    pub(super) service: OpenService,
    pub(super) keys: Arc<GivenKeys>,
    /// The batch file, if it is at hand.
    pub(super) batch: Option<PathBuf>,
    /// The CA, if certificates are issued.
    pub(super) certificates: Option<Certificates>,
    /// The check before an old thumbprint is removed, if one is required.
    pub(super) certificate_check: Option<CertificateCheck>,
    /// The way in which registrations are followed, if they are.
    pub(super) watch: Option<Watch>,
    /// True to read everything back at the end.
    pub(super) verify: bool,
    pub(super) context: &'a RunContext<'a>,
}

/// The way in which registrations are followed.
pub(super) struct Watch {
    /// The DPS; `None` to watch the hub alone.
    pub(super) dps: Option<OpenDps>,
    /// The times of looking.
    pub(super) schedule: Schedule,
    /// The server for custom allocations, if there is one.
    pub(super) listen: Option<ListenSettings>,
}

impl Job<'_> {
    /// Issues, provisions and verifies.
    pub(super) async fn execute(mut self, mut ledger: Ledger, run: RunId) -> Result<RunOutcome, RunFailure> {
        let begun = Instant::now();
        let RunContext { ledger: location, settings, observer, .. } = self.context;
        ledger.set_patience(settings.patience);
        for weakness in ledger.weaknesses()? {
            observer.note(&format_args!("warning: the ledger {location}: {weakness}"));
        }
        ledger.begin_session(run, &settings.by, &Timestamp::now())?;
        let resume = ledger.run(Some(run))?.options.resume_command(run);
        observer.advise(format!("`{resume}` does the rest"));
        observer.set_watches_stop(true);
        let issued = match self.certificates.take() {
            Some(certificates) => certificates.issue(&mut ledger, run, *observer),
            None => Ok(()),
        };
        let ledger = SharedLedger::new(ledger);
        let results = match issued {
            Ok(()) => {
                let client = self.service.client();
                let recorder = ProgressRecorder::new(ledger.clone(), run, begun, move || {
                    client.rate_limiter().call_stats()
                });
                self.provision(&ledger, run, recorder).await
            }
            Err(failure) => Err(failure),
        };
        self.service.close().await;
        observer.set_watches_stop(false);
        let (results, is_stopped) = (results?, observer.stop().is_cancelled());
        let run = ledger.lock().run(Some(run))?;
        Ok(RunOutcome::new(RunReader::new(ledger, run), results, is_stopped, self.batch))
    }

    async fn provision(
        &self,
        ledger: &SharedLedger,
        run: RunId,
        recorder: Arc<ProgressRecorder>,
    ) -> Result<RunResults, RunFailure> {
        let begun = Instant::now();
        let (Totals { pending, waiting, .. }, options) = {
            let mut ledger = ledger.lock();
            (ledger.totals(run)?, ledger.run(Some(run))?.options)
        };
        let (maintenance, resume) = (options.maintenance.clone(), options.resume_command(run));
        let (activity, rows) = match (&maintenance, &self.watch) {
            (Some(_), _) => (Activity::Maintaining, pending),
            (None, Some(_)) => (Activity::Following, pending + waiting),
            (None, None) => (Activity::Provisioning, pending),
        };
        let progress = self.context.observer.begin(activity, rows);
        let pool = self.pool(ledger, run, &progress, &recorder);
        let keeping = AbortOnDropHandle::new(tokio::spawn(recorder.clone().keep()));
        let state = match &maintenance {
            Some(maintenance) => self.maintain(maintenance, pool).await,
            None => self.apply(ledger, run, options, pool, &progress).await,
        };
        drop(keeping);
        progress.finish();
        recorder.write().await?;
        let state = state.inspect_err(|_| {
            self.context
                .observer
                .note(&format_args!("the ledger knows what was done; `{resume}` does the rest"));
        })?;
        let totals = ledger.lock().totals(run)?;
        let seconds = begun.elapsed().as_secs_f64();
        if rows > 0 {
            let what = if maintenance.is_some() { "done" } else { "provisioned" };
            self.context.observer.note(&format_args!("{what} in {seconds:.1} s"));
        }
        let verified = match state {
            RunState::Finished if self.verify => {
                self.context.observer.advise(format!("`{resume}` reads the rest back"));
                self.read_back(ledger, run, &totals, maintenance).await?
            }
            _ => None,
        };
        if let Some(verified) = &verified {
            ledger.lock().set_verification(run, &verified.counts(Timestamp::now()))?;
        }
        Ok(RunResults { state, totals, seconds, verified })
    }

    /// The workers of the run. They stop on request, and wait for a hub that does not answer.
    fn pool(
        &self,
        ledger: &SharedLedger,
        run: RunId,
        progress: &Arc<dyn ActivityProgress>,
        recorder: &Arc<ProgressRecorder>,
    ) -> WorkerPool {
        let stop = self.context.observer.stop();
        let settings = &self.context.settings;
        let client = self.service.client();
        let clients: Vec<_> =
            [client].into_iter().chain(self.watched_dps().map(|dps| dps.service_client())).collect();
        for client in &clients {
            client.rate_limiter().stop_with(stop.clone());
            client.rate_limiter().set_patience(settings.patience);
        }
        let (recorder, show) = (recorder.clone(), row_counter(progress));
        WorkerPool {
            ledger: ledger.clone(),
            run,
            workers: settings.workers,
            lease: settings.lease,
            share: Arc::new(move |share| {
                clients.iter().for_each(|client| client.rate_limiter().set_share(share));
            }),
            stop,
            progress: Arc::new(move |rows| {
                recorder.count(rows);
                show(rows);
            }),
        }
    }

    /// The DPS whose registrations are followed.
    fn watched_dps(&self) -> Option<Arc<DpsClient>> {
        Some(self.watch.as_ref()?.dps.as_ref()?.client.clone())
    }

    async fn apply(
        &self,
        ledger: &SharedLedger,
        run: RunId,
        options: RunOptions,
        pool: WorkerPool,
        progress: &Arc<dyn ActivityProgress>,
    ) -> Result<RunState, RunFailure> {
        let look_first = ledger.lock().knows_hub(&self.service.label().name, run)?;
        let keys = self.keys.clone();
        match &self.service {
            OpenService::Dps(dps) if options.entries.group.is_some() => {
                self.apply_group(dps, run, options, pool).await
            }
            OpenService::Dps(dps) => {
                let source = self.enrollment_source(&options)?;
                let (dps, options) = (dps.client.clone(), apply_options(run, options));
                Ok(ApplyEnrollments { dps, source, options, look_first, pool }.run().await?)
            }
            OpenService::Hub(hub) => {
                let (client, options) = (hub.client.clone(), apply_options(run, options));
                let apply = Apply { hub: client, keys, options, look_first, pool };
                match &self.watch {
                    Some(watch) => {
                        let _server = self.listen(ledger, run, watch, &hub.label.name).await?;
                        follow(apply, watch, &hub.label.name, progress.clone()).await
                    }
                    None => Ok(apply.run().await?),
                }
            }
        }
    }

    async fn apply_group(
        &self,
        dps: &OpenDps,
        run: RunId,
        options: RunOptions,
        pool: WorkerPool,
    ) -> Result<RunState, RunFailure> {
        let Some(group) = &options.entries.group else { return Err(EntryError::NoGroupCa.into()) };
        let certificate = GroupCa::read(group, clock::now())?.der();
        let settings = read_settings(&options.entries)?;
        let reader = EnrollmentReader::new(dps.client.clone(), Arc::default());
        let reader = EnrollmentReader { settings, ..reader };
        let (group, options) = (group.id.clone(), apply_options(run, options));
        Ok(ApplyGroup { reader, group, certificate, options, pool }.run().await?)
    }

    /// Begins to answer custom allocations, if that is asked for.
    async fn listen(
        &self,
        ledger: &SharedLedger,
        run: RunId,
        watch: &Watch,
        hub: &str,
    ) -> Result<Option<AllocationServer>, RunFailure> {
        let Some(settings) = &watch.listen else { return Ok(None) };
        let server = AllocationServer::start(settings, Allocation::new(ledger.clone(), run, hub)).await?;
        let note = format_args!("custom allocation: {}?code=… with the key", server.url);
        self.context.observer.note(&note);
        Ok(Some(server))
    }

    /// The credentials that enrolments are made with.
    fn enrollment_source(
        &self,
        options: &RunOptions,
    ) -> Result<EnrollmentSource<CredentialSource>, RunFailure> {
        let credentials = credentials(options, self.batch.as_deref(), self.keys.clone())?;
        let (certificates, keys) = (Arc::new(credentials), self.keys.clone());
        Ok(EnrollmentSource { certificates, keys, settings: read_settings(&options.entries)? })
    }

    async fn maintain(&self, maintenance: &Maintenance, pool: WorkerPool) -> Result<RunState, RunFailure> {
        match (&self.service, maintenance) {
            (OpenService::Dps(dps), Maintenance::Undo { run }) => {
                Ok(UndoEnrollments { dps: dps.client.clone(), undone: *run, pool }.run().await?)
            }
            (OpenService::Dps(dps), maintenance) if maintenance.is_retirement() => {
                let (hubs, maintenance) = (dps.hubs.clone(), maintenance.clone());
                hubs.limit(self.context.settings.patience, pool.stop.clone());
                Ok(Retire { dps: dps.client.clone(), hubs, maintenance, pool }.run().await?)
            }
            (OpenService::Dps(_), _) => Err(RunFailure::NotOnDps { work: "this change" }),
            (OpenService::Hub(hub), _) => {
                let (hub, maintenance, certificate_check) =
                    (hub.client.clone(), maintenance.clone(), self.certificate_check.clone());
                Ok(Maintain { hub, maintenance, certificate_check, pool }.run().await?)
            }
        }
    }

    /// Verifies the run; `None` where somebody stopped it before the end.
    async fn read_back(
        &self,
        ledger: &SharedLedger,
        run: RunId,
        totals: &Totals,
        maintenance: Option<Maintenance>,
    ) -> Result<Option<Verified>, RunFailure> {
        let stop = self.context.observer.stop();
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
    ) -> Result<Verified, RunFailure> {
        let Totals { created, updated, deleted, unchanged, .. } = totals;
        let progress =
            self.context.observer.begin(Activity::Verifying, created + updated + deleted + unchanged);
        let counter = row_counter(&progress);
        let verified = match &self.service {
            OpenService::Dps(dps) => self.verify_enrollments(dps, ledger, run, maintenance, counter).await,
            OpenService::Hub(hub) => {
                let verified = self.verify_identities(hub, ledger, run, maintenance, counter).await;
                verified.map_err(RunFailure::from)
            }
        };
        progress.finish();
        verified
    }

    async fn verify_enrollments(
        &self,
        dps: &OpenDps,
        ledger: &SharedLedger,
        run: RunId,
        maintenance: Option<Maintenance>,
        progress: RowCounter,
    ) -> Result<Verified, RunFailure> {
        let (hubs, dps) = (dps.hubs.clone(), dps.client.clone());
        let (ledger, concurrency) = (ledger.clone(), READERS);
        if let Some(maintenance) = maintenance.clone().filter(Maintenance::is_retirement) {
            let verify = VerifyRetired { dps, hubs, ledger, run, maintenance, concurrency, progress };
            return Ok(verify.run().await?);
        }
        if maintenance.is_some() {
            return Ok(VerifyUndoneEnrollments { dps, ledger, run, concurrency, progress }.run().await?);
        }
        let entries = ledger.lock().run(Some(run))?.options.entries;
        let reader = EnrollmentReader::new(dps, self.keys.clone());
        let reader = Arc::new(EnrollmentReader { settings: read_settings(&entries)?, ..reader });
        let filter = RowFilter::Settled;
        Ok(Verify { reader, ledger, run, filter, concurrency, progress }.run().await?)
    }

    async fn verify_identities(
        &self,
        hub: &OpenHub,
        ledger: &SharedLedger,
        run: RunId,
        maintenance: Option<Maintenance>,
        progress: RowCounter,
    ) -> Result<Verified, RunError> {
        let (name, hub, concurrency) = (&hub.label.name, hub.client.clone(), READERS);
        let ledger = ledger.clone();
        if let Some(maintenance) = maintenance {
            return VerifyMaintenance { hub, ledger, run, maintenance, concurrency, progress }.run().await;
        }
        let holds = Holds::new(Some(ledger.clone()), name);
        let reader = Arc::new(HubReader::new(hub, holds, self.keys.clone()));
        let filter = RowFilter::Settled;
        Verify { reader, ledger, run, filter, concurrency, progress }.run().await
    }
}

/// Follows the registrations with a DPS, or those that the hub alone shows.
async fn follow(
    apply: Apply<HubClient>,
    watch: &Watch,
    host: &str,
    progress: Arc<dyn ActivityProgress>,
) -> Result<RunState, RunFailure> {
    let (hub, schedule) = (apply.hub.clone(), watch.schedule);
    Ok(match &watch.dps {
        Some(dps) => {
            let registrations = DpsRegistrations::new(hub, host, dps.client.clone());
            Follow { apply, registrations, schedule, progress }.run().await?
        }
        None => {
            let registrations = HubRegistrations { hub };
            Follow { apply, registrations, schedule, progress }.run().await?
        }
    })
}

/// Called with the number of rows that have ended since the last call.
type RowCounter = Arc<dyn Fn(usize) + Send + Sync>;

fn apply_options(run: RunId, options: RunOptions) -> ApplyOptions {
    ApplyOptions {
        rules: options.rules,
        created_by: options.created_by_tag.map(|name| (name, creator_tag::value(run))),
        follows: options.follow.is_some(),
        as_planned: options.plan.is_some(),
    }
}
