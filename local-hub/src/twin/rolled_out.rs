//! The configurations that target an identity, as its twin lists them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The configurations by id, each with its state for this identity.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RolledOut {
    #[serde(rename = "s")]
    pub(crate) statuses: BTreeMap<String, RollOut>,
    /// The creation time of the applied configuration, which distinguishes it from others of its
    /// id; 0 for IoT Edge deployments.
    #[serde(rename = "a")]
    pub(crate) applied: u64,
}

/// The state of one configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RollOut {
    pub(crate) status: RollOutStatus,
}

/// The status of a configuration for an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RollOutStatus {
    /// Its content is written into the twin.
    Applied,
    /// A configuration of a higher priority is applied in its place.
    Targeted,
}

impl RolledOut {
    /// The states of configurations, the first of which is applied. `created` distinguishes that
    /// one from others of its id.
    pub(crate) fn new<'c>(ids: impl IntoIterator<Item = &'c str>, created: u64) -> Self {
        let statuses = ids.into_iter().enumerate().map(|(place, id)| {
            let status = if place == 0 { RollOutStatus::Applied } else { RollOutStatus::Targeted };
            (id.to_owned(), RollOut { status })
        });
        Self { statuses: statuses.collect(), applied: created }
    }

    /// The states of IoT Edge deployments, of which several may be applied.
    pub(crate) fn of_deployments<'d>(deployments: impl IntoIterator<Item = (&'d str, bool)>) -> Self {
        let statuses = deployments.into_iter().map(|(id, is_applied)| {
            let status = if is_applied { RollOutStatus::Applied } else { RollOutStatus::Targeted };
            (id.to_owned(), RollOut { status })
        });
        Self { statuses: statuses.collect(), applied: 0 }
    }

    /// Returns true if both have the same applied content.
    pub(crate) fn applies_same(&self, other: &Self) -> bool {
        self.applied == other.applied && self.applied_id() == other.applied_id()
    }

    fn applied_id(&self) -> Option<&str> {
        let applied = self.statuses.iter().find(|(_, entry)| entry.status == RollOutStatus::Applied);
        applied.map(|(id, _)| id.as_str())
    }
}
