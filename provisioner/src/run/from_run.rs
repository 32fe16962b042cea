//! A run that changes what an earlier run has left on the hub: `undo` and `release --run`.

use std::sync::Arc;

use super::RunContext;
use super::begin::{load_from, open_answering};
use super::dry_run::{DryRunRows, OpenDryRun};
use super::error::{NothingToDo, RunFailure};
use super::outcome::RunOutcome;
use super::request::{RunChange, RunChangeRequest};
use super::resume::target_of;
use super::work::Job;
use crate::batch::open_owners;
use crate::ledger::{Ledger, LedgerLocation, Loader, RowFilter, Run, RunOptions, RunState, Totals};
use crate::model::maintenance::Maintenance;
use crate::model::observer::RunObserver;
use crate::target::{ServiceChoice, ServiceTarget};
use cli_support::counted::counted;

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
    let service = open_answering(target, &run.options, context).await?;
    let options =
        RunOptions { maintenance: Some(maintenance), service: run.options.service, ..RunOptions::default() };
    let fill = |loader: &Loader<'_>| loader.insert_from(run.id, filter).map(drop);
    let run = match load_from(&mut ledger, &run, &options, service.label(), context, fill) {
        Ok(run) => run,
        Err(failure) => {
            service.close().await;
            return Err(failure);
        }
    };
    let job = Job {
        service,
        keys: Arc::default(),
        batch: None,
        certificates: None,
        certificate_check: None,
        watch: None,
        verify: context.verify,
        context,
    };
    job.execute(ledger, run).await
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
        if self.filter != RowFilter::Disabled && self.run.state != RunState::Finished && totals.pending > 0 {
            observer.note(&format_args!(
                "run {} did not come to its end: {} not done. Once it is undone, it is not continued",
                self.run.id,
                match totals.pending {
                    1 => "1 row is".to_owned(),
                    rows => format!("{} are", counted(rows, "row")),
                }
            ));
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
