//! The worker pool, which claims the chunks of a run until all are finished.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::clock::Timestamp;
use crate::device::ConnectError;
use crate::hub::HubError;
use crate::ledger::{Chunk, Claim, LedgerError, LedgerGuard, RunState, SharedLedger};
use crate::model::run_id::RunId;
pub(crate) use chunk_writer::ChunkWriter;

mod chunk_writer;
pub(crate) mod concurrent_reads;

/// The workers of a run.
#[derive(Clone)]
pub(crate) struct WorkerPool {
    /// The ledger that holds the run.
    pub(crate) ledger: SharedLedger,
    /// The run.
    pub(crate) run: RunId,
    /// The number of chunks that are worked on at once.
    pub(crate) workers: usize,
    /// The time after the last heartbeat of a station from which a different station may take over its
    /// chunks.
    pub(crate) lease: Duration,
    /// Receives the share of the hub's rate that this station may take: 1 if no other station works on
    /// the run.
    pub(crate) share: Arc<dyn Fn(f64) + Send + Sync>,
    /// Cancelled to stop after the chunks in flight.
    pub(crate) stop: CancellationToken,
    /// Receives the number of rows that have ended since the last call.
    pub(crate) progress: Arc<dyn Fn(usize) + Send + Sync>,
}

/// The reason why the work on a chunk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChunkEnd {
    /// Every row has a result.
    Complete,
    /// The run is to stop: the other rows wait until it is resumed.
    Stopped,
}

/// The work that is left when all chunks are finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MoreWork {
    /// Chunks may have become available, or are in work at other stations.
    Chunks,
    /// Rows are left, and are not waited for any longer.
    Deferred,
    /// No row is left.
    Nothing,
}

/// The work of a worker on a chunk.
pub(crate) trait ChunkWork: Send + Sync + 'static {
    /// Works on the rows of a chunk until each has a result or the run is to stop, and writes the results
    /// into the ledger. Workers that wait for the hub let others write to the ledger:
    /// [`ChunkWriter::mark_sent`] waits for its turn.
    fn work_on(
        &self,
        chunk: Chunk,
        writer: &ChunkWriter,
    ) -> impl Future<Output = Result<ChunkEnd, RunError>> + Send;

    /// Looks for more work when all chunks are finished, and may wait for it. No worker of this process has a
    /// chunk meanwhile.
    fn find_more(&self) -> impl Future<Output = Result<MoreWork, RunError>> + Send {
        async { Ok(MoreWork::Nothing) }
    }
}

/// The reason why a run could not continue. The results so far are in the ledger.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum RunError {
    /// No device can connect to the hub.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The hub can't be reached any more, or refuses this caller.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The ledger can't be written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A worker panicked.
    #[error("a worker died; this is a bug")]
    Worker(#[from] JoinError),
}

impl WorkerPool {
    /// Works on the run until all chunks are finished or it is stopped, and returns the state of the run.
    pub(crate) async fn run(self, work: impl ChunkWork) -> Result<RunState, RunError> {
        let (ledger, run, lease) = (self.ledger.clone(), self.run, self.lease);
        ledger.call(move |ledger| ledger.begin_work(run, lease)).await?;
        let heartbeat = Heartbeat { ledger: ledger.clone(), run, share: self.share.clone() };
        heartbeat.share().await?;
        let heartbeat = AbortOnDropHandle::new(tokio::spawn(heartbeat.keep(lease)));
        let worked = self.run_workers(Arc::new(work)).await;
        drop(heartbeat);
        let state = match &worked {
            Ok(RunState::Finished) => RunState::Finished,
            _ => RunState::Interrupted,
        };
        let ended = ledger
            .call(move |ledger| {
                ledger.release_leases()?;
                ledger.end_run(run, state, &Timestamp::now())
            })
            .await;
        worked?;
        ended?;
        Ok(state)
    }

    /// Hands chunks to workers as they become free.
    async fn run_workers(self, work: Arc<impl ChunkWork>) -> Result<RunState, RunError> {
        let mut running = JoinSet::new();
        let mut result = self.run_workers_in(&mut running, work).await;
        // After an error the chunks in flight still finish, so that the ledger knows what became of them.
        while let Some(ended) = running.join_next().await {
            result = joined(Some(ended)).and(result);
        }
        result
    }

