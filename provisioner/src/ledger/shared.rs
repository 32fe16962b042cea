//! A ledger that several tasks use at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

use super::{Ledger, LedgerError};

/// A handle to a ledger; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct SharedLedger {
    ledger: Arc<Mutex<Ledger>>,
    /// The lock of the ledger, which is granted in the order of the requests.
    queue: Arc<tokio::sync::Mutex<()>>,
}

/// The exclusive access for the next calls to a ledger. All other calls wait until it is dropped.
#[derive(Debug)]
pub(crate) struct LedgerGuard {
    ledger: SharedLedger,
    _lock: OwnedMutexGuard<()>,
}

impl SharedLedger {
    /// Shares a ledger.
    pub(crate) fn new(ledger: Ledger) -> Self {
        Self { ledger: Arc::new(Mutex::new(ledger)), queue: Arc::default() }
    }

    /// The ledger itself, for callers that may block.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for exclusive access.
    pub(crate) async fn acquire(&self) -> LedgerGuard {
        LedgerGuard { ledger: self.clone(), _lock: self.queue.clone().lock_owned().await }
    }

    /// Runs one call to the ledger on a blocking thread.
    ///
    /// Calls run in the order in which they were made. A call whose future is dropped before its
    /// turn is not made, and one whose future is dropped during it ends before the next begins:
    /// otherwise a claim could take a chunk for a caller that is gone after `begin_work` has freed
    /// the earlier ones.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Ledger) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        self.acquire().await.call(call).await.1
    }
}

impl LedgerGuard {
    /// The ledger.
    pub(crate) fn ledger(&self) -> &SharedLedger {
        &self.ledger
    }

    /// Runs a call to the ledger on a blocking thread, and keeps the exclusive access.
    pub(crate) async fn call<T: Send + 'static>(
        self,
        call: impl FnOnce(&mut Ledger) -> Result<T, LedgerError> + Send + 'static,
    ) -> (Self, Result<T, LedgerError>) {
        // The call takes the turn with it: it may outlive its caller.
        let work = move || {
            let result = call(&mut self.ledger.lock());
            (self, result)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => done,
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

    #[tokio::test]
    async fn who_keeps_the_turn_goes_on_before_those_who_wait() {
        let ledger = SharedLedger::new(Ledger::open_temporary().unwrap());
        let calls = Arc::new(Mutex::new(Vec::new()));
        let call = |name: &'static str| {
            let calls = calls.clone();
            move |_: &mut Ledger| {
                calls.lock().unwrap().push(name);
                Ok(())
            }
        };
        let (guard, _) = ledger.acquire().await.call(call("first")).await;
        let mut other = Box::pin(ledger.call(call("other")));
        assert!((&mut other).now_or_never().is_none());
        let (guard, _) = guard.call(call("second")).await;
        assert!((&mut other).now_or_never().is_none());
        drop(guard);
        other.await.unwrap();
        assert_eq!(*calls.lock().unwrap(), ["first", "second", "other"]);
    }
}
