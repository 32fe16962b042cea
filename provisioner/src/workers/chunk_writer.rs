//! The entries that a worker writes into the ledger about its chunk.

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::clock::Timestamp;
use crate::ledger::{Ended, Lease, Ledger, LedgerError, RunId, Sent, SharedLedger, Turn};

/// A worker's entries in the ledger.
///
/// From an answer of the hub to the next request, a worker keeps its turn at the ledger. Workers that gave
/// way to one another at each entry would fall into step, and then each would wait for all others each time.
pub(crate) struct Book {
    ledger: SharedLedger,
    lease: Lease,
    progress: Arc<dyn Fn(usize) + Send + Sync>,
    turn: Mutex<Option<Turn>>,
}

impl Book {
    /// Of a chunk that was just claimed.
    pub(super) fn new(lease: Lease, turn: Turn, progress: Arc<dyn Fn(usize) + Send + Sync>) -> Self {
        Self { ledger: turn.ledger().clone(), lease, progress, turn: Mutex::new(Some(turn)) }
    }

    /// The run that the chunk is of.
    pub(crate) fn run(&self) -> RunId {
        self.lease.run()
    }

    /// Writes down that requests are about to leave.
    pub(crate) async fn mark_sent(&self, sent: Vec<Sent>) -> Result<(), LedgerError> {
        self.write(move |ledger, lease| ledger.mark_sent(lease, &sent, &Timestamp::now())).await?;
        self.give_way().await;
        Ok(())
    }

    /// Writes down what became of rows.
    pub(crate) async fn record(&self, ended: Vec<Ended>) -> Result<(), LedgerError> {
        let count = ended.len();
        if count > 0 {
            self.write(move |ledger, lease| ledger.record(lease, &ended, &Timestamp::now())).await?;
            (self.progress)(count);
        }
        Ok(())
    }

    /// Lets others write, before something that takes long.
    pub(crate) async fn give_way(&self) {
        self.turn.lock().await.take();
    }

    /// Writes down that all rows of the chunk have come to an end. The next chunk can be claimed in the same
    /// turn.
    pub(super) async fn finish(self) -> Result<Turn, LedgerError> {
        self.write(|ledger, lease| ledger.finish_chunk(lease)).await?;
        match self.turn.into_inner() {
            Some(turn) => Ok(turn),
            None => Ok(self.ledger.turn().await),
        }
    }

    async fn write(
        &self,
        write: impl FnOnce(&mut Ledger, &Lease) -> Result<(), LedgerError> + Send + 'static,
    ) -> Result<(), LedgerError> {
        let mut kept = self.turn.lock().await;
        let turn = match kept.take() {
            Some(turn) => turn,
            None => self.ledger.turn().await,
        };
        let lease = self.lease;
        let (turn, written) = turn.call(move |ledger| write(ledger, &lease)).await;
        *kept = Some(turn);
        written
    }
}
