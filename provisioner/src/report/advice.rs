//! Advice: the meaning of a reason code for a run, and a safe remedy.
//!
//! A reader may follow the advice at once, long after the run and after any changes to the hub. So
//! its commands only read, or do what the hub refuses if it would overwrite something.

use std::path::Path;

use crate::ledger::{IssueFolders, Run, RunOptions};
use crate::maintain::change::Maintenance;
use crate::model::failure::ReasonCode;
use crate::model::options::ApplyMode;
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
    pub(crate) cause: &'static str,
    /// The remedy. Its commands are complete, except for the options that name the hub.
    pub(crate) to_do: String,
}

/// The advice for rows of a run with this reason; rows of older ledgers have none.
pub(crate) fn advice(run: &Run, reason: Option<ReasonCode>) -> Advice {
    let entry = entry(RunVerb::of(&run.options), reason);
    let undone = run.options.maintenance.as_ref().and_then(Maintenance::goes_on_from);
    let undone = undone.map(|run| run.to_string()).unwrap_or_default();
    let to_do = entry
        .to_do
        .replace("{run}", &run.id.to_string())
        .replace("{undone}", &undone)
        .replace("{options}", &(issue_options(&run.options) + &batch_options(&run.options)))
        .replace("{map}", &batch_options(&run.options))
        .replace("{file}", &quoted(&run.input));
    Advice { cause: entry.cause, to_do }
}

/// The options that name the CA of the run, as they are typed after the batch.
fn issue_options(options: &RunOptions) -> String {
    let Some(IssueFolders { ca, out }) = &options.issue else { return String::new() };
    let out = match *out == ca.join("issued") {
        true => String::new(),
        false => format!(" --out {}", path(out)),
    };
    format!(" --issue {}{out}", path(ca))
}

/// The options for reading the batch, as they are typed after it.
fn batch_options(options: &RunOptions) -> String {
    let map = |(theirs, ours): &(String, String)| format!(" --map {}", quoted(&format!("{theirs}={ours}")));
    let pattern =
        options.id_pattern.as_ref().map(|pattern| format!(" --id-pattern {}", quoted(&pattern.to_string())));
    options.map.iter().map(map).chain(pattern).collect()
}

fn path(path: &Path) -> String {
    quoted(&path.display().to_string())
}

/// The text as one word of a shell.
fn quoted(text: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "/._-+=:,@%".contains(letter);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}
