//! Devices that a run leaves disabled on purpose, in reports.

use super::text::thousands;
use crate::ledger::{Run, Totals};
use crate::maintain::change::Maintenance;

/// Returns the number of devices that are kept disabled, and the command that enables them; empty
/// if there are none.
pub(crate) fn held_note(run: &Run, totals: &Totals) -> Option<String> {
    let devices = match totals.held {
        0 => return None,
        1 => "1 device is".to_owned(),
        held => format!("{} devices are", thousands(held)),
    };
    Some(match &run.options.maintenance {
        Some(Maintenance::Disable { .. }) => {
            format!("{devices} disabled; `provisioner release --run {}` enables what it disabled", run.id)
        }
        _ => format!("{devices} disabled until released: `provisioner release {}`", run.input),
    })
}
