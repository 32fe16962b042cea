//! The list of all runs of a ledger.

use std::fmt;

use cli_support::causes::with_causes;
use serde::Serialize;

use super::run_report::RunReport;
use crate::ledger::{Ledger, LedgerError, LedgerLocation, ListedRun, NotUnderstood};
use crate::model::observer::RunObserver;
use crate::model::run_id::RunId;

/// A run in the list of all runs: one that this version does not know hides no other.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum RunEntry {
    /// A run.
    Known(Box<RunReport>),
    /// A run of which something is not understood.
    Unknown(UnknownRun),
}

/// A run of which something is not understood.
#[derive(Debug, Serialize)]
pub(crate) struct UnknownRun {
    id: Option<RunId>,
    tool_version: Option<String>,
    not_understood: String,
}

impl RunEntry {
    /// The report of the run, if it is understood.
    pub(crate) fn known(&self) -> Option<&RunReport> {
        match self {
            Self::Known(report) => Some(report),
            Self::Unknown(_) => None,
        }
    }

    /// The run, if something of it is not understood.
    pub(crate) fn unknown(&self) -> Option<&UnknownRun> {
        match self {
            Self::Known(_) => None,
            Self::Unknown(run) => Some(run),
        }
    }
}

impl UnknownRun {
    fn of(value: &NotUnderstood) -> Self {
        Self { id: value.run, tool_version: value.written_by.clone(), not_understood: with_causes(value) }
    }
}

impl fmt::Display for UnknownRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = self.tool_version.as_ref().map(|version| format!(" (provisioner {version} wrote it)"));
        write!(
            f,
            "{}: not understood by provisioner {}{}; was it written by a newer version?",
            self.not_understood,
            env!("CARGO_PKG_VERSION"),
            written.unwrap_or_default()
        )
    }
}

/// Reads all runs of a ledger, the newest first.
pub(crate) fn list_runs(
    location: &LedgerLocation,
    observer: &dyn RunObserver,
) -> Result<Vec<RunEntry>, LedgerError> {
    let mut ledger = Ledger::open_to_read(location, observer.status_listener())?;
    let runs = ledger.runs()?;
    runs.iter().map(|run| entry(run, &runs, &mut ledger, location)).collect()
}

fn entry(
    run: &ListedRun,
    runs: &[ListedRun],
    ledger: &mut Ledger,
    location: &LedgerLocation,
) -> Result<RunEntry, LedgerError> {
    let run = match run {
        ListedRun::Known(run) => run,
        ListedRun::Unknown(value) => return Ok(RunEntry::Unknown(UnknownRun::of(value))),
    };
    let mut read = || {
        let (totals, held) = (ledger.totals(run.id)?, ledger.held_devices(run.id)?);
        Ok((totals, held, ledger.undone_by_one_of(run, runs)?))
    };
    match read() {
        Ok((totals, held, undone_by)) => {
            let report = RunReport::new((**run).clone(), totals, held, undone_by, location);
            Ok(RunEntry::Known(Box::new(report)))
        }
        Err(LedgerError::NotUnderstood { mut value, .. }) => {
            value.written_by = Some(run.tool_version.clone());
            Ok(RunEntry::Unknown(UnknownRun::of(&value)))
        }
        Err(error) => Err(error),
    }
}
