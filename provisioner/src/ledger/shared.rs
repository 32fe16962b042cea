//! A ledger that several tasks use at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Ledger, LedgerError};

/// A handle to a ledger; clones share it.
#[derive(Debug, Clone)]
pub struct SharedLedger {
    ledger: Arc<Mutex<Ledger>>,
    /// Held by the call that is at work, and given on in the order of the calls.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl SharedLedger {
    /// Shares a ledger.
    pub fn new(ledger: Ledger) -> Self {
        Self { ledger: Arc::new(Mutex::new(ledger)), turn: Arc::default() }
    }

    /// The ledger itself, for callers that may block.
    pub fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a call to the ledger where it may block.
    ///
    /// Calls run in the order in which they were made. One whose caller is gone before its turn is
    /// not made at all, and one whose caller is gone during it ends before the next begins: or else a
    /// claim could take a chunk for nobody after `begin_work` has freed what was taken.
    pub async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Ledger) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let turn = self.turn.clone().lock_owned().await;
        let ledger = self.clone();
        let work = move || {
            let _turn = turn;
            call(&mut ledger.lock())
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn a_call_whose_caller_is_gone_ends_before_the_next_begins() {
        let ledger = SharedLedger::new(Ledger::open_temporary().unwrap());
        for _ in 0..200 {
            let calls = Arc::new(Mutex::new(Vec::new()));
            let call = |name: &'static str| {
                let calls = calls.clone();
                ledger.call(move |_| {
                    calls.lock().unwrap().push(name);
                    Ok(())
                })
            };
            let busy = ledger.lock();
            assert!(call("left alone").now_or_never().is_none());
            assert!(call("left before its turn").now_or_never().is_none());
            let mut last = Box::pin(call("last"));
            assert!((&mut last).now_or_never().is_none());
            drop(busy);
            last.await.unwrap();
            assert_eq!(*calls.lock().unwrap(), ["left alone", "last"]);
        }
    }
}
