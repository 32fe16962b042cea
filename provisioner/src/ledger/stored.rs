//! Stored values: their form, and the errors of values that can't be written or read.
//!
//! An unknown value is an error that names its place. It is never replaced by a default: a newer
//! version may have written it with a different meaning.

use std::error::Error;
use std::fmt;

use crate::model::run_id::RunId;

/// A stored value that this version of the program does not understand.
#[derive(Debug)]
pub(crate) struct NotUnderstood {
    /// The run that it belongs to, if that is known.
    pub(crate) run: Option<RunId>,
    /// The identity of its row, if it is part of one.
    pub(crate) row: Option<String>,
    /// The column that it stands in.
    pub(crate) column: String,
    /// The version of the program that began the run, if that is known.
    pub(crate) written_by: Option<String>,
    /// The reason.
    pub(crate) source: Box<dyn Error + Send + Sync>,
}

impl fmt::Display for NotUnderstood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(run) = self.run {
            write!(f, "run {run}, ")?;
        }
        if let Some(row) = &self.row {
            write!(f, "row `{row}`, ")?;
        }
        write!(f, "column `{}`", self.column)
    }
}

impl Error for NotUnderstood {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

/// A value that no ledger can hold.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotStorable {
    /// It has no JSON.
    #[error("paths must be UTF-8")]
    Json(#[from] serde_json::Error),
    /// It is a number above the range of the database's numbers.
    #[error("the number is too large for a ledger")]
    Number(#[from] std::num::TryFromIntError),
}

/// A value as JSON text. It fails for paths that are not UTF-8.
pub(super) fn json_text(value: &impl serde::Serialize) -> Result<String, NotStorable> {
    Ok(serde_json::to_string(value)?)
}

/// The name of an identity whose columns are given.
pub(super) fn row_name(device: &str, module: &str) -> String {
    if module.is_empty() { device.to_owned() } else { format!("{device}/{module}") }
}
