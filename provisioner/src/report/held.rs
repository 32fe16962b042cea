//! Devices that a run left disabled on purpose, in reports.

use super::text::thousands;
use crate::ledger::HeldDevices;

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
