//! Reading one run, for results and reports.

use std::sync::MutexGuard;

use super::{Ledger, LedgerError, LedgerLocation, Run, SharedLedger, Totals};
use crate::model::observer::RunObserver;
use crate::model::run_id::RunId;

/// A run in its ledger.
#[derive(Debug, Clone)]
pub(crate) struct RunReader {
    ledger: SharedLedger,
    run: Run,
}

impl RunReader {
    /// Opens a ledger for reading, and finds a run in it: the newest if no number is given.
    pub(crate) fn open(
        location: &LedgerLocation,
        run: Option<RunId>,
        observer: &dyn RunObserver,
    ) -> Result<Self, LedgerError> {
        let mut ledger = Ledger::open_to_read(location, observer.status_listener())?;
        let run = ledger.run(run)?;
        Ok(Self::new(SharedLedger::new(ledger), run))
    }

    /// A run of an open ledger.
    pub(crate) fn new(ledger: SharedLedger, run: Run) -> Self {
        Self { ledger, run }
    }

    /// The run.
    pub(crate) fn run(&self) -> &Run {
        &self.run
    }

    /// The ledger, for callers that may block.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock()
    }

    /// Counts the rows of the run by their results.
    pub(crate) fn totals(&self) -> Result<Totals, LedgerError> {
        self.lock().totals(self.run.id)
    }
}
