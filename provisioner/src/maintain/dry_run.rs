//! The dry run of a maintenance run: it reads the hub or the DPS, and writes nothing.

use std::sync::Arc;

use serde::Serialize;

use super::Rehearsal;
use super::operation::{ChangeOperation, Changing};
use crate::driver::{RunDriver, Task};
use crate::hub::Hub;
use crate::ledger::{Holds, LedgerError, LedgerRow, Record, RowState};
use crate::maintain::change::{ChangeRequest, ChangeStep};
use crate::model::maintenance::Maintenance;
use crate::plan::{Action, PlannedRow};
use crate::workers::RunError;

/// Reads identities as a maintenance run would, and reports the action for each.
pub(crate) struct DryRun<O> {
    driver: RunDriver<O>,
    /// Called with the number of rows read since the last call.
    progress: Arc<dyn Fn(usize) + Send + Sync>,
}

/// The totals of a dry run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct DryRunSummary {
    /// Identities to change.
    pub(crate) update: u64,
    /// Identities to delete.
    pub(crate) delete: u64,
    /// Identities that are already in the requested state.
    pub(crate) keep: u64,
    /// Identities that would be left unchanged, because they are not in the required state.
    pub(crate) conflict: u64,
    /// Rows that can't succeed.
    pub(crate) refuse: u64,
    /// Rows that are bad and left out.
    pub(crate) rejected: u64,
}

impl DryRunSummary {
    /// Returns true if every row would succeed.
    pub(crate) fn all_well(&self) -> bool {
        self.conflict == 0 && self.refuse == 0 && self.rejected == 0
    }

    fn count(&mut self, action: Action) {
        *match action {
            Action::Update | Action::Create => &mut self.update,
            Action::Delete => &mut self.delete,
            Action::Keep | Action::Wait => &mut self.keep,
            Action::Conflict => &mut self.conflict,
            Action::Refuse => &mut self.refuse,
        } += 1;
    }
}

impl<H: Hub> DryRun<ChangeOperation<H>> {
    /// A dry run of a maintenance run on a hub. It does not test whether units can connect with new
    /// certificates, because that would cut off connected ones.
    pub(crate) fn on_hub(
        hub: Arc<H>,
        holds: Holds,
        maintenance: Maintenance,
        progress: Arc<dyn Fn(usize) + Send + Sync>,
    ) -> Self {
        Self::new(ChangeOperation::new(hub, holds, maintenance, None, None), progress)
    }
}

impl<O: Rehearsal> DryRun<O> {
    /// A dry run of runs of one kind.
    pub(crate) fn new(operation: O, progress: Arc<dyn Fn(usize) + Send + Sync>) -> Self {
        Self { driver: RunDriver::new(operation), progress }
    }

    /// Reports the action for each row, in the order of the ids.
    pub(crate) async fn each<E: From<RunError>>(
        &self,
        rows: impl Iterator<Item = Result<LedgerRow, LedgerError>>,
        mut tell: impl FnMut(PlannedRow) -> Result<(), E>,
    ) -> Result<DryRunSummary, E> {
        let mut summary = DryRunSummary::default();
        let mut tell = |planned: PlannedRow| {
            summary.count(planned.action);
            tell(planned)
        };
        let mut at_hand: Vec<LedgerRow> = Vec::new();
        for row in rows {
            let row = row.map_err(RunError::from)?;
            // Whether a device may go depends on its modules: units are looked at as a whole.
            let is_new_unit =
                at_hand.last().is_some_and(|last| last.spec.identity.device() != row.spec.identity.device());
            if is_new_unit && at_hand.len() >= PAGE {
                let page = self.look(std::mem::take(&mut at_hand)).await?;
                page.into_iter().try_for_each(&mut tell)?;
            }
            at_hand.push(row);
        }
        let page = self.look(at_hand).await?;
        page.into_iter().try_for_each(&mut tell)?;
        Ok(summary)
    }

    async fn look(&self, rows: Vec<LedgerRow>) -> Result<Vec<PlannedRow>, RunError> {
        let operation = self.driver.operation();
        let mut tasks: Vec<Task<Changing>> = rows.into_iter().map(|row| operation.task(row)).collect();
        self.driver.observe(&mut tasks).await?;
        operation.foresee(&mut tasks).await?;
        (self.progress)(tasks.len());
        Ok(tasks.into_iter().map(planned).collect())
    }
}

fn planned(task: Task<Changing>) -> PlannedRow {
    let (line, identity) = (task.decider.row.line, task.identity().to_string());
    let (action, record) = match task.step {
        ChangeStep::Send(ChangeRequest::Delete) => (Action::Delete, None),
        ChangeStep::Observe | ChangeStep::Send(ChangeRequest::Replace(_)) => (Action::Update, None),
        ChangeStep::Finish(outcome) => {
            let record = Record::from(outcome);
            let action = match record.state {
                RowState::Conflict => Action::Conflict,
                RowState::Failed | RowState::Skipped => Action::Refuse,
                _ => Action::Keep,
            };
            (action, Some(record))
        }
    };
    let (reason, differences) =
        record.map_or_else(Default::default, |record| (record.error, record.differences));
    PlannedRow { line, identity, action, reason, differences, held_by: None, etags: task.etags }
}

/// The number of rows that are read together, plus the rest of the last unit.
const PAGE: usize = 500;
