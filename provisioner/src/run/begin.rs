//! The begin of a run: a batch with options, or a plan with its own options, is loaded into the ledger.

use std::sync::Arc;

use cert_tool::IssuedStore;
use hub_types::limits::MAX_IDENTITIES_PER_HUB;
use hub_types::shown::ShownBare;

use super::RunContext;
use super::error::{LOADED_AGAIN, PlanMismatch, RunFailure};
use super::from_plan::PlannedBatch;
use super::issue::Certificates;
use super::outcome::RunOutcome;
use super::request::ApplyRequest;
use super::work::Job;
use crate::batch::{BatchFile, CertificateSource, LedgerSink, LoadRules, Loaded};
use crate::clock::Timestamp;
use crate::dps::{GroupCa, read_settings};
use crate::ledger::{Ledger, LedgerError, Loader, Run, RunFacts, RunOptions};
use crate::model::digest::Sha256Digest;
use crate::model::observer::RunObserver;
use crate::model::run_id::RunId;
use crate::model::service::ServiceKind;
use crate::plan::PlanFile;
use crate::target::{HubLabel, OpenService, ServiceChoice, ServiceTarget, TargetError};
use cli_support::counted::counted;

/// Begins a run that creates and updates the identities of a batch, and works on it.
pub(super) async fn apply(
    request: ApplyRequest,
    service: ServiceChoice,
    context: &RunContext<'_>,
) -> Result<RunOutcome, RunFailure> {
    let target = ServiceTarget::resolve(service, ".".as_ref()).await?;
    target.announce(context.observer);
    let secrets = request.secrets.clone();
    let new = NewRun::to_apply(request, &target)?;
    let certificates = Certificates::open(new.options.issue.clone(), &secrets, &target, context.observer)?;
    if let (Some(certificates), Some(profile)) = (&certificates, &new.options.profile) {
        certificates.check_profile(profile)?;
    }
    let mut ledger = Ledger::open(&context.ledger, context.observer.status_listener())?;
    let store = certificates.as_ref().map(Certificates::store);
    let (service, run, loaded) = new.begin(target, store, &mut ledger, context).await?;
    let (keys, batch) = (Arc::new(loaded.keys), Some(new.batch.path));
    let job = Job {
        service,
        keys,
        batch,
        certificates,
        certificate_check: None,
        watch: None,
        verify: context.verify,
        context,
    };
    job.execute(ledger, run).await
}

/// A run that is to begin.
pub(super) struct NewRun {
    pub(super) batch: BatchFile,
    pub(super) options: RunOptions,
    pub(super) rules: LoadRules,
    /// The source of certificates for rows that need one and name none.
    pub(super) certificates: CertificateSource,
    pub(super) plan: Option<PlannedBatch>,
    /// The CA of the enrolment group, if the devices get no enrolments.
    pub(super) group: Option<GroupCa>,
}

impl NewRun {
    /// The run of an `apply`.
    fn to_apply(request: ApplyRequest, target: &ServiceTarget) -> Result<Self, RunFailure> {
        if request.options.quarantine && target.kind() == ServiceKind::Dps {
            return Err(RunFailure::NotOnDps { work: "a quarantine" });
        }
        let (batch, options, mut rules, plan) = if PlanFile::is_one(&request.batch.file) {
            let plan = PlannedBatch::open(&request, target)?;
            (plan.batch(request.plan_batch), plan.options(), plan.rules(), Some(plan))
        } else if request.plan_batch.is_some() {
            return Err(PlanMismatch::NotAPlan { path: request.batch.file }.into());
        } else {
            let batch = request.batch.resolve(".".as_ref())?;
            let options = RunOptions { read: batch.read.clone(), service: target.kind(), ..request.options };
            let rules = LoadRules::of(&options, request.skip_bad_rows);
            (batch, options, rules, None)
        };
        let certificates = CertificateSource::of(options.issue.is_some());
        read_settings(&options.entries)?;
        let issuing = options.issue.as_ref().map(|folders| folders.ca.as_path());
        let group = GroupCa::of(&options.entries, issuing)?;
        rules.group_ca = group.as_ref().map(|ca| ca.certificate().clone());
        Ok(Self { batch, options, rules, certificates, plan, group })
    }

    /// Loads the batch and calls the hub once. Only if both succeed, there is a run. `store` is the
    /// folder that certificates are issued to.
    pub(super) async fn begin(
        &self,
        target: ServiceTarget,
        store: Option<&IssuedStore>,
        ledger: &mut Ledger,
        context: &RunContext<'_>,
    ) -> Result<(OpenService, RunId, Loaded), RunFailure> {
        let (label, input) = (target.label(), self.batch.path.to_string_lossy().into_owned());
        let facts = RunFacts {
            hub: &label.name,
            test_hub: label.is_test_hub,
            input: &input,
            started: &Timestamp::now(),
            by: &context.settings.by,
            options: &self.options,
        };
        let (mut target, mut service) = (Some(target), None);
        let begun = loop {
            match self.try_to_begin(&mut target, &mut service, store, &facts, ledger, context).await {
                Err(failure) => match failure.reload_note() {
                    Some(note) => context.observer.note(&note),
                    None => break Err(failure),
                },
                begun => break begun,
            }
        };
        match begun {
            Ok((run, loaded)) => {
                #[expect(clippy::expect_used, reason = "a run is committed after its service was opened")]
                let service = service.expect("the service of a committed run is open");
                Ok((service, run, loaded))
            }
            Err(failure) => {
                if let Some(service) = service {
                    service.close().await;
                }
                Err(failure)
            }
        }
    }

