//! Notes about a run in reports: what was not read back, and which devices are disabled or not yet.

use super::batch_options::batch_options_under;
use super::text::thousands;
use crate::ledger::{HeldDevices, Run, Totals};
use crate::model::options::ApplyRules;
use crate::model::run_id::RunId;

/// Returns the note that nobody has read back what a run did, if that is so.
pub(crate) fn unread_note(run: &Run) -> Option<String> {
    let note = format!(
        "run {0}: not read back: `provisioner resume {0}` compares the hub with what the run did",
        run.id
    );
    run.is_unread().then_some(note)
}

/// Returns the number of devices that may be enabled until the run is resumed, which disables them; empty if
/// there are none.
pub(crate) fn to_disable_note(run: &Run, totals: &Totals) -> Option<String> {
    let devices = match totals.to_disable {
        0 => return None,
        1 => "1 device may be".to_owned(),
        devices => format!("{} devices may be", thousands(devices)),
    };
    Some(format!("{devices} enabled until the run is resumed: `provisioner resume {}`", run.id))
}

/// Returns the number of devices that a run was to leave disabled and left enabled, with the commands that
/// disable them; empty if there are none. A later run may have disabled them.
pub(crate) fn left_enabled_note(run: &Run, totals: &Totals) -> Option<String> {
    let (were, them, those) = match totals.left_enabled {
        0 => return None,
        1 => ("1 device of this run was".to_owned(), "it", "it if it still is"),
        devices => {
            (format!("{} devices of this run were", thousands(devices)), "them", "those that still are")
        }
    };
    // In any other mode, the commands would overwrite what was changed since.
    let options = batch_options_under(run, ApplyRules::default());
    Some(format!(
        "{were} left ENABLED and can connect, although the run was to leave {them} disabled: `provisioner report {} \
         --failed-rows again.csv` and `provisioner apply again.csv{options}` disable {those}",
        run.id
    ))
}

/// Returns the number of devices that a run left disabled, with the run that disabled them. Only
/// those in quarantine are ready for a release: a unit that was retired stays so. A later run may have enabled
/// them.
pub(crate) fn held_note(held: &HeldDevices) -> String {
    let HeldDevices { run, devices, retired } = held;
    let (were, those) = match devices {
        1 => ("1 device was".to_owned(), "it if it still is"),
        devices => (format!("{} devices were", thousands(*devices)), "those that still are"),
    };
    match retired {
        true => format!(
            "{were} left disabled, retired by run {run}: if that was a mistake, `release` enables {those}, with a file of the device ids"
        ),
        false => format!(
            "{were} left disabled, in quarantine of run {run}: `provisioner release --run {run}` enables {those}"
        ),
    }
}

/// Returns the note that a later run has taken back what a run did, if that is so.
pub(crate) fn undone_note(undone_by: Option<RunId>) -> Option<String> {
    undone_by.map(|by| format!("run {by} has undone it: `provisioner report {by}` has the rows that stay"))
}
