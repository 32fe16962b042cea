//! Planning: the actions of an apply, row by row and in total, and their duration at the rate of the
//! hub's tier or of a DPS. Nothing is written.
//!
//! [`HubSnapshotReader`] reads the hub, page by page; [`Planner`] decides, with the same [`Lifecycle`] as an
//! apply, and counts. Rows that can't succeed are refused here, before the first call that changes
//! anything: a module too many, a twin too large, a full hub. [`EnrollmentPlanReader`] does the same
//! for the enrolments of a DPS.
//!
//! [`Lifecycle`]: crate::apply::lifecycle::Lifecycle

use std::collections::BTreeMap;

use hub_types::Etag;
use serde::{Deserialize, Serialize};

use crate::model::compare::Difference;
use crate::model::etags::Etags;
use crate::model::options::ApplyRules;
use crate::model::run_id::RunId;
pub(crate) use enrollments::EnrollmentPlanReader;
pub(crate) use file::{PlanFile, PlanFileError};
pub(crate) use of_batch::{BatchPlan, PlanError, PlanRequest};
pub(crate) use planner::Planner;
pub(crate) use snapshot::{HubSnapshotReader, IdentitySnapshot};

mod enrollments;
pub(crate) mod file;
mod of_batch;
mod parents;
mod planner;
mod snapshot;

/// The actions of an apply.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Plan {
    /// The rules for existing identities and twins.
    #[serde(flatten)]
    pub(crate) rules: ApplyRules,
    /// The tier of the hub that the time is reckoned for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tier: Option<String>,
    /// The units of that tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) units: Option<u32>,
    /// Identities to create.
    pub(crate) create: u64,
    /// Existing identities that would be changed, or get their initial twin.
    pub(crate) update: u64,
    /// Existing identities that are as the batch wants them.
    pub(crate) keep: u64,
    /// Devices among these that are disabled until they are released.
    pub(crate) held: u64,
    /// Existing identities that differ and that the mode does not change.
    pub(crate) conflict: u64,
    /// Rows that can't succeed.
    pub(crate) refuse: u64,
    /// Rows that are bad and left out.
    pub(crate) rejected: u64,
    /// Rows of a DPS that wait for the registration of their device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) wait: Option<u64>,
    /// Certificates to issue.
    pub(crate) issue: u64,
    /// Operations by the throttle that they fall under, and the seconds each class takes.
    pub(crate) operations: BTreeMap<String, Operations>,
    /// The seconds that the slowest class takes: the time of the whole.
    pub(crate) seconds: f64,
}

impl Plan {
    /// A plan without rows.
    fn new(rules: ApplyRules) -> Self {
        Self {
            rules,
            tier: None,
            units: None,
            create: 0,
            update: 0,
            keep: 0,
            held: 0,
            conflict: 0,
            refuse: 0,
            rejected: 0,
            wait: None,
            issue: 0,
            operations: BTreeMap::new(),
            seconds: 0.0,
        }
    }

    /// Returns true if every row of an apply would succeed.
    pub(crate) fn all_well(&self) -> bool {
        self.conflict == 0 && self.refuse == 0 && self.rejected == 0
    }
}

/// Operations of one throttle class.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Operations {
    /// The number.
    pub(crate) count: u64,
    /// The duration at the tier's rate.
    pub(crate) seconds: f64,
}

/// The action for one row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "StoredRow")]
pub(crate) struct PlannedRow {
    /// The line of the batch file.
    pub(crate) line: u64,
    /// The identity: `device` or `device/module`.
    pub(crate) identity: String,
    /// The action.
    pub(crate) action: Action,
    /// The reason why no action is possible, if the row is refused, or why the action may fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// The differences between hub and batch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) differences: Vec<Difference>,
    /// The run that keeps the device disabled until it is released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) held_by: Option<RunId>,
    /// The ETags that identity and twin were seen with.
    #[serde(flatten)]
    pub(crate) etags: Etags,
}

/// [`PlannedRow`] as it is read. A flattened member would let unknown members pass.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredRow {
    line: u64,
    identity: String,
    action: Action,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    differences: Vec<Difference>,
    #[serde(default)]
    held_by: Option<RunId>,
    #[serde(default)]
    identity_etag: Option<Etag>,
    #[serde(default)]
    twin_etag: Option<Etag>,
}

impl From<StoredRow> for PlannedRow {
    fn from(stored: StoredRow) -> Self {
        let StoredRow { line, identity, action, reason, differences, held_by, identity_etag, twin_etag } =
            stored;
        let etags = Etags { identity: identity_etag, twin: twin_etag };
        Self { line, identity, action, reason, differences, held_by, etags }
    }
}

impl PlannedRow {
    /// Returns true if the row is not simply as requested.
    pub(crate) fn is_remarkable(&self) -> bool {
        !matches!(self.action, Action::Keep | Action::Wait) || !self.differences.is_empty()
    }
}

/// The action for a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Action {
    /// No action: the identity exists and differs, and the mode does not change it.
    Conflict,
    /// It would be created.
    Create,
    /// It would be deleted: by a `retire` or an `undo`, never by an `apply`.
    Delete,
    /// No action: the identity exists as the batch wants it.
    Keep,
    /// Nothing: it can't succeed.
    Refuse,
    /// It would be changed, or its twin written.
    Update,
    /// Nothing yet: it waits for the registration of its device through a DPS.
    Wait,
}

impl Action {
    /// The name that plans show.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Keep => "keep",
            Self::Refuse => "refuse",
            Self::Update => "update",
            Self::Wait => "wait",
        }
    }
}
