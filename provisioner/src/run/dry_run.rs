//! The dry run of a change of existing identities: the hub is read, and nothing is written.

use super::error::RunFailure;
use crate::ledger::{Holds, Ledger, LedgerRow, RowFilter, SharedLedger};
use crate::maintain::{DryRun, DryRunSummary};
use crate::model::maintenance::Maintenance;
use crate::model::observer::{Activity, RunObserver, row_counter};
use crate::model::run_id::RunId;
use crate::plan::PlannedRow;
use crate::target::{HubLabel, OpenHub, Target};
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

/// A dry run whose hub is open.
pub(crate) struct OpenDryRun {
    hub: OpenHub,
    owners: Option<Ledger>,
    maintenance: Maintenance,
    rows: DryRunRows,
    /// The batch file.
    pub(crate) input: String,
}

impl OpenDryRun {
    /// Opens the hub of a dry run. `owners` is the ledger that knows the disabled devices.
    pub(super) async fn open(
        target: Target,
        owners: Option<Ledger>,
        maintenance: Maintenance,
        rows: DryRunRows,
        input: String,
        observer: &dyn RunObserver,
    ) -> Result<Self, RunFailure> {
        let hub = target.open(observer.status_listener()).await?;
        Ok(Self { hub, owners, maintenance, rows, input })
    }

    /// The name of the hub.
    pub(crate) fn hub(&self) -> HubLabel {
        self.hub.label.clone()
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
        let Self { hub, owners, maintenance, rows, .. } = self;
        let progress = observer.begin(Activity::Looking, rows.count);
        let looked = match hub.client.probe().await {
            Ok(_) => {
                let holds = Holds::new(owners.map(SharedLedger::new), &hub.label.name);
                let dry_run = DryRun::new(hub.client.clone(), holds, maintenance, row_counter(&progress));
                let mut ledger = rows.ledger;
                let given = ledger.rows(rows.run, rows.filter).map(|row| match rows.of_earlier_run {
                    true => row.map(LedgerRow::into_continuation),
                    false => row,
                });
                dry_run.each(given, |row| on_row(&row)).await
            }
            Err(error) => Err(RunFailure::from(error).into()),
        };
        progress.finish();
        hub.close().await;
        Ok(DryRunSummary { rejected: rows.rejected, ..looked? })
    }
}
