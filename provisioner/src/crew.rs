//! A crew of workers that takes a run's chunks from the ledger until nothing is left of it, whatever
//! it is that they do with a chunk.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::clock::now_text;
use crate::connect::ConnectError;
use crate::hub::HubError;
use crate::ledger::{Chunk, Claim, Ended, Lease, LedgerError, RunId, RunState, Sent, SharedLedger};

/// How a run is worked on.
#[derive(Clone)]
pub struct Crew {
    /// The ledger that holds the run.
    pub ledger: SharedLedger,
    /// The run.
    pub run: RunId,
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

/// What a worker does with a chunk.
pub(crate) trait Work: Send + Sync + 'static {
    /// Brings every row of the chunk to its end and writes it down.
    fn work_on(&self, chunk: Chunk) -> impl Future<Output = Result<(), RunError>> + Send;
}

/// Why a run could not go on. What it did until then is in the ledger.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Devices can't connect to the hub, whoever they are.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The hub can't be reached any more, or does not let this caller in.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The ledger can't be written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A worker panicked.
    #[error("a worker died; this is a bug")]
    Worker(#[from] JoinError),
}

impl Crew {
    /// Works on the run until nothing is left of it or it is stopped, and answers how it ended.
    pub(crate) async fn carry_out(self, work: impl Work) -> Result<RunState, RunError> {
        let (ledger, run, lease) = (self.ledger.clone(), self.run, self.lease);
        ledger.call(move |ledger| ledger.begin_work(run, lease)).await?;
        let heart = Heart { ledger: ledger.clone(), run, share: self.share.clone() };
        heart.share().await?;
        let heart = AbortOnDropHandle::new(tokio::spawn(heart.beat(lease)));
        let worked = self.hand_out(Arc::new(work)).await;
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
    async fn hand_out(self, work: Arc<impl Work>) -> Result<RunState, RunError> {
        let (stop, workers) = (self.stop.clone(), self.workers.max(1));
        let rows = self.rows();
        let mut running = JoinSet::new();
        let mut result = Ok(RunState::Interrupted);
        while result.is_ok() && !stop.is_cancelled() {
            if running.len() >= workers {
                result = joined(running.join_next().await).map(|()| RunState::Interrupted);
                continue;
            }
            match rows.claim().await {
                Ok(Claim::Chunk(chunk)) => {
                    let work = work.clone();
                    running.spawn(async move { work.work_on(chunk).await });
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

    /// The run's rows.
    pub(crate) fn rows(&self) -> Rows {
        Rows { ledger: self.ledger.clone(), run: self.run, progress: self.progress.clone() }
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

fn joined(ended: Option<Result<Result<(), RunError>, JoinError>>) -> Result<(), RunError> {
    match ended {
        None => Ok(()),
        // Another station has the chunk, and finds out by looking what this one did.
        Some(Ok(Err(RunError::Ledger(error @ LedgerError::LeaseLost { .. })))) => {
            tracing::warn!("{error}");
            Ok(())
        }
        Some(ended) => ended?,
    }
}

/// The rows of a run as the ledger gives them out and takes them back.
#[derive(Clone)]
pub(crate) struct Rows {
    ledger: SharedLedger,
    run: RunId,
    progress: Arc<dyn Fn(usize) + Send + Sync>,
}

impl Rows {
    async fn claim(&self) -> Result<Claim, LedgerError> {
        let run = self.run;
        self.ledger.call(move |ledger| ledger.claim(run)).await
    }

    /// Writes down that requests are about to leave.
    pub(crate) async fn mark_sent(&self, lease: Lease, sent: Vec<Sent>) -> Result<(), LedgerError> {
        self.ledger.call(move |ledger| ledger.mark_sent(&lease, &sent, &now_text())).await
    }

    /// Writes down what became of rows.
    pub(crate) async fn record(&self, lease: Lease, ended: Vec<Ended>) -> Result<(), LedgerError> {
        let count = ended.len();
        if count > 0 {
            self.ledger.call(move |ledger| ledger.record(&lease, &ended, &now_text())).await?;
            (self.progress)(count);
        }
        Ok(())
    }

    /// Writes down that all rows of a chunk have come to an end.
    pub(crate) async fn finish(&self, lease: Lease) -> Result<(), LedgerError> {
        self.ledger.call(move |ledger| ledger.finish_chunk(&lease)).await
    }
}

/// How long to wait before asking again whether other stations got on.
const WAIT: Duration = Duration::from_millis(300);

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Two workers that nobody watches.
    pub(crate) fn crew(ledger: &SharedLedger, run: RunId) -> Crew {
        Crew {
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
