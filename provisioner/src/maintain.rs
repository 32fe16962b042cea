//! Maintenance of existing identities, as a run of the ledger.
//!
//! In a chunk all devices are processed before their modules, except for deletions: there a device
//! and its modules are read together, because deleting the device deletes the modules.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::driver::{Operation, RunDriver, Task};
use crate::hub::Hub;
use crate::ledger::{Chunk, Holds, LedgerRow, RunState};
use crate::model::maintenance::Maintenance;
use crate::workers::{ChunkEnd, ChunkWork, ChunkWriter, RunError, WorkerPool};
pub(crate) use check::VerifyMaintenance;
pub(crate) use connect_check::{CertificateCheck, connect_check};
pub(crate) use dry_run::{DryRun, DryRunSummary};
pub(crate) use enrollments::{UndoEnrollments, UndoOperation, VerifyUndoneEnrollments};
use operation::{ChangeOperation, Changing};
pub(crate) use retirement::{Retire, RetireOperation, VerifyRetired};

pub(crate) mod change;
mod check;
mod connect_check;
mod dry_run;
mod enrollments;
mod operation;
mod retirement;
#[cfg(test)]
mod tests;
mod units;

/// A change of existing identities that can be rehearsed: its decisions are the result of a dry run.
pub(crate) trait Rehearsal: Operation<Decider = Changing> {
    /// The identity of a row with its first step.
    fn task(&self, row: LedgerRow) -> Task<Changing>;

    /// Lets identities that were read depend on each other, as they do in a run.
    fn foresee(&self, tasks: &mut [Task<Changing>]) -> impl Future<Output = Result<(), RunError>> + Send;
}

/// The parameters of a maintenance run.
pub(crate) struct Maintain<H> {
    /// The hub.
    pub(crate) hub: Arc<H>,
    /// The operation on the run's identities.
    pub(crate) maintenance: Maintenance,
    /// The check before an old thumbprint is removed, if one is required.
    pub(crate) certificate_check: Option<CertificateCheck>,
    /// The run, and who works on it.
    pub(crate) pool: WorkerPool,
}

impl<H: Hub> Maintain<H> {
    /// Works on the run until it is complete or stopped, and returns its state.
    pub(crate) async fn run(self) -> Result<RunState, RunError> {
        let (ledger, own) = (self.pool.ledger.clone(), self.pool.run);
        let reverts = self.maintenance == Maintenance::DropNewThumbprint;
        let undone = match self.maintenance {
            Maintenance::Undo { run } => Some(run),
            _ => None,
        };
        let holds = Holds::of_run(&ledger, own).await?;
        let operation = ChangeOperation::new(
            self.hub.clone(),
            holds,
            self.maintenance,
            Some(own),
            self.certificate_check,
        );
        let stop = self.pool.stop.clone();
        let worker = MaintenanceWorker { driver: RunDriver::new(operation), stop };
        let state = self.pool.run(worker).await?;
        if let (Some(run), RunState::Finished) = (undone, state) {
            // What was taken back may be given to others: a wrong label can be corrected.
            ledger.call(move |ledger| ledger.forget_undone(run, own)).await?;
        }
        if reverts && state == RunState::Finished {
            ledger.call(move |ledger| ledger.forget_reverted(own)).await?;
        }
        Ok(state)
    }
}

struct MaintenanceWorker<H> {
    driver: RunDriver<ChangeOperation<H>>,
    stop: CancellationToken,
}

impl<H: Hub> ChunkWork for MaintenanceWorker<H> {
    async fn work_on(&self, chunk: Chunk, writer: &ChunkWriter) -> Result<ChunkEnd, RunError> {
        let Chunk { rows, closed, .. } = chunk;
        let operation = self.driver.operation();
        let tasks: Vec<Task<Changing>> = rows.into_iter().map(|row| operation.task(row)).collect();
        match operation.maintenance().deletes() {
            true => {
                let (tasks, left) = units::split_closed(tasks, &closed);
                self.driver.record(writer, left).await?;
                self.driver.settle(writer, tasks).await?;
            }
            false => {
                let is_device = |task: &Task<Changing>| task.identity().module().is_none();
                let (devices, modules): (Vec<_>, Vec<_>) = tasks.into_iter().partition(is_device);
                self.driver.settle(writer, devices).await?;
                if self.stop.is_cancelled() && !modules.is_empty() {
                    return Ok(ChunkEnd::Stopped);
                }
                self.driver.settle(writer, modules).await?;
            }
        }
        Ok(ChunkEnd::Complete)
    }
}
