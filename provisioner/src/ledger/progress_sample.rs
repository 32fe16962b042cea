//! Progress samples: the progress of a session over time.

use std::time::Duration;

use super::column::{Cell, ResultRow};
use super::stored::NotStorable;
use super::table::table;
use crate::hub::rate_limit::CallStats;
use crate::model::run_id::RunId;

table! {
    PROGRESS_SAMPLE = "moment", key Some("run, stint, elapsed_ms");
    RUN = "run": RunId, of_run;
    SESSION = "stint": u32;
    ELAPSED_MS = "elapsed_ms": Duration;
    ROWS = "rows": u64;
    CALLS = "calls": u64;
    FAILED = "failed": u64;
    THROTTLED = "throttled": u64;
    THROTTLED_FOR = "held_ms": Duration;
    OUTAGE_FOR = "down_ms": Duration;
}

/// The progress of a session at one sample. All counts are from its beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ProgressSample {
    /// The time since the session began.
    pub(crate) elapsed: Duration,
    /// Finished rows.
    pub(crate) rows: u64,
    /// The statistics of the calls to the hub.
    pub(crate) stats: CallStats,
}

impl ProgressSample {
    /// Reads a sample that was selected with all columns of [`PROGRESS_SAMPLE`].
    pub(super) fn read<R: ResultRow>(row: &R) -> Result<Self, R::Error> {
        Ok(Self {
            elapsed: row.get(ELAPSED_MS)?,
            rows: row.get(ROWS)?,
            stats: CallStats {
                calls: row.get(CALLS)?,
                failed: row.get(FAILED)?,
                throttled: row.get(THROTTLED)?,
                throttled_for: row.get(THROTTLED_FOR)?,
                outage_for: row.get(OUTAGE_FOR)?,
            },
        })
    }

    /// All columns of a session's sample.
    pub(super) fn cells<'c>(
        &'c self,
        run: &'c RunId,
        session: &'c u32,
    ) -> Result<[Cell<'c>; 9], NotStorable> {
        let Self { elapsed, rows, stats } = self;
        Ok([
            RUN.set(run)?,
            SESSION.set(session)?,
            ELAPSED_MS.set(elapsed)?,
            ROWS.set(rows)?,
            CALLS.set(&stats.calls)?,
            FAILED.set(&stats.failed)?,
            THROTTLED.set(&stats.throttled)?,
            THROTTLED_FOR.set(&stats.throttled_for)?,
            OUTAGE_FOR.set(&stats.outage_for)?,
        ])
    }
}
