//! A ledger that several tasks use at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

use super::{Ledger, LedgerError};

/// A handle to a ledger; clones share it.
#[derive(Debug, Clone)]
pub struct SharedLedger {
    ledger: Arc<Mutex<Ledger>>,
    /// Held by who is at work on it, and given on in the order in which it was asked for.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// The right to the next calls to a ledger. Until it is dropped, everybody else waits.
#[derive(Debug)]
pub struct Turn {
    ledger: SharedLedger,
    _held: OwnedMutexGuard<()>,
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

    /// Waits until it is the caller's turn.
    pub async fn turn(&self) -> Turn {
        Turn { ledger: self.clone(), _held: self.turn.clone().lock_owned().await }
    }

    /// Runs one call to the ledger where it may block.
    ///
    /// Calls run in the order in which they were made. One whose caller is gone before its turn is
    /// not made at all, and one whose caller is gone during it ends before the next begins: or else a
    /// claim could take a chunk for nobody after `begin_work` has freed what was taken.
    pub async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Ledger) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        self.turn().await.call(call).await.1
    }
}

impl Turn {
    /// The ledger.
    pub fn ledger(&self) -> &SharedLedger {
        &self.ledger
    }

    /// Runs a call to the ledger where it may block, and keeps the turn.
    pub async fn call<T: Send + 'static>(
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
        let (turn, _) = ledger.turn().await.call(call("first")).await;
        let mut other = Box::pin(ledger.call(call("other")));
        assert!((&mut other).now_or_never().is_none());
        let (turn, _) = turn.call(call("second")).await;
        assert!((&mut other).now_or_never().is_none());
        drop(turn);
        other.await.unwrap();
        assert_eq!(*calls.lock().unwrap(), ["first", "second", "other"]);
    }
}
