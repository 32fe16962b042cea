//! The entries that a worker writes into the ledger about its chunk.

use std::sync::Arc;

use hub_types::IdentityId;
use tokio::sync::Mutex;

use crate::clock::Timestamp;
use crate::ledger::{
    Credential, CredentialConflict, Ended, Lease, Ledger, LedgerError, LedgerGuard, Sent, SharedLedger,
};
use crate::model::run_id::RunId;

/// A worker's entries in the ledger.
///
/// From an answer of the hub to the next request, a worker keeps its turn at the ledger. Workers that gave
/// way to one another at each entry would fall into step, and then each would wait for all others each time.
pub(crate) struct ChunkWriter {
    ledger: SharedLedger,
    lease: Lease,
    progress: Arc<dyn Fn(usize) + Send + Sync>,
    guard: Mutex<Option<LedgerGuard>>,
}

impl ChunkWriter {
    /// Of a chunk that was just claimed.
    pub(super) fn new(lease: Lease, guard: LedgerGuard, progress: Arc<dyn Fn(usize) + Send + Sync>) -> Self {
        Self { ledger: guard.ledger().clone(), lease, progress, guard: Mutex::new(Some(guard)) }
    }

    /// The run that the chunk is of.
    pub(crate) fn run(&self) -> RunId {
        self.lease.run()
    }

    /// Writes down that requests are about to leave.
    pub(crate) async fn mark_sent(&self, sent: Vec<Sent>) -> Result<(), LedgerError> {
        self.write(move |ledger, lease| ledger.mark_sent(lease, &sent, &Timestamp::now())).await?;
        self.release().await;
        Ok(())
    }

    /// Returns true if the rows were claimed before.
    pub(crate) fn is_taken_up_again(&self) -> bool {
        self.lease.is_taken_up_again()
    }

    /// Gives credentials to identities again before they are sent; returns those that belong to different
    /// ones by now.
    pub(crate) async fn claim_again(
        &self,
        wanted: Vec<(IdentityId, Credential)>,
    ) -> Result<Vec<(IdentityId, CredentialConflict)>, LedgerError> {
        self.write(move |ledger, lease| ledger.claim_again(lease.run(), &wanted)).await
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
    pub(crate) async fn release(&self) {
        self.guard.lock().await.take();
    }

    /// Writes down that all rows of the chunk have come to an end. The next chunk can be claimed in the same
    /// turn.
    pub(super) async fn finish(self) -> Result<LedgerGuard, LedgerError> {
        self.write(|ledger, lease| ledger.finish_chunk(lease)).await?;
        match self.guard.into_inner() {
            Some(guard) => Ok(guard),
            None => Ok(self.ledger.acquire().await),
        }
    }

    async fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&mut Ledger, &Lease) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let mut kept = self.guard.lock().await;
        let guard = match kept.take() {
            Some(guard) => guard,
            None => self.ledger.acquire().await,
        };
        let lease = self.lease;
        let (guard, written) = guard.call(move |ledger| write(ledger, &lease)).await;
        *kept = Some(guard);
        written
    }
}
