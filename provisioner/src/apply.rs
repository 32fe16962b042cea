//! Applying a run: its rows go to the hub, unit by unit, until each has come to an end.
//!
//! Workers take chunks of units (a device and its modules) from the ledger. In a chunk all devices
//! are settled first, then all modules: the order that the hub demands. What a crash or a stop
//! leaves behind is `pending`, `claimed` or `sent` in the ledger, and [`Apply`] does it the next time.

use std::sync::Arc;
use std::time::Duration;

use hub_types::identity::Status;
use hub_types::{DeviceId, IdentityId};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::clock::now_text;
use crate::desired::GivenKeys;
use crate::hub::{Hub, HubError};
use crate::ledger::{
    Chunk, Claim, Effect, Ended, Lease, LedgerError, LedgerRow, Record, RowState, RunId, RunState, Sent,
    SharedLedger,
};
use crate::lifecycle::{Intent, Lifecycle, Outcome};
pub(crate) use observation::{compare_for, observe};
use settle::{Settlement, Settler, Task};

mod changes;
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
    /// What may become of identities that are there already, and how new ones are marked.
    pub intentions: Intentions,
    /// Whether to look before creating: worth it where most identities are expected to be there.
    pub look_first: bool,
    /// How many chunks are worked on at once.
    pub workers: usize,
    /// How long a station may be silent before another may take over what it has in hand.
    pub lease: Duration,
    /// Told which share of the hub's rate this station may take: 1 where no others are at work on it.
    pub share: Arc<dyn Fn(f64) + Send + Sync>,
    /// Cancelled to stop after the chunks in flight.
    pub stop: CancellationToken,
    /// Told how many rows have come to an end since it was last told.
    pub progress: Arc<dyn Fn(usize) + Send + Sync>,
}

/// What a run is to do, apart from what its rows say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Intentions {
    /// What may become of identities that are there already.
    pub intent: Intent,
    /// The name and value of a tag that identities get when they are created. It is no part of what
    /// the batch wants, and never compared.
    pub created_by: Option<(String, Value)>,
    /// Whether the rows hold the version tags that a plan was made with, and nothing may be done with an
    /// identity that has others.
    pub as_planned: bool,
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
    /// Works on the run until nothing is left of it or it is stopped, and answers how it ended.
    pub async fn run(self) -> Result<RunState, ApplyError> {
        let (ledger, run, lease) = (self.ledger.clone(), self.run, self.lease);
        ledger.call(move |ledger| ledger.begin_work(run, lease)).await?;
        let heart = Heart { ledger: ledger.clone(), run, share: self.share.clone() };
        heart.share().await?;
        let heart = AbortOnDropHandle::new(tokio::spawn(heart.beat(lease)));
        let worked = self.work().await;
        drop(heart);
        let state = match &worked {
            Ok(RunState::Finished) => RunState::Finished,
            _ => RunState::Interrupted,
        };
        let ended = ledger
            .call(move |ledger| {
                ledger.release_leases()?;
                ledger.end_run(run, state, &now_text())
            })
            .await;
        worked?;
        ended?;
        Ok(state)
    }

    /// Hands chunks to workers as they become free.
    async fn work(self) -> Result<RunState, ApplyError> {
        let (stop, workers) = (self.stop.clone(), self.workers.max(1));
        let rows = Rows { ledger: self.ledger.clone(), run: self.run };
        let worker = Arc::new(Worker {
            intentions: self.intentions.clone(),
            settler: Settler::new(self.hub, self.keys, self.look_first, self.intentions),
            rows: rows.clone(),
            progress: self.progress,
        });
        let mut running = JoinSet::new();
        let mut result = Ok(RunState::Interrupted);
        while result.is_ok() && !stop.is_cancelled() {
            if running.len() >= workers {
                result = joined(running.join_next().await).map(|()| RunState::Interrupted);
                continue;
            }
            match rows.claim().await {
                Ok(Claim::Chunk(chunk)) => {
                    let worker = worker.clone();
                    running.spawn(async move { worker.work_on(chunk).await });
                }
                Ok(Claim::Finished) => {
                    result = Ok(RunState::Finished);
                    break;
                }
                // What is left waits for what is at work, here or at another station.
                Ok(Claim::Wait) if !running.is_empty() => {
                    result = joined(running.join_next().await).map(|()| RunState::Interrupted);
                }
                Ok(Claim::Wait) => wait(&stop).await,
                Err(error) => result = Err(error.into()),
            }
        }
        // After an error the chunks in flight still finish, so that the ledger knows what became of them.
        while let Some(ended) = running.join_next().await {
            result = joined(Some(ended)).and(result);
        }
        result
    }
}

