//! The list of all runs of a ledger.

use crate::ledger::{
    HeldDevices, Ledger, LedgerError, LedgerLocation, ListedRun, NotUnderstood, Run, Totals,
};
use crate::model::observer::RunObserver;

/// A run in the list of all runs: one that this version does not know hides no other.
#[derive(Debug)]
pub(crate) enum RunEntry {
    /// A run with its totals and the devices that it left disabled.
    Known(Box<Run>, Totals, Vec<HeldDevices>),
    /// A run of which something is not understood.
    Unknown(Box<NotUnderstood>),
}

/// Reads all runs of a ledger, the newest first.
pub(crate) fn list_runs(
    location: &LedgerLocation,
    observer: &dyn RunObserver,
) -> Result<Vec<RunEntry>, LedgerError> {
    let mut ledger = Ledger::open_to_read(location, observer.status_listener())?;
    ledger.runs()?.into_iter().map(|run| entry(run, &mut ledger)).collect()
}

fn entry(run: ListedRun, ledger: &mut Ledger) -> Result<RunEntry, LedgerError> {
    let run = match run {
        ListedRun::Known(run) => run,
        ListedRun::Unknown(value) => return Ok(RunEntry::Unknown(Box::new(value))),
    };
    let totals = ledger.totals(run.id).and_then(|totals| Ok((totals, ledger.held_devices(run.id)?)));
    match totals {
        Ok((totals, held)) => Ok(RunEntry::Known(run, totals, held)),
        Err(LedgerError::NotUnderstood { mut value, .. }) => {
            value.written_by = Some(run.tool_version);
            Ok(RunEntry::Unknown(value))
        }
        Err(error) => Err(error),
    }
}
