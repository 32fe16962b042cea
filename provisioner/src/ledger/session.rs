//! Sessions: each process that works on a run makes one session. It records the operator, the station
//! and the program version, and its samples record the progress.

use serde::Serialize;

use super::column::ResultRow;
use super::table::table;
use crate::clock::Timestamp;
use crate::model::run_id::RunId;

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
pub(crate) struct Operator {
    /// The person who answers for the work.
    #[serde(rename = "operator")]
    pub(crate) name: String,
    /// The machine that it is done at.
    pub(crate) station: String,
}

/// The work of one process on a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Session {
    /// Its number in the run, from 1.
    pub(crate) number: u32,
    /// The operator and station.
    #[serde(flatten)]
    pub(crate) by: Operator,
    /// The version of the program.
    pub(crate) tool_version: String,
    /// The start time.
    pub(crate) started: Timestamp,
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