    /// Loads the batch and commits it. The target is opened and called once, however often an
    /// interrupted connection to the ledger makes this begin again.
    async fn try_to_begin(
        &self,
        target: &mut Option<ServiceTarget>,
        service: &mut Option<OpenService>,
        store: Option<&IssuedStore>,
        facts: &RunFacts<'_>,
        ledger: &mut Ledger,
        context: &RunContext<'_>,
    ) -> Result<(RunId, Loaded), RunFailure> {
        let loader = ledger.load_run(facts)?;
        let (loaded, input_sha256) = self.load(&loader, store, context.observer)?;
        if let Some(target) = target.take() {
            context.observer.note(&format_args!(
                "batch: {}: {}, {}, {}",
                ShownBare(facts.input),
                counted(loaded.rows(), "row"),
                counted(loaded.devices, "device"),
                counted(loaded.modules, "module")
            ));
            let opened = service.insert(open_service(target, &self.options, context.observer).await?);
            opened.client().rate_limiter().set_patience(context.settings.patience);
            let devices = opened.probe().await?;
            if let (Some(devices), None) = (devices, &self.options.maintenance) {
                look_for_room(devices, &loaded, context.observer)?;
            }
        }
        if self.options.follow.is_some() {
            loader.await_devices()?;
        }
        Ok((loader.commit(input_sha256, loaded.bad_rows)?, loaded))
    }

    fn load(
        &self,
        loader: &Loader<'_>,
        store: Option<&IssuedStore>,
        observer: &dyn RunObserver,
    ) -> Result<(Loaded, Sha256Digest), RunFailure> {
        let sink = LedgerSink::new(loader, self.rules.clone(), observer).issuing_to(store);
        let (loaded, input_sha256) = match &self.plan {
            Some(plan) => plan.load(sink, &self.batch, self.certificates)?,
            None => sink.load(&self.batch, self.certificates)?,
        };
        if let Some(group) = &self.group {
            // No row of the file.
            loader.insert(0, &group.spec(loaded.devices, loaded.edge_devices)?, &[])?;
        }
        if let Some(plan) = &self.plan {
            plan.store_planned(loader)?;
        }
        Ok((loaded, input_sha256))
    }
}

/// Opens the service of a run, which must answer.
pub(super) async fn open_answering(
    target: ServiceTarget,
    options: &RunOptions,
    context: &RunContext<'_>,
) -> Result<OpenService, RunFailure> {
    let service = open_service(target, options, context.observer).await?;
    service.client().rate_limiter().set_patience(context.settings.patience);
    match service.probe().await {
        Ok(_) => Ok(service),
        Err(error) => {
            service.close().await;
            Err(error.into())
        }
    }
}

/// Opens the service of a run: a hub for devices too if they have to show that they can connect.
async fn open_service(
    target: ServiceTarget,
    options: &RunOptions,
    observer: &dyn RunObserver,
) -> Result<OpenService, TargetError> {
    let status = observer.status_listener();
    match target {
        // Devices whose thumbprints are known to the hub need no CA.
        ServiceTarget::Hub(target) if options.needs_connect_check() => {
            Ok(OpenService::Hub(Box::new(target.open_for_devices(Vec::new(), status).await?)))
        }
        target => target.open(status).await,
    }
}

/// Refuses a batch that no hub can hold. The room of this hub depends on how much of the batch it has
/// already, which `plan` determines: counting takes too long to be done each time.
fn look_for_room(devices: u64, loaded: &Loaded, observer: &dyn RunObserver) -> Result<(), RunFailure> {
    let (rows, most) = (loaded.devices + loaded.modules, MAX_IDENTITIES_PER_HUB as u64);
    if rows > most {
        return Err(RunFailure::TooManyRows { rows, most });
    }
    if devices + rows > most {
        observer.note(&format_args!(
            "the hub has {devices} devices and can hold {most} devices and modules: not all of these {rows} rows \
             may be new; `provisioner plan` tells which do not fit"
        ));
    }
    Ok(())
}

/// Makes a run of rows of an earlier run, which `fill` adds. If the database breaks off, the run is loaded again,
/// whole.
pub(super) fn load_from(
    ledger: &mut Ledger,
    from: &Run,
    options: &RunOptions,
    hub: &HubLabel,
    context: &RunContext<'_>,
    fill: impl Fn(&Loader<'_>) -> Result<(), LedgerError>,
) -> Result<RunId, RunFailure> {
    let facts = RunFacts {
        hub: &hub.name,
        test_hub: hub.is_test_hub,
        input: &from.input,
        started: &Timestamp::now(),
        by: &context.settings.by,
        options,
    };
    let mut load = || {
        let loader = ledger.load_run(&facts)?;
        fill(&loader)?;
        loader.commit(from.input_sha256, 0)
    };
    loop {
        match load() {
            Err(LedgerError::LoadingBroken { .. }) => context.observer.note(&LOADED_AGAIN),
            loaded => return Ok(loaded?),
        }
    }
}
