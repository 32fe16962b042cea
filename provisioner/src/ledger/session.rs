//! Sessions: each process that works on a run makes one session. It records the operator, the station
//! and the program version, and its samples record the progress.

use serde::Serialize;

use super::RunId;
use super::column::ResultRow;
use super::table::table;
use crate::clock::Timestamp;

table! {
    SESSION = "stint", key Some("run, number");
    RUN = "run": RunId, of_run;
    NUMBER = "number": u32;
    OPERATOR = "operator": String;
    STATION = "station": String;
    TOOL_VERSION = "tool_version": String;
    STARTED = "started": Timestamp;
}

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
pub struct Session {
    /// Its number in the run, from 1.
    pub number: u32,
    /// The operator and station.
    #[serde(flatten)]
    pub by: Operator,
    /// The version of the program.
    pub tool_version: String,
    /// The start time.
    pub started: Timestamp,
}

impl Session {
    /// Reads a session that was selected with all columns of [`SESSION`].
    pub(super) fn read<R: ResultRow>(row: &R) -> Result<Self, R::Error> {
        Ok(Self {
            number: row.get(NUMBER)?,
            by: Operator { name: row.get(OPERATOR)?, station: row.get(STATION)? },
            tool_version: row.get(TOOL_VERSION)?,
            started: row.get(STARTED)?,
        })
    }
}
