//! The dry run of a change of existing identities: the hub or the DPS is read, and nothing is written.

use super::error::RunFailure;
use crate::ledger::{Holds, Ledger, LedgerRow, RowFilter, SharedLedger};
use crate::maintain::{DryRun, DryRunSummary, Rehearsal, RetireOperation, UndoOperation};
use crate::model::maintenance::Maintenance;
use crate::model::observer::{Activity, RunObserver, row_counter};
use crate::model::run_id::RunId;
use crate::model::service::ServiceKind;
use crate::plan::PlannedRow;
use crate::target::{HubLabel, OpenService, ServiceTarget};
use crate::workers::RunError;

/// The rows of a dry run.
pub(super) struct DryRunRows {
    pub(super) ledger: Ledger,
    pub(super) run: RunId,
    pub(super) filter: RowFilter,
    /// True for the rows of an earlier run, which are changed in the state that it has left.
    pub(super) of_earlier_run: bool,
    /// The number of rows.
    pub(super) count: u64,
    /// The number of bad rows that are left out.
    pub(super) rejected: u64,
}

/// A dry run whose service is open.
pub(crate) struct OpenDryRun {
    service: OpenService,
    owners: Option<Ledger>,
    maintenance: Maintenance,
    rows: DryRunRows,
    /// The batch file.
    pub(crate) input: String,
}

impl OpenDryRun {
    /// Opens the service of a dry run. `owners` is the ledger that knows the disabled devices.
    pub(super) async fn open(
        target: ServiceTarget,
        owners: Option<Ledger>,
        maintenance: Maintenance,
        rows: DryRunRows,
        input: String,
        observer: &dyn RunObserver,
    ) -> Result<Self, RunFailure> {
        let service = target.open(observer.status_listener()).await?;
        Ok(Self { service, owners, maintenance, rows, input })
    }

    /// The kind of the service, and its name.
    pub(crate) fn service(&self) -> (ServiceKind, HubLabel) {
        (self.service.kind(), self.service.label().clone())
    }

    /// Returns true if a run would check that units can connect with their new certificates.
    pub(crate) fn needs_connect_check(&self) -> bool {
        self.maintenance.needs_connect_check()
    }

    /// The words for what has the expected value of a difference.
    pub(crate) fn expects(&self) -> String {
        self.maintenance.expects()
    }

    /// Reads the identities, and reports the action for each row.
    pub(crate) async fn look<E: From<RunFailure> + From<RunError>>(
        self,
        observer: &dyn RunObserver,
        mut on_row: impl FnMut(&PlannedRow) -> Result<(), E>,
    ) -> Result<DryRunSummary, E> {
        let Self { service, owners, maintenance, rows, .. } = self;
        let progress = observer.begin(Activity::Looking, rows.count);
        let rejected = rows.rejected;
        let looked = match service.probe().await {
            Ok(_) => {
                let holds = Holds::new(owners.map(SharedLedger::new), &service.label().name);
                let counter = row_counter(&progress);
                let mut on_row = |row: PlannedRow| on_row(&row);
                match (&service, maintenance) {
                    (OpenService::Hub(hub), maintenance) => {
                        let dry_run = DryRun::on_hub(hub.client.clone(), holds, maintenance, counter);
                        rows.each(dry_run, &mut on_row).await
                    }
                    (OpenService::Dps(dps), Maintenance::Undo { run }) => {
                        let operation = UndoOperation::new(dps.client.clone(), run, holds);
                        rows.each(DryRun::new(operation, counter), &mut on_row).await
                    }
                    (OpenService::Dps(dps), maintenance) => {
                        let (client, hubs) = (dps.client.clone(), dps.hubs.clone());
                        match RetireOperation::open(client, hubs, maintenance, holds, None).await {
                            Ok(operation) => rows.each(DryRun::new(operation, counter), &mut on_row).await,
                            Err(error) => Err(RunFailure::from(error).into()),
                        }
                    }
                }
            }
            Err(error) => Err(RunFailure::from(error).into()),
        };
        progress.finish();
        service.close().await;
        Ok(DryRunSummary { rejected, ..looked? })
    }
}

impl DryRunRows {
    async fn each<O: Rehearsal, E: From<RunError>>(
        self,
        dry_run: DryRun<O>,
        on_row: impl FnMut(PlannedRow) -> Result<(), E>,
    ) -> Result<DryRunSummary, E> {
        let Self { mut ledger, run, filter, of_earlier_run, .. } = self;
        let given = ledger.rows(run, filter).map(|row| match of_earlier_run {
            true => row.map(LedgerRow::into_continuation),
            false => row,
        });
        dry_run.each(given, on_row).await
    }
}
