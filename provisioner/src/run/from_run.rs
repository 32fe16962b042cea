//! A run that changes what an earlier run has left on the hub: `undo` and `release --run`.

use std::sync::Arc;

use super::RunContext;
use super::begin::open_service;
use super::dry_run::{DryRunRows, OpenDryRun};
use super::error::{LOADED_AGAIN, NothingToDo, RunFailure};
use super::outcome::RunOutcome;
use super::request::{RunChange, RunChangeRequest};
use super::resume::target_of;
use super::work::Job;
use crate::batch::open_owners;
use crate::clock::Timestamp;
use crate::ledger::{Ledger, LedgerError, LedgerLocation, RowFilter, Run, RunFacts, RunOptions, Totals};
use crate::model::maintenance::Maintenance;
use crate::model::observer::RunObserver;
use crate::model::run_id::RunId;
use crate::model::text::counted;
use crate::target::{HubLabel, ServiceChoice, ServiceTarget};

/// Begins a run that changes the rows of an earlier run, and works on it.
pub(super) async fn execute(
    request: &RunChangeRequest,
    service: ServiceChoice,
    context: &RunContext<'_>,
) -> Result<RunOutcome, RunFailure> {
    let target = ServiceTarget::resolve(service, ".".as_ref()).await?;
    let ledger = Ledger::open(&context.ledger, context.observer.status_listener())?;
    let mut earlier = EarlierRun::of(ledger, request, target, context.observer)?;
    earlier.count(context.observer)?;
    let EarlierRun { run, mut ledger, target, maintenance, filter } = earlier;
    let service = open_service(target, &run.options, context.observer).await?;
    service.client().rate_limiter().set_patience(context.settings.patience);
    let loaded = match service.probe().await {
        Ok(_) => load(&mut ledger, &run, maintenance, filter, service.label(), context),
        Err(error) => Err(error.into()),
    };
    match loaded {
        Ok(run) => {
            let (keys, verify) = (Arc::default(), context.verify);
            let job = Job {
                service,
                keys,
                batch: None,
                certificates: None,
                certificate_check: None,
                watch: None,
                verify,
                context,
            };
            job.execute(ledger, run).await
        }
        Err(failure) => {
            service.close().await;
            Err(failure)
        }
    }
}

/// Opens the dry run of such a change.
pub(super) async fn open_dry_run(
    request: &RunChangeRequest,
    service: ServiceChoice,
    location: &LedgerLocation,
    observer: &dyn RunObserver,
) -> Result<OpenDryRun, RunFailure> {
    let target = ServiceTarget::resolve(service, ".".as_ref()).await?;
    let ledger = Ledger::open_to_read(location, observer.status_listener())?;
    let mut earlier = EarlierRun::of(ledger, request, target, observer)?;
    let count = earlier.count(observer)?;
    let EarlierRun { run, ledger, target, maintenance, filter } = earlier;
    let owners = open_owners(location, observer.status_listener())?;
    let rows = DryRunRows { ledger, run: run.id, filter, of_earlier_run: true, count, rejected: 0 };
    OpenDryRun::open(target, owners, maintenance, rows, run.input, observer).await
}

/// The earlier run, and the change of its rows.
struct EarlierRun {
    run: Run,
    ledger: Ledger,
    target: ServiceTarget,
    maintenance: Maintenance,
    filter: RowFilter,
}

impl EarlierRun {
    fn of(
        mut ledger: Ledger,
        request: &RunChangeRequest,
        target: ServiceTarget,
        observer: &dyn RunObserver,
    ) -> Result<Self, RunFailure> {
        let run = ledger.run(Some(request.run))?;
        let target = target_of(&run, target)?;
        target.announce(observer);
        observer.note(&format_args!("run {}: {}, begun {}", run.id, run.input, run.started));
        let id = request.run;
        let (maintenance, filter) = match (request.change, &run.options.maintenance) {
            (RunChange::Release, _) => (Maintenance::Release { run: Some(id) }, RowFilter::Disabled),
            (RunChange::Undo, Some(Maintenance::Release { .. })) if !run.options.service.is_hub() => {
                return Err(RunFailure::NotOnDps { work: "the undo of a release" });
            }
            (RunChange::Undo, Some(Maintenance::Release { .. })) => {
                (Maintenance::UndoRelease { run: id }, RowFilter::Updated)
            }
            (RunChange::Undo, _) => (Maintenance::Undo { run: id }, RowFilter::Created),
        };
        Ok(Self { run, ledger, target, maintenance, filter })
    }

    /// Counts the rows to change. It is an error if there are none.
    fn count(&mut self, observer: &dyn RunObserver) -> Result<u64, RunFailure> {
        let rows = self.ledger.count(self.run.id, self.filter)?;
        let totals = self.ledger.totals(self.run.id)?;
        if rows == 0 {
            let reason = nothing_to_do(&self.run, &totals, self.filter);
            return Err(RunFailure::NothingToDo { run: self.run.id, reason });
        }
        if self.filter == RowFilter::Created && totals.updated > 0 {
            observer.note(&format_args!(
                "{} that it changed: left alone, because only identities that it created are undone",
                counted(totals.updated, "row")
            ));
        }
        Ok(rows)
    }
}

/// Makes a run of the rows of an earlier run that pass a filter.
fn load(
    ledger: &mut Ledger,
    from: &Run,
    maintenance: Maintenance,
    filter: RowFilter,
    hub: &HubLabel,
    context: &RunContext<'_>,
) -> Result<RunId, RunFailure> {
    let service = from.options.service;
    let options = RunOptions { maintenance: Some(maintenance), service, ..RunOptions::default() };
    let facts = RunFacts {
        hub: &hub.name,
        test_hub: hub.is_test_hub,
        input: &from.input,
        started: &Timestamp::now(),
        by: &context.settings.by,
        options: &options,
    };
    let mut load = || {
        let loader = ledger.load_run(&facts)?;
        loader.insert_from(from.id, filter)?;
        loader.commit(from.input_sha256, 0)
    };
    loop {
        match load() {
            Err(LedgerError::LoadingBroken { .. }) => context.observer.note(&LOADED_AGAIN),
            loaded => return Ok(loaded?),
        }
    }
}

/// Returns the reason why the earlier run has no rows to change.
fn nothing_to_do(run: &Run, totals: &Totals, filter: RowFilter) -> NothingToDo {
    let maintenance = run.options.maintenance.as_ref();
    match filter {
        RowFilter::Disabled if totals.held > 0 => NothingToDo::DisabledByOthers,
        RowFilter::Disabled => NothingToDo::NothingDisabled,
        RowFilter::Updated => NothingToDo::NothingEnabled,
        _ if maintenance.is_some_and(Maintenance::retires) => NothingToDo::OnlyDisabled,
        _ if maintenance.is_some_and(Maintenance::rotates) => NothingToDo::OnlyRotated,
        _ => NothingToDo::NothingCreated,
    }
}