    async fn run_workers_in(
        &self,
        running: &mut JoinSet<Result<Option<LedgerGuard>, RunError>>,
        work: Arc<impl ChunkWork>,
    ) -> Result<RunState, RunError> {
        let (run, workers) = (self.run, self.workers.max(1));
        // The turn of a worker that has finished a chunk: the next chunk is claimed in the same turn.
        let mut guard = None;
        while !self.stop.is_cancelled() {
            if running.len() >= workers {
                guard = joined(running.join_next().await)?;
                continue;
            }
            let own = match guard.take() {
                Some(guard) => guard,
                // A worker that finishes meanwhile may hold the turn that is waited for.
                None => tokio::select! {
                    biased;
                    Some(ended) = running.join_next() => {
                        guard = joined(Some(ended))?;
                        continue;
                    }
                    guard = self.ledger.acquire() => guard,
                },
            };
            let (own, claim) = own.call(move |ledger| ledger.claim(run)).await;
            match claim? {
                Claim::Chunk(chunk) => {
                    let writer = ChunkWriter::new(chunk.lease, own, self.progress.clone());
                    let work = work.clone();
                    running.spawn(async move {
                        match work.work_on(chunk, &writer).await? {
                            ChunkEnd::Complete => Ok(Some(writer.finish().await?)),
                            ChunkEnd::Stopped => Ok(None),
                        }
                    });
                }
                Claim::Finished => {
                    drop(own);
                    while let Some(ended) = running.join_next().await {
                        joined(Some(ended))?;
                    }
                    match work.find_more().await? {
                        MoreWork::Chunks => {}
                        MoreWork::Deferred => return Ok(RunState::Interrupted),
                        MoreWork::Nothing => return Ok(RunState::Finished),
                    }
                }
                // The remaining chunks depend on chunks in work, here or at another station.
                Claim::Wait => {
                    drop(own);
                    match running.is_empty() {
                        false => guard = joined(running.join_next().await)?,
                        true => wait(&self.stop).await,
                    }
                }
            }
        }
        Ok(RunState::Interrupted)
    }
}

/// The heartbeat of this station, which shows the others that it is at work.
struct Heartbeat {
    ledger: SharedLedger,
    run: RunId,
    share: Arc<dyn Fn(f64) + Send + Sync>,
}

impl Heartbeat {
    /// Renews the leases, three times in the length of one.
    async fn keep(self, lease: Duration) {
        let mut interval = tokio::time::interval((lease / 3).max(Duration::from_millis(100)));
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            // If a lease was lost, the next write of its chunk reports it.
            if let Err(error) = self.ledger.call(|ledger| ledger.renew_leases()).await {
                tracing::warn!(%error, "the leases could not be renewed");
            }
            if let Err(error) = self.share().await {
                tracing::warn!(%error, "other stations could not be counted");
            }
        }
    }

    /// Divides the rate of the hub equally among the stations at work.
    async fn share(&self) -> Result<(), LedgerError> {
        let run = self.run;
        let stations = self.ledger.call(move |ledger| ledger.count_stations(run)).await?;
        (self.share)(1.0 / f64::from(stations.get()));
        Ok(())
    }
}

/// Waits for other stations to make progress.
async fn wait(stop: &CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(WAIT) => {}
    }
}

/// The result of a worker that has ended.
fn joined(
    ended: Option<Result<Result<Option<LedgerGuard>, RunError>, JoinError>>,
) -> Result<Option<LedgerGuard>, RunError> {
    match ended {
        None => Ok(None),
        // Another station has the chunk, and finds out by looking what this one did.
        Some(Ok(Err(RunError::Ledger(error @ LedgerError::LeaseLost { .. })))) => {
            tracing::warn!("{error}");
            Ok(None)
        }
        Some(ended) => ended?,
    }
}

/// The pause before the progress of other stations is checked again.
const WAIT: Duration = Duration::from_millis(300);

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Two workers that nobody watches.
    pub(crate) fn pool(ledger: &SharedLedger, run: RunId) -> WorkerPool {
        WorkerPool {
            ledger: ledger.clone(),
            run,
            workers: 2,
            lease: Duration::from_secs(30),
            share: Arc::new(|_| {}),
            stop: CancellationToken::new(),
            progress: Arc::new(|_| {}),
        }
    }
}
