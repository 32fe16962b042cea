//! Advice: the meaning of a reason code for a run, and a safe remedy.
//!
//! A reader may follow the advice at once, long after the run and after any changes to the hub. So
//! its commands only read, or do what the hub refuses if it would overwrite something.

use super::batch_options::{batch_options, batch_options_under, quoted};
use crate::ledger::{Run, RunOptions};
use crate::model::failure::ReasonCode;
use crate::model::maintenance::Maintenance;
use crate::model::options::{ApplyMode, ApplyRules, TwinPolicy};
use table::entry;

mod table;
#[cfg(test)]
pub(super) mod tests;

/// The verb of a run, with the mode on which the meaning of a reason depends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunVerb {
    /// `apply`, in this mode.
    Apply(ApplyMode),
    /// `retire --delete`.
    Delete,
    /// `retire`.
    Disable,
    /// `rotate --finish`.
    FinishRotation,
    /// `release FILE`.
    Release,
    /// `release --run N`.
    ReleaseRun,
    /// `rotate --revert`.
    RevertRotation,
    /// `rotate`.
    Rotate,
    /// `undo` of a run's creations.
    Undo,
    /// `undo` of a release.
    UndoRelease,
}

impl RunVerb {
    #[cfg(test)]
    /// Every verb in every mode.
    pub(crate) const ALL: [Self; 12] = [
        Self::Apply(ApplyMode::Create),
        Self::Apply(ApplyMode::Upsert),
        Self::Apply(ApplyMode::Update),
        Self::Delete,
        Self::Disable,
        Self::FinishRotation,
        Self::Release,
        Self::ReleaseRun,
        Self::RevertRotation,
        Self::Rotate,
        Self::Undo,
        Self::UndoRelease,
    ];

    /// The verb of a run with these options.
    pub(crate) fn of(options: &RunOptions) -> Self {
        match &options.maintenance {
            None => Self::Apply(options.rules.mode),
            Some(Maintenance::AddThumbprint) => Self::Rotate,
            Some(Maintenance::Delete) => Self::Delete,
            Some(Maintenance::Disable { .. }) => Self::Disable,
            Some(Maintenance::DropNewThumbprint) => Self::RevertRotation,
            Some(Maintenance::DropOldThumbprint { .. }) => Self::FinishRotation,
            Some(Maintenance::Release { run: None }) => Self::Release,
            Some(Maintenance::Release { run: Some(_) }) => Self::ReleaseRun,
            Some(Maintenance::Undo { .. }) => Self::Undo,
            Some(Maintenance::UndoRelease { .. }) => Self::UndoRelease,
        }
    }
}

/// The cause of a row's outcome in a run, and its remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Advice {
    /// The cause.
    pub(crate) cause: String,
    /// The remedy. Its commands are complete, except for the options that name the hub.
    pub(crate) to_do: String,
}

/// The advice for rows of a run with this reason; rows of older ledgers have none.
pub(crate) fn advice(run: &Run, reason: Option<ReasonCode>) -> Advice {
    let entry = entry(RunVerb::of(&run.options), reason);
    let undone = run.options.maintenance.as_ref().and_then(Maintenance::goes_on_from);
    let undone = undone.map(|run| run.to_string()).unwrap_or_default();
    let rules = run.options.rules;
    let upsert = ApplyRules { mode: ApplyMode::Upsert, ..rules };
    let merge = match rules.twin {
        TwinPolicy::Initial => ApplyRules { twin: TwinPolicy::Merge, ..rules },
        TwinPolicy::Merge | TwinPolicy::Replace => rules,
    };
    let service = run.options.service.to_string();
    let to_do = entry
        .to_do
        .replace("{service}", &service)
        .replace("{run}", &run.id.to_string())
        .replace("{undone}", &undone)
        .replace("{options}", &batch_options(run))
        .replace("{options to upsert}", &batch_options_under(run, upsert))
        .replace("{options to merge}", &batch_options_under(run, merge))
        .replace("{file}", &quoted(&run.input));
    let cause = entry.cause.replace("{service}", &service);
    Advice { cause, to_do }
}
