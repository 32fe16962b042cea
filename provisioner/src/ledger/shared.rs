//! A ledger that several tasks use at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Ledger, LedgerError};

/// A handle to a ledger; clones share it.
#[derive(Debug, Clone)]
pub struct SharedLedger(Arc<Mutex<Ledger>>);

impl SharedLedger {
    /// Shares a ledger.
    pub fn new(ledger: Ledger) -> Self {
        Self(Arc::new(Mutex::new(ledger)))
    }

    /// The ledger itself, for callers that may block.
    pub fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a call to the ledger where it may block.
    pub async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Ledger) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let ledger = self.clone();
        match tokio::task::spawn_blocking(move || call(&mut ledger.lock())).await {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
}