/// Keeps this station among those that are at work.
struct Heart {
    ledger: SharedLedger,
    run: RunId,
    share: Arc<dyn Fn(f64) + Send + Sync>,
}

impl Heart {
    /// Renews the leases, three times in the length of one.
    async fn beat(self, lease: Duration) {
        let mut beat = tokio::time::interval((lease / 3).max(Duration::from_millis(100)));
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            // What this means for a chunk will be seen when its rows are written.
            if let Err(error) = self.ledger.call(|ledger| ledger.renew_leases()).await {
                tracing::warn!(%error, "the leases could not be renewed");
            }
            if let Err(error) = self.share().await {
                tracing::warn!(%error, "other stations could not be counted");
            }
        }
    }

    /// Takes an equal part of what the hub takes.
    async fn share(&self) -> Result<(), LedgerError> {
        let run = self.run;
        let stations = self.ledger.call(move |ledger| ledger.count_stations(run)).await?;
        (self.share)(1.0 / f64::from(stations.get()));
        Ok(())
    }
}

/// Waits for other stations to get on.
async fn wait(stop: &CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(WAIT) => {}
    }
}

fn joined(ended: Option<Result<Result<(), ApplyError>, tokio::task::JoinError>>) -> Result<(), ApplyError> {
    match ended {
        None => Ok(()),
        // Another station has the chunk, and finds out by looking what this one did.
        Some(Ok(Err(ApplyError::Ledger(error @ LedgerError::LeaseLost { .. })))) => {
            tracing::warn!("{error}");
            Ok(())
        }
        Some(ended) => ended?,
    }
}

/// The rows of a run as the ledger gives them out and takes them back.
#[derive(Clone)]
struct Rows {
    ledger: SharedLedger,
    run: RunId,
}

impl Rows {
    async fn claim(&self) -> Result<Claim, LedgerError> {
        let run = self.run;
        self.ledger.call(move |ledger| ledger.claim(run)).await
    }

    async fn mark_sent(&self, lease: Lease, sent: Vec<Sent>) -> Result<(), LedgerError> {
        self.ledger.call(move |ledger| ledger.mark_sent(&lease, &sent, &now_text())).await
    }

    async fn record(&self, lease: Lease, ended: Vec<Ended>) -> Result<(), LedgerError> {
        self.ledger.call(move |ledger| ledger.record(&lease, &ended, &now_text())).await
    }

    async fn finish(&self, lease: Lease) -> Result<(), LedgerError> {
        self.ledger.call(move |ledger| ledger.finish_chunk(&lease)).await
    }
}

struct Worker<H> {
    intentions: Intentions,
    settler: Settler<H>,
    rows: Rows,
    progress: Arc<dyn Fn(usize) + Send + Sync>,
}

