//! The operations of runs on existing identities, after their batch.

use std::fmt;

use hub_types::IdentityId;
use hub_types::identity::StatusReason;
use serde::{Deserialize, Serialize};

use crate::model::effect::Effect;
use crate::model::run_id::RunId;

/// The operation of a run on existing identities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Maintenance {
    /// The new thumbprint goes into the free slot, so that both certificates are let in.
    AddThumbprint,
    /// Disabled devices go, and their modules with them; modules that are named alone go alone.
    Delete,
    /// Devices may not connect any more, and their modules with them.
    Disable {
        /// The status reason that they get.
        reason: StatusReason,
    },
    /// The new thumbprint is taken out again; the old one stays.
    DropNewThumbprint,
    /// The old thumbprint is taken out, and the new one is left alone.
    DropOldThumbprint {
        /// True to finish even if no connection with the new certificate was made.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        unproven: bool,
    },
    /// Enables devices that a run has disabled on purpose.
    Release {
        /// Only devices that this run disabled; `None` means any run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<RunId>,
    },
    /// Removes identities that a run created and that are unchanged since.
    Undo {
        /// The run that created them.
        run: RunId,
    },
    /// Disables devices again that a release has enabled.
    UndoRelease {
        /// The run of the release.
        run: RunId,
    },
}

impl Maintenance {
    /// Returns true if it deletes identities.
    pub(crate) fn deletes(&self) -> bool {
        matches!(self, Self::Delete | Self::Undo { .. })
    }

    /// The effect on an identity that it changes.
    pub(crate) fn effect(&self) -> Effect {
        if self.deletes() { Effect::Deleted } else { Effect::Updated }
    }

    /// Returns true if a device may only be deleted when all its modules belong to this run.
    pub(crate) fn minds_other_modules(&self) -> bool {
        matches!(self, Self::Undo { .. })
    }

    /// The words for what has the expected value of a difference that the run finds.
    pub(crate) fn expects(&self) -> String {
        match self {
            Self::Undo { run } => format!("run {run} left"),
            Self::Release { .. } | Self::UndoRelease { .. } => "an earlier run left".to_owned(),
            _ => "batch has".to_owned(),
        }
    }

    /// Returns true if a proof is required that devices can connect with their new certificates.
    pub(crate) fn needs_connect_check(&self) -> bool {
        *self == Self::DropOldThumbprint { unproven: false }
    }

    /// Returns true if it disables devices that are not needed any more.
    pub(crate) fn retires(&self) -> bool {
        matches!(self, Self::Disable { .. })
    }

    /// Returns true if it retires units, or puts retired ones into service again.
    pub(crate) fn is_retirement(&self) -> bool {
        matches!(self, Self::Delete | Self::Disable { .. } | Self::Release { .. })
    }

    /// Returns true if it puts thumbprints in or takes them out.
    pub(crate) fn rotates(&self) -> bool {
        matches!(self, Self::AddThumbprint | Self::DropNewThumbprint | Self::DropOldThumbprint { .. })
    }

    /// Returns true if it changes only the status of devices.
    pub(crate) fn is_about_status(&self) -> bool {
        matches!(self, Self::Disable { .. } | Self::Release { .. } | Self::UndoRelease { .. })
    }

    /// Returns true if existing identities keep their status.
    pub(crate) fn leaves_status(&self) -> bool {
        !self.is_about_status() && !self.deletes()
    }

    /// Returns true if the run that keeps a device disabled must be known.
    pub(crate) fn needs_hold(&self) -> bool {
        self.is_about_status()
    }

    /// Returns true if it leaves devices alone that an interrupted run is still to disable.
    pub(crate) fn minds_unfinished_runs(&self) -> bool {
        matches!(self, Self::Release { .. })
    }

    /// The run before which holds are searched, if the newest one does not count.
    pub(crate) fn hold_before(&self) -> Option<RunId> {
        match self {
            Self::UndoRelease { run } => Some(*run),
            _ => None,
        }
    }

    /// The run whose rows it took over, if it reads no batch.
    pub(crate) fn goes_on_from(&self) -> Option<RunId> {
        match self {
            Self::Undo { run } | Self::UndoRelease { run } | Self::Release { run: Some(run) } => Some(*run),
            _ => None,
        }
    }

    /// The identity whose twin shows the state of an identity. For the status of a module, which
    /// has none of its own, it is the device.
    pub(crate) fn subject(&self, identity: &IdentityId) -> IdentityId {
        match self {
            _ if self.is_about_status() => identity.device().clone().into(),
            _ => identity.clone(),
        }
    }
}

impl fmt::Display for Maintenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddThumbprint => f.write_str("rotate: new thumbprints in"),
            Self::Delete => f.write_str("retire: deleted"),
            Self::Disable { .. } => f.write_str("retire: disabled"),
            Self::DropNewThumbprint => f.write_str("rotate: new thumbprints out again"),
            Self::DropOldThumbprint { .. } => f.write_str("rotate: old thumbprints out"),
            Self::Release { run: None } => f.write_str("release"),
            Self::Release { run: Some(run) } => write!(f, "release of run {run}"),
            Self::Undo { run } | Self::UndoRelease { run } => write!(f, "undo of run {run}"),
        }
    }
}
