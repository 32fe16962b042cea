//! Writing down how far a session is, every few seconds: what the timeline of a report is drawn from.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::hub::rate_limit::CallStats;
use crate::ledger::{LedgerError, ProgressSample, SharedLedger};
use crate::model::run_id::RunId;

/// Counts the rows of this process's session on a run, and writes its samples into the ledger.
pub(super) struct ProgressRecorder {
    ledger: SharedLedger,
    run: RunId,
    begun: Instant,
    rows: AtomicU64,
    stats: Box<dyn Fn() -> CallStats + Send + Sync>,
}

impl ProgressRecorder {
    /// The recorder of a session that began at `begun`. `tally` tells what the calls to the hub came to.
    pub(super) fn new(
        ledger: SharedLedger,
        run: RunId,
        begun: Instant,
        stats: impl Fn() -> CallStats + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { ledger, run, begun, rows: AtomicU64::new(0), stats: Box::new(stats) })
    }

    /// Counts rows that came to an end.
    pub(super) fn count(&self, rows: usize) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// Writes a sample now and then, for ever. In a long session they become rarer, so that their number
    /// hardly grows.
    pub(super) async fn keep(self: Arc<Self>) {
        loop {
            // A gap in the timeline is no reason to stop the work.
            if let Err(error) = self.write().await {
                tracing::warn!(%error, "a sample of the timeline could not be written");
            }
            tokio::time::sleep(OFTEN.max(self.begun.elapsed() / RESOLUTION)).await;
        }
    }

    /// Writes how far the session is now.
    pub(super) async fn write(&self) -> Result<(), LedgerError> {
        let sample = ProgressSample {
            elapsed: self.begun.elapsed(),
            rows: self.rows.load(Ordering::Relaxed),
            stats: (self.stats)(),
        };
        let run = self.run;
        self.ledger.call(move |ledger| ledger.add_progress_sample(run, &sample)).await
    }
}

const OFTEN: Duration = Duration::from_secs(2);
/// Into so many parts a timeline can be told apart.
const RESOLUTION: u32 = 1_000;
