//! The outcome of work on a run.

use std::path::PathBuf;

use crate::batch::{FailedRowsError, write_failed_rows_beside};
use crate::ledger::{LedgerError, Run, RunReader, RunState, Totals, Verification};
use crate::verify::Verified;

/// The outcome of work on a run.
pub(crate) struct RunOutcome {
    /// The run, in its ledger.
    pub(crate) reader: RunReader,
    /// The state that the work ended in.
    pub(crate) state: RunState,
    /// The totals of its rows.
    pub(crate) totals: Totals,
    /// The duration of the work, in seconds.
    pub(crate) seconds: f64,
    /// The result of reading everything back, if that was done now.
    pub(crate) verified: Option<Verified>,
    /// True if no difference between the hub and the run is known.
    is_verified_well: bool,
    /// True if somebody asked to stop.
    is_stopped: bool,
    /// The batch file, if it is at hand and rows were worked on.
    batch: Option<PathBuf>,
}

/// The end of work on a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunEnd {
    /// Every row is as asked.
    AllWell,
    /// The counts of rows do not add up: a bug.
    DoNotAddUp,
    /// The run is complete, and some rows are not as asked.
    SomeFailed,
    /// The work was stopped before the run was complete.
    Stopped,
    /// The work was stopped after the last row, before everything was read back.
    StoppedUnread,
}

/// The results of the work on a run.
pub(super) struct RunResults {
    pub(super) state: RunState,
    pub(super) totals: Totals,
    pub(super) seconds: f64,
    pub(super) verified: Option<Verified>,
}

impl RunOutcome {
    /// The outcome of the work on a run.
    pub(super) fn new(
        reader: RunReader,
        results: RunResults,
        is_stopped: bool,
        batch: Option<PathBuf>,
    ) -> Self {
        let RunResults { state, totals, seconds, verified } = results;
        let is_verified_well = verified.as_ref().is_none_or(Verified::all_well);
        Self { reader, state, totals, seconds, verified, is_verified_well, is_stopped, batch }
    }

    /// The outcome of a run of which nothing is left to do.
    pub(super) fn finished(reader: RunReader) -> Result<Self, LedgerError> {
        let (totals, state) = (reader.totals()?, reader.run().state);
        let is_verified_well = reader.run().verification.as_ref().is_none_or(Verification::all_well);
        let results = RunResults { state, totals, seconds: 0.0, verified: None };
        Ok(Self { is_verified_well, ..Self::new(reader, results, false, None) })
    }

    /// The run.
    pub(crate) fn run(&self) -> &Run {
        self.reader.run()
    }

    /// The end.
    pub(crate) fn end(&self) -> RunEnd {
        match self.state {
            _ if !self.totals.add_up() => RunEnd::DoNotAddUp,
            RunState::Finished if self.verified.is_none() && self.is_stopped => RunEnd::StoppedUnread,
            RunState::Finished if self.totals.all_well() && self.is_verified_well => RunEnd::AllWell,
            RunState::Finished => RunEnd::SomeFailed,
            RunState::Interrupted | RunState::Running => RunEnd::Stopped,
        }
    }

    /// Writes the rows that failed or are in conflict to a batch file beside the batch, and returns the
    /// file and the number of rows. Writes nothing if no row failed.
    pub(crate) fn write_failed_rows(&self) -> Result<Option<(PathBuf, usize)>, FailedRowsError> {
        match &self.batch {
            Some(batch) => write_failed_rows_beside(batch, &self.reader),
            None => Ok(None),
        }
    }
}
