//! Writing down how far a stint is, every few seconds: what the timeline of a report is drawn from.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::hub::rate_limit::CallStats;
use crate::ledger::{LedgerError, Moment, RunId, SharedLedger};

/// Counts the rows of this process's stint on a run, and writes its moments into the ledger.
pub struct Logbook {
    ledger: SharedLedger,
    run: RunId,
    begun: Instant,
    rows: AtomicU64,
    stats: Box<dyn Fn() -> CallStats + Send + Sync>,
}

impl Logbook {
    /// The logbook of a stint that began at `begun`. `tally` tells what the calls to the hub came to.
    pub fn new(
        ledger: SharedLedger,
        run: RunId,
        begun: Instant,
        stats: impl Fn() -> CallStats + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { ledger, run, begun, rows: AtomicU64::new(0), stats: Box::new(stats) })
    }

    /// Counts rows that came to an end.
    pub fn count(&self, rows: usize) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// Writes a moment now and then, for ever. In a long stint they become rarer, so that their number
    /// hardly grows.
    pub async fn keep(self: Arc<Self>) {
        loop {
            // A gap in the timeline is no reason to stop the work.
            if let Err(error) = self.write().await {
                tracing::warn!(%error, "a moment of the timeline could not be written");
            }
            tokio::time::sleep(OFTEN.max(self.begun.elapsed() / RESOLUTION)).await;
        }
    }

    /// Writes how far the stint is now.
    pub async fn write(&self) -> Result<(), LedgerError> {
        let moment = Moment {
            elapsed: self.begun.elapsed(),
            rows: self.rows.load(Ordering::Relaxed),
            stats: (self.stats)(),
        };
        let run = self.run;
        self.ledger.call(move |ledger| ledger.add_moment(run, &moment)).await
    }
}

const OFTEN: Duration = Duration::from_secs(2);
/// Into so many parts a timeline can be told apart.
const RESOLUTION: u32 = 1_000;