impl<H: Hub> Worker<H> {
    async fn work_on(&self, chunk: Chunk) -> Result<(), ApplyError> {
        let Chunk { lease, rows, mut closed } = chunk;
        let (devices, modules): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|row| row.wanted.identity.module().is_none());
        let tasks = devices.iter().map(|row| match waits_for_modules(row, &modules) {
            true => Task::new(row.wanted.clone(), self.life(row).waiting_for_modules()),
            false => Task::new(row.wanted.clone(), self.life(row)),
        });
        let outcomes = self.settle(lease, tasks.collect()).await?;
        closed.extend(outcomes.closed);
        let (modules, orphans) = split_off_orphans(modules, &closed);
        self.record(lease, orphans).await?;
        let tasks = modules.into_iter().map(|row| Task::new(row.wanted.clone(), self.life(&row)));
        self.settle(lease, tasks.collect()).await?;
        // Now that their modules are there, they can be disabled.
        let staged = devices.into_iter().filter(|row| outcomes.staged.contains(&row.wanted.identity));
        let tasks = staged.map(|mut row| {
            (row.record.state, row.record.effect) = (RowState::Sent, Some(Effect::Created));
            let life = self.life(&row);
            Task::new(row.wanted, life)
        });
        self.settle(lease, tasks.collect()).await?;
        Ok(self.rows.finish(lease).await?)
    }

    fn life(&self, row: &LedgerRow) -> Lifecycle {
        let life = match row.record.state {
            RowState::Sent => {
                Lifecycle::resumed(self.intentions.intent, row.record.effect.unwrap_or(Effect::Created))
            }
            _ => Lifecycle::new(self.intentions.intent),
        };
        match self.intentions.as_planned {
            true => life.expecting(row.before.clone()),
            false => life,
        }
    }

    /// Brings identities to their end and writes it down.
    async fn settle(&self, lease: Lease, tasks: Vec<Task>) -> Result<Settled, ApplyError> {
        let outcomes = self.settler.settle(tasks, |sent| self.rows.mark_sent(lease, sent)).await?;
        let mut settled = Settled::default();
        let mut ended = Vec::with_capacity(outcomes.len());
        for Settlement { identity, outcome, before, after } in outcomes {
            if matches!(outcome, Outcome::Staged) {
                // Its row stays `sent`: it is not at its end.
                settled.staged.push(identity);
                continue;
            }
            let record = Record::from(outcome);
            if matches!(record.state, RowState::Conflict | RowState::Failed) && identity.module().is_none() {
                settled.closed.push((identity.device().clone(), record.state));
            }
            ended.push(Ended { identity, record, before, after });
        }
        self.record(lease, ended).await?;
        Ok(settled)
    }

    async fn record(&self, lease: Lease, ended: Vec<Ended>) -> Result<(), LedgerError> {
        let count = ended.len();
        if count > 0 {
            self.rows.record(lease, ended).await?;
            (self.progress)(count);
        }
        Ok(())
    }
}

/// What became of identities, as far as others depend on it.
#[derive(Default)]
struct Settled {
    /// Devices that wait for their modules.
    staged: Vec<IdentityId>,
    /// Devices that did not come out as the batch wants them.
    closed: Vec<(DeviceId, RowState)>,
}

/// Whether a device is to be disabled, but only when these modules of it are there.
fn waits_for_modules(device: &LedgerRow, modules: &[LedgerRow]) -> bool {
    device.wanted.state.status == Status::Disabled
        && modules.iter().any(|module| module.wanted.identity.device() == device.wanted.identity.device())
}

/// Takes out the modules whose device did not come out as the batch wants it: a module must not
/// land on a device that is another's.
fn split_off_orphans(
    modules: Vec<LedgerRow>,
    closed: &[(DeviceId, RowState)],
) -> (Vec<LedgerRow>, Vec<Ended>) {
    let mut orphans = Vec::new();
    let mut others = Vec::new();
    for row in modules {
        match closed.iter().find(|(device, _)| device == row.wanted.identity.device()) {
            None => others.push(row),
            Some((device, state)) => {
                let reason =
                    format!("nothing was done, because the row of its device `{device}` is `{state}`");
                orphans.push((row.wanted.identity, Record::failed(reason)).into());
            }
        }
    }
    (others, orphans)
}

/// How long to wait before asking again whether other stations got on.
const WAIT: Duration = Duration::from_millis(300);
