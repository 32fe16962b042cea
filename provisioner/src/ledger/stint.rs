//! Stints: each process that works on a run makes one stint. It records the operator, the station
//! and the program version, and its moments record the progress.

use std::time::Duration;

use serde::Serialize;

use crate::hub::rate_limit::Tally;

/// The operator and station. Empty if an older version of this program did not record them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Operator {
    /// The person who answers for the work.
    #[serde(rename = "operator")]
    pub name: String,
    /// The machine that it is done at.
    pub station: String,
}

/// The work of one process on a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stint {
    /// Its number in the run, from 1.
    pub number: u32,
    /// The operator and station.
    #[serde(flatten)]
    pub by: Operator,
    /// The version of the program.
    pub tool_version: String,
    /// The start time (RFC 3339, UTC).
    pub started: String,
}

/// The progress of a stint at one moment. All counts are from its beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moment {
    /// The time since the stint began.
    pub elapsed: Duration,
    /// Finished rows.
    pub rows: u64,
    /// The statistics of the calls to the hub.
    pub tally: Tally,
}
