//! The application of a run: its rows are sent to the hub, unit by unit, until each has a result.
//!
//! Workers take chunks of units (a device and its modules) from the ledger. In a chunk all devices
//! are settled first, then all modules: the order that the hub demands. What a crash or a stop
//! leaves behind is `pending`, `claimed` or `sent` in the ledger, and [`Apply`] does it the next time.

use std::sync::Arc;

use hub_types::DeviceId;
use hub_types::identity::Status;

use crate::apply::lifecycle::Lifecycle;
use crate::hub::Hub;
use crate::ledger::{Chunk, Ended, Holds, LedgerRow, Record, RowState, RunState};
use crate::model::effect::Effect;
use crate::model::failure::ReasonCode;
use crate::model::options::ApplyOptions;
use crate::model::spec::GivenKeys;
use crate::workers::{ChunkWork, ChunkWriter, RunError, WorkerPool};
pub(crate) use changes::IdentityUpdate;
use driver::{ApplyDriver, ApplyTask, Settlement};
pub(crate) use hub_writer::HubWriter;
pub(crate) use observation::{compare_for, compare_held, observe};

mod changes;
mod driver;
mod hub_writer;
pub(crate) mod lifecycle;
mod observation;
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
        let holds = Holds::of_run(&self.pool.ledger, self.pool.run).await?;
        let worker = ApplyWorker {
            options: self.options.clone(),
            driver: ApplyDriver::new(self.hub, holds, self.keys, self.look_first, self.options),
        };
        self.pool.run(worker).await
    }
}

struct ApplyWorker<H> {
    options: ApplyOptions,
    driver: ApplyDriver<H>,
}

impl<H: Hub> ChunkWork for ApplyWorker<H> {
    async fn work_on(&self, chunk: Chunk, writer: &ChunkWriter) -> Result<(), RunError> {
        let Chunk { rows, mut closed, .. } = chunk;
        let (devices, modules): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|row| row.spec.identity.module().is_none());
        let tasks =
            devices.into_iter().map(|row| match (self.life(&row), waits_for_modules(&row, &modules)) {
                (life, true) => ApplyTask::new(row.spec, life.waiting_for_modules()),
                (life, false) => ApplyTask::new(row.spec, life),
            });
        let outcomes = self.settle(writer, tasks.collect()).await?;
        closed.extend(outcomes.closed);
        let (modules, orphans) = split_off_orphans(modules, &closed);
        writer.record(orphans).await?;
        let tasks = modules.into_iter().map(|row| {
            let life = self.life(&row);
            ApplyTask::new(row.spec, life)
        });
        self.settle(writer, tasks.collect()).await?;
        // Now that their modules are there, they can be disabled.
        let staged = outcomes.staged.into_iter().map(ApplyTask::with_modules_there);
        self.settle(writer, staged.collect()).await?;
        Ok(())
    }
}

impl<H: Hub> ApplyWorker<H> {
    fn life(&self, row: &LedgerRow) -> Lifecycle {
        let life = match row.record.state {
            // That a run created something is only said where it is known.
            RowState::Sent => {
                Lifecycle::resumed(self.options.rules, row.record.effect.unwrap_or(Effect::Updated))
            }
            _ => Lifecycle::new(self.options.rules),
        };
        match self.options.as_planned {
            true => life.expecting(row.before.clone()),
            false => life,
        }
    }

    /// Completes identities and records the results.
    async fn settle(&self, writer: &ChunkWriter, tasks: Vec<ApplyTask>) -> Result<Settled, RunError> {
        let settlements = self.driver.settle(tasks, writer).await?;
        // The rows of what is staged stay as they are: they are not at their end.
        let mut settled = Settled { staged: settlements.staged, closed: Vec::new() };
        let mut ended = Vec::with_capacity(settlements.ended.len());
        for Settlement { identity, outcome, effect, presumed, held_by, kept, before, after } in
            settlements.ended
        {
            let mut record = Record { effect, presumed, ..Record::from(outcome) };
            if matches!(record.state, RowState::Done | RowState::Unchanged) {
                record.held_by = held_by;
                record.reason = record.reason.or(kept);
            }
            if matches!(record.state, RowState::Conflict | RowState::Failed) && identity.module().is_none() {
                settled.closed.push((identity.device().clone(), record.state));
            }
            ended.push(Ended { identity, record, before, after });
        }
        writer.record(ended).await?;
        Ok(settled)
    }
}

/// The results of identities that others depend on.
struct Settled {
    /// Devices that wait for their modules.
    staged: Vec<ApplyTask>,
    /// Devices that failed, are in conflict or were skipped.
    closed: Vec<(DeviceId, RowState)>,
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
            Some((device, state)) => {
                let reason =
                    format!("nothing was done, because the row of its device `{device}` is `{state}`");
                let record = Record::skipped(ReasonCode::DeviceRowNotDone, reason);
                orphans.push((row.spec.identity, record).into());
            }
        }
    }
    (others, orphans)
}
