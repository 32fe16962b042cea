//! Devices that a run left disabled on purpose, in reports.

use super::text::thousands;
use crate::ledger::{HeldDevices, Run, Totals};

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

/// Returns the number of devices that a run left disabled, with the run that disabled them. Only
/// those in quarantine are ready for a release: a unit that was retired stays so.
pub(crate) fn held_note(held: &HeldDevices) -> String {
    let HeldDevices { run, devices, retired } = held;
    let (were, them) = match devices {
        1 => ("1 device was".to_owned(), "it"),
        devices => (format!("{} devices were", thousands(*devices)), "them"),
    };
    match retired {
        true => format!(
            "{were} left disabled, retired by run {run}: release {them} by name, and only if that was a mistake"
        ),
        false => format!(
            "{were} left disabled, in quarantine of run {run}: `provisioner release --run {run}` enables {them}"
        ),
    }
}
