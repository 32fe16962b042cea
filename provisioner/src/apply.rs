//! Applying a run: its rows go to the hub, unit by unit, until each has come to an end.
//!
//! Workers take groups of units (a device and its modules) from the ledger. In a group all devices
//! are settled first, then all modules: the order that the hub demands. What a crash or a stop
//! leaves behind is `pending` or `sent` in the ledger and can be done by another run.

use std::sync::Arc;

use hub_types::{DeviceId, IdentityId};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::now_text;
use crate::desired::GivenKeys;
use crate::hub::{Hub, HubError};
use crate::ledger::{Ledger, LedgerError, LedgerRow, Record, RowState, RunId, RunState, SharedLedger};
pub(crate) use observation::observe;
use settle::Settler;

mod creation;
#[cfg(test)]
mod model_hub;
mod observation;
mod settle;
#[cfg(test)]
mod tests;

/// What a run is applied with.
pub struct Apply<H> {
    /// The hub.
    pub hub: Arc<H>,
    /// The ledger that holds the run.
    pub ledger: SharedLedger,
    /// The run.
    pub run: RunId,
    /// The symmetric keys that the batch gives.
    pub keys: Arc<GivenKeys>,
    /// Whether to look before creating: worth it where most identities are expected to be there.
    pub look_first: bool,
    /// How many groups are worked on at once.
    pub workers: usize,
    /// Cancelled to stop after the groups in flight.
    pub stop: CancellationToken,
    /// Told how many rows have come to an end since it was last told.
    pub progress: Arc<dyn Fn(usize) + Send + Sync>,
}

/// Why a run could not go on. What it did until then is in the ledger.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The hub can't be reached any more, or does not let this caller in.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The ledger can't be written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A worker panicked.
    #[error("a worker died; this is a bug")]
    Worker(#[from] tokio::task::JoinError),
}

impl<H: Hub> Apply<H> {
    /// Applies the run and answers how it ended.
    pub async fn run(self) -> Result<RunState, ApplyError> {
        let (ledger, run, stop) = (self.ledger.clone(), self.run, self.stop.clone());
        let worked = self.work().await;
        let state = match &worked {
            Ok(()) if !stop.is_cancelled() => RunState::Finished,
            _ => RunState::Interrupted,
        };
        let ended = ledger.call(move |ledger| ledger.end_run(run, state, &now_text())).await;
        worked?;
        ended?;
        Ok(state)
    }

    async fn work(self) -> Result<(), ApplyError> {
        let run = self.run;
        let levels = self.ledger.call(move |ledger| ledger.highest_level(run)).await?;
        let workers = self.workers.max(1);
        let groups = Groups { ledger: self.ledger.clone(), run: self.run };
        let stop = self.stop.clone();
        let worker = Arc::new(Worker {
            settler: Settler::new(self.hub, self.keys, self.look_first),
            groups: groups.clone(),
            progress: self.progress,
        });
        for level in 0..=levels {
            work_on_level(&worker, &groups, level, workers, &stop).await?;
        }
        Ok(())
    }
}

/// Hands the groups of a level to workers, and waits for all of them: what stands on a level needs
/// what stands below it.
async fn work_on_level<H: Hub>(
    worker: &Arc<Worker<H>>,
    groups: &Groups,
    level: u32,
    workers: usize,
    stop: &CancellationToken,
) -> Result<(), ApplyError> {
    let mut running = JoinSet::new();
    let mut after: Option<DeviceId> = None;
    let mut result = Ok(());
    while result.is_ok() && !stop.is_cancelled() {
        let group = groups.next(level, after.take()).await?;
        let Some(last) = group.last() else { break };
        after = Some(last.wanted.identity.device().clone());
        if running.len() >= workers {
            result = joined(running.join_next().await);
        }
        let worker = worker.clone();
        running.spawn(async move { worker.work_on(group).await });
    }
    // After an error the groups in flight still finish, so that the ledger knows what became of them.
    while let Some(ended) = running.join_next().await {
        result = result.and(joined(Some(ended)));
    }
    result
}

