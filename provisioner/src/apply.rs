//! The application of a run: its rows are sent to the hub, unit by unit, until each has a result.
//!
//! Workers take chunks of units (a device and its modules) from the ledger. In a chunk all devices
//! are settled first, then all modules: the order that the hub demands. What a crash or a stop
//! leaves behind is `pending`, `claimed` or `sent` in the ledger, and [`Apply`] does it the next time.

use std::sync::Arc;

use hub_types::DeviceId;
use hub_types::identity::Status;
use tokio_util::sync::CancellationToken;

use crate::driver::{RunDriver, Task};
use crate::hub::Hub;
use crate::ledger::{Chunk, Ended, Holds, LedgerRow, Record, RowState, RunState};
use crate::model::failure::ReasonCode;
use crate::model::options::ApplyOptions;
use crate::model::spec::GivenKeys;
use crate::workers::{ChunkEnd, ChunkWork, ChunkWriter, RunError, WorkerPool};
pub(crate) use enrollments::ApplyEnrollments;
pub(crate) use follow::{DpsRegistrations, Follow, HubRegistrations, Schedule};
pub(crate) use groups::ApplyGroup;
use operation::{ApplyOperation, Provisioning};

mod enrollments;
mod follow;
mod groups;
pub(crate) mod lifecycle;
mod operation;
#[cfg(test)]
mod tests;

/// The parameters of applying a run.
pub(crate) struct Apply<H> {
    /// The hub.
    pub(crate) hub: Arc<H>,
    /// The symmetric keys that the batch gives.
    pub(crate) keys: Arc<GivenKeys>,
    /// The rules for existing identities, and the tag for new ones.
    pub(crate) options: ApplyOptions,
    /// True to read before creating, which is cheaper if most identities are expected to exist.
    pub(crate) look_first: bool,
    /// The run, and who works on it.
    pub(crate) pool: WorkerPool,
}

impl<H: Hub> Apply<H> {
    /// Works on the run until it is complete or stopped, and returns its state.
    pub(crate) async fn run(self) -> Result<RunState, RunError> {
        let pool = self.pool.clone();
        pool.run(self.into_worker().await?).await
    }

    async fn into_worker(self) -> Result<ApplyWorker<H>, RunError> {
        let holds = Holds::of_run(&self.pool.ledger, self.pool.run).await?;
        let operation = ApplyOperation::new(self.hub, holds, self.keys, self.look_first, self.options);
        Ok(ApplyWorker { driver: RunDriver::new(operation), stop: self.pool.stop })
    }
}

struct ApplyWorker<H> {
    driver: RunDriver<ApplyOperation<H>>,
    stop: CancellationToken,
}

impl<H: Hub> ChunkWork for ApplyWorker<H> {
    async fn work_on(&self, chunk: Chunk, writer: &ChunkWriter) -> Result<ChunkEnd, RunError> {
        let Chunk { rows, mut closed, .. } = chunk;
        let (devices, modules): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|row| row.spec.identity.module().is_none());
        let operation = self.driver.operation();
        let tasks = devices.into_iter().map(|row| {
            let waits_for_modules = waits_for_modules(&row, &modules);
            operation.task(row, waits_for_modules)
        });
        let settled = self.driver.settle(writer, tasks.collect()).await?;
        closed.extend(settled.closed);
        let (modules, orphans) = split_off_orphans(modules, &closed);
        writer.record(orphans).await?;
        let (modules, end) = self.modules_to_begin(modules, &settled.staged);
        let tasks = modules.into_iter().map(|row| operation.task(row, false));
        self.driver.settle(writer, tasks.collect()).await?;
        // Now that their modules are there, they can be disabled.
        let staged = settled.staged.into_iter().map(|task| operation.with_modules_there(task));
        self.driver.settle(writer, staged.collect()).await?;
        Ok(end)
    }
}

impl<H: Hub> ApplyWorker<H> {
    /// The modules that are begun, and the end of their chunk. After a request to stop, these are only the
    /// modules of devices that are enabled until their modules exist: such a device must not stay so.
    fn modules_to_begin(
        &self,
        modules: Vec<LedgerRow>,
        staged: &[Task<Provisioning>],
    ) -> (Vec<LedgerRow>, ChunkEnd) {
        if !self.stop.is_cancelled() {
            return (modules, ChunkEnd::Complete);
        }
        let all = modules.len();
        let is_of_staged = |module: &LedgerRow| {
            staged.iter().any(|device| device.identity().device() == module.spec.identity.device())
        };
        let begun: Vec<LedgerRow> = modules.into_iter().filter(is_of_staged).collect();
        let end = if begun.len() == all { ChunkEnd::Complete } else { ChunkEnd::Stopped };
        (begun, end)
    }
}

/// Returns true if a device must be disabled, but only after these modules of it exist.
fn waits_for_modules(device: &LedgerRow, modules: &[LedgerRow]) -> bool {
    device.spec.state.status_on_hub() == Status::Disabled
        && modules.iter().any(|module| module.spec.identity.device() == device.spec.identity.device())
}

/// Removes the modules whose device does not have the requested state: a module must not be created
/// on a device of a different owner.
fn split_off_orphans(
    modules: Vec<LedgerRow>,
    closed: &[(DeviceId, RowState)],
) -> (Vec<LedgerRow>, Vec<Ended>) {
    let mut orphans = Vec::new();
    let mut others = Vec::new();
    for row in modules {
        match closed.iter().find(|(device, _)| device == row.spec.identity.device()) {
            None => others.push(row),
            // As its device, which has not registered.
            Some((_, RowState::Waiting)) => {
                orphans.push((row.spec.identity, Record::new(RowState::Waiting)).into());
            }
            Some((device, state)) => {
                let reason =
                    format!("nothing was done, because the row of its device `{device}` is `{state}`");
                // A request that left before the run was interrupted may have had its effect.
                let effect = row.record.effect.filter(|_| row.record.state == RowState::Sent);
                let presumed = effect.is_some();
                let record =
                    Record { effect, presumed, ..Record::skipped(ReasonCode::DeviceRowNotDone, reason) };
                orphans.push((row.spec.identity, record).into());
            }
        }
    }
    (others, orphans)
}
