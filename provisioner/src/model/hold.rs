//! Devices that a run has disabled on purpose: in quarantine, or retired.

use hub_types::identity::{Status, StatusReason};
use hub_types::twin::Twin;

use super::failure::ReasonCode;
use crate::model::run_id::RunId;

/// A device that a run has disabled on purpose, until it is released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hold {
    /// The run.
    pub(crate) run: RunId,
    /// The status reason that the run gave it.
    pub(crate) reason: StatusReason,
    /// The status reason that it gets when it is released.
    pub(crate) released_reason: Option<StatusReason>,
    /// True if the run retired it, false if it is in quarantine.
    pub(crate) is_retired: bool,
    /// True if the run has not come to the end of the device's row: a resumed run disables it.
    pub(crate) is_unfinished: bool,
}

impl Hold {
    /// Returns true if the device is in the state that the run left.
    pub(crate) fn is_as_left(&self, twin: &Twin) -> bool {
        twin.status == Status::Disabled && twin.status_reason.as_ref() == Some(&self.reason)
    }

    /// The reason code of a row that leaves the device disabled.
    pub(crate) fn reason_code(&self) -> ReasonCode {
        match self.is_retired {
            true => ReasonCode::KeptRetired,
            false => ReasonCode::KeptDisabled,
        }
    }
}