fn joined(ended: Option<Result<Result<(), ApplyError>, tokio::task::JoinError>>) -> Result<(), ApplyError> {
    match ended {
        None => Ok(()),
        Some(ended) => ended?,
    }
}

/// The rows of a run as the ledger gives them out and takes them back.
#[derive(Clone)]
struct Groups {
    ledger: SharedLedger,
    run: RunId,
}

impl Groups {
    async fn next(&self, level: u32, after: Option<DeviceId>) -> Result<Vec<LedgerRow>, LedgerError> {
        let run = self.run;
        self.ledger.call(move |ledger| ledger.claim_group(run, level, after.as_ref(), GROUP_DEVICES)).await
    }

    async fn mark_sent(&self, identities: Vec<IdentityId>) -> Result<(), LedgerError> {
        let run = self.run;
        self.ledger.call(move |ledger| ledger.mark_sent(run, identities.iter())).await
    }

    async fn record(&self, records: Vec<(IdentityId, Record)>) -> Result<(), LedgerError> {
        let run = self.run;
        let record = move |ledger: &mut Ledger| {
            ledger.record(run, records.iter().map(|(id, record)| (id, record)), &now_text())
        };
        self.ledger.call(record).await
    }
}

struct Worker<H> {
    settler: Settler<H>,
    groups: Groups,
    progress: Arc<dyn Fn(usize) + Send + Sync>,
}

impl<H: Hub> Worker<H> {
    async fn work_on(&self, group: Vec<LedgerRow>) -> Result<(), ApplyError> {
        let (devices, modules): (Vec<_>, Vec<_>) =
            group.into_iter().partition(|row| row.wanted.identity.module().is_none());
        let devices = self.settle(devices).await?;
        let (modules, orphans) = split_off_orphans(modules, &devices);
        self.finish(orphans).await?;
        self.settle(modules).await?;
        Ok(())
    }

    /// Brings rows to their end and writes it down.
    async fn settle(&self, rows: Vec<LedgerRow>) -> Result<Vec<(IdentityId, Record)>, ApplyError> {
        let wanted = rows.into_iter().map(|row| row.wanted).collect();
        let records = self.settler.settle(wanted, |identities| self.groups.mark_sent(identities)).await?;
        self.finish(records.clone()).await?;
        Ok(records)
    }

    async fn finish(&self, records: Vec<(IdentityId, Record)>) -> Result<(), ApplyError> {
        let count = records.len();
        if count > 0 {
            self.groups.record(records).await?;
            (self.progress)(count);
        }
        Ok(())
    }
}

/// Takes out the modules whose device did not come out as the batch wants it: a module must not
/// land on a device that is another's.
fn split_off_orphans(
    modules: Vec<LedgerRow>,
    devices: &[(IdentityId, Record)],
) -> (Vec<LedgerRow>, Vec<(IdentityId, Record)>) {
    let bad: Vec<(&DeviceId, RowState)> = devices
        .iter()
        .filter(|(_, record)| matches!(record.state, RowState::Conflict | RowState::Failed))
        .map(|(identity, record)| (identity.device(), record.state))
        .collect();
    let mut orphans = Vec::new();
    let mut others = Vec::new();
    for row in modules {
        match bad.iter().find(|(device, _)| *device == row.wanted.identity.device()) {
            None => others.push(row),
            Some((device, state)) => {
                let reason =
                    format!("nothing was done, because the row of its device `{device}` is `{state}`");
                orphans.push((row.wanted.identity, Record::failed(reason)));
            }
        }
    }
    (others, orphans)
}

/// Devices of a group: as many as one bulk call takes.
const GROUP_DEVICES: usize = hub_types::limits::MAX_BULK_ITEMS;
