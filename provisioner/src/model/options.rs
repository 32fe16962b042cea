//! The options of a run: its rules for existing identities and their twins.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The rules for existing and missing identities.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ApplyMode {
    /// Create missing identities; an existing one that differs is a conflict.
    #[default]
    Create,
    /// Create missing identities, and change those that differ.
    Upsert,
    /// Change identities that differ; missing ones stay missing.
    Update,
}

/// The rules for an existing twin with different values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TwinPolicy {
    /// Keep and report a twin that was written since its creation.
    #[default]
    Initial,
    /// Merge the batch's values into the twin.
    Merge,
    /// Replace each section for which the batch gives values, so that it holds only these.
    Replace,
}

/// The rules of a run for existing identities.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ApplyRules {
    /// The rule for the identities.
    pub(crate) mode: ApplyMode,
    /// The rule for their twins.
    pub(crate) twin: TwinPolicy,
}

/// The options of a run, in addition to its rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ApplyOptions {
    /// The rules for existing identities.
    pub(crate) rules: ApplyRules,
    /// The name and value of a tag that identities get when they are created. It is not part of the
    /// batch's values, and never compared.
    pub(crate) created_by: Option<(String, Value)>,
    /// True if devices come into being by registering, so that none is created.
    pub(crate) follows: bool,
    /// True if the rows hold the etags that a plan was made with, and identities with different
    /// ones must stay unchanged.
    pub(crate) as_planned: bool,
}
