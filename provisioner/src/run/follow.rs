//! A run whose devices come into being by registering: it is begun from a batch or from the rows of an earlier
//! run on a DPS, or continued.

use std::path::PathBuf;
use std::sync::Arc;

use cert_tool::SecretSource;
use tokio::time::Instant;

use super::RunContext;
use super::begin::{NewRun, load_from, open_answering};
use super::error::RunFailure;
use super::issue::Certificates;
use super::outcome::RunOutcome;
use super::request::{FollowRequest, FollowedRows, ShareRequest};
use super::resume::{FoundRun, batch_of, is_finished};
use super::work::{Job, Watch};
use crate::apply::Schedule;
use crate::batch::{BatchChoice, CertificateSource, LoadRules};
use crate::ledger::{Followed, Ledger, Loader, RowFilter, Run, RunOptions, RunReader, SharedLedger};
use crate::model::run_id::RunId;
use crate::target::{DpsTarget, OpenDps, ServiceChoice, ServiceTarget};

/// Begins or continues a run that follows registrations.
pub(super) async fn execute(
    request: FollowRequest,
    service: ServiceChoice,
    context: &RunContext<'_>,
) -> Result<RunOutcome, RunFailure> {
    let FollowRequest { rows, dps, options, skip_bad_rows, secrets, interval, until, listen } = request;
    let dps = match dps {
        Some(choice) => Some(open_dps(DpsTarget::resolve(choice, ".".as_ref()).await?, context).await?),
        None => None,
    };
    let until = until.map(|time| Instant::now() + time);
    let followed = Followed { dps: dps.as_ref().map(|dps| dps.label.name.clone()) };
    let options = RunOptions { follow: Some(followed), ..options };
    let watch = Watch { dps, schedule: Schedule { interval, until }, listen };
    let following = Following { options, watch, secrets, context };
    match rows {
        FollowedRows::Batch(batch) => following.begin(batch, skip_bad_rows, service).await,
        FollowedRows::Run(run, batch) => following.follow_run(run, batch, service).await,
    }
}

/// Opens the DPS, and calls it once.
async fn open_dps(target: DpsTarget, context: &RunContext<'_>) -> Result<OpenDps, RunFailure> {
    target.announce_beside_hub(context.observer);
    let dps = target.open(context.observer.status_listener())?;
    dps.client.rate_limiter().set_patience(context.settings.patience);
    dps.client.probe().await?;
    Ok(dps)
}

/// The options of following.
struct Following<'a> {
    options: RunOptions,
    watch: Watch,
    secrets: SecretSource,
    context: &'a RunContext<'a>,
}

impl Following<'_> {
    /// Begins a run with the rows of a batch.
    async fn begin(
        self,
        batch: BatchChoice,
        skip_bad_rows: bool,
        service: ServiceChoice,
    ) -> Result<RunOutcome, RunFailure> {
        let context = self.context;
        let target = self.hub(service).await?;
        let batch = batch.resolve(".".as_ref())?;
        let options = RunOptions { read: batch.read.clone(), ..self.options };
        let rules = LoadRules::of(&options, skip_bad_rows);
        let certificates =
            Certificates::open(options.issue.clone(), &self.secrets, &target, context.observer)?;
        let source = CertificateSource::of(options.issue.is_some());
        let new = NewRun { batch, options, rules, certificates: source, plan: None, group: None };
        let mut ledger = Ledger::open(&context.ledger, context.observer.status_listener())?;
        let store = certificates.as_ref().map(Certificates::store);
        let (service, run, loaded) = new.begin(target, store, &mut ledger, context).await?;
        let job = Job {
            service,
            keys: Arc::new(loaded.keys),
            batch: Some(new.batch.path),
            certificates,
            certificate_check: None,
            watch: Some(self.watch),
            verify: context.verify,
            context,
        };
        job.execute(ledger, run).await
    }

    /// Continues a run that follows registrations, or begins one with the rows of a run on a DPS.
    async fn follow_run(
        self,
        run: RunId,
        batch: Option<PathBuf>,
        service: ServiceChoice,
    ) -> Result<RunOutcome, RunFailure> {
        let context = self.context;
        let mut ledger = Ledger::open(&context.ledger, context.observer.status_listener())?;
        let run = ledger.run(Some(run))?;
        match &run.options.follow {
            Some(followed) if Some(followed) != self.options.follow.as_ref() => Err(RunFailure::OtherDps {
                run: run.id,
                planned: followed.dps.clone(),
                found: self.options.follow.and_then(|followed| followed.dps),
            }),
            Some(_) if is_finished(&run, context.verify, context.observer) => {
                Ok(RunOutcome::finished(RunReader::new(SharedLedger::new(ledger), run))?)
            }
            Some(_) => self.resume(ledger, run, batch, service).await,
            None if run.options.service.is_hub() => Err(RunFailure::NotEnrolled { run: run.id }),
            None => self.take_over(ledger, &run, batch, service).await,
        }
    }

    async fn resume(
        self,
        mut ledger: Ledger,
        run: Run,
        batch: Option<PathBuf>,
        service: ServiceChoice,
    ) -> Result<RunOutcome, RunFailure> {
        let (context, target) = (self.context, self.hub(service).await?);
        // A station that joins later has nothing to issue, and may have no CA.
        let issue = match ledger.count(run.id, RowFilter::ToBeIssued)? {
            0 => None,
            _ => run.options.issue.clone(),
        };
        let certificates = Certificates::open(issue, &self.secrets, &target, context.observer)?;
        let request = ShareRequest { run: Some(run.id), batch, address: None };
        let found = FoundRun::of(ledger, run, target, &request, context)?;
        found.execute(&request, certificates, Some(self.watch), context.verify, context).await
    }

    /// Begins a run with the rows of a run on a DPS.
    async fn take_over(
        self,
        mut ledger: Ledger,
        from: &Run,
        batch: Option<PathBuf>,
        service: ServiceChoice,
    ) -> Result<RunOutcome, RunFailure> {
        let (context, target) = (self.context, self.hub(service).await?);
        context.observer.note(&format_args!("run {}: {}, begun {}", from.id, from.input, from.started));
        let (batch, keys) = batch_of(from, batch.as_deref(), &mut ledger, context.observer)?;
        let RunOptions { issue, read, profile, .. } = from.options.clone();
        let options = RunOptions { issue, read, profile, ..self.options };
        let label = target.label();
        let service = open_answering(target, &options, context).await?;
        let fill = |loader: &Loader<'_>| {
            loader.insert_from(from.id, RowFilter::Followed)?;
            loader.await_devices()
        };
        let run = match load_from(&mut ledger, from, &options, &label, context, fill) {
            Ok(run) => run,
            Err(failure) => {
                service.close().await;
                return Err(failure);
            }
        };
        let job = Job {
            service,
            keys: Arc::new(keys),
            batch,
            certificates: None,
            certificate_check: None,
            watch: Some(self.watch),
            verify: context.verify,
            context,
        };
        job.execute(ledger, run).await
    }

    /// The hub that devices come to.
    async fn hub(&self, service: ServiceChoice) -> Result<ServiceTarget, RunFailure> {
        let target = ServiceTarget::resolve(service, ".".as_ref()).await?;
        if target.is_embedded() && self.watch.dps.is_some() {
            return Err(RunFailure::NoHubOfDps);
        }
        target.announce(self.context.observer);
        Ok(target)
    }
}
