//! [`Problem`]: one error or warning about a batch, with its place and its remedy.

pub(crate) mod redact;

use std::borrow::Cow;
use std::fmt;

use hub_types::secret_text::without_secrets;
use hub_types::shown::{ShownBare, ShownText};
use serde::Serialize;

use crate::problem::redact::{may_be_secret, redact};

/// One error or warning about a batch file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The severity.
    pub severity: Severity,
    /// The file, as the caller named it.
    pub file: String,
    /// The line on which the row begins, from 1; `None` if it concerns the whole file.
    pub line: Option<u64>,
    /// The column by its name in our vocabulary, or as written if it has none.
    pub column: Option<String>,
    /// The value of the cell, shortened; `None` if it may be a secret.
    pub value: Option<String>,
    /// The fault.
    pub message: String,
    /// The remedy.
    pub remedy: String,
}

/// The severity of a [`Problem`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Legal, but probably not meant.
    Warning,
    /// The row, or the file, can't be used.
    Error,
}

impl Problem {
    /// The problem without what may be a secret, in whichever of its texts it stands.
    #[must_use]
    pub fn redacted(self) -> Self {
        let secret = self.value.as_deref().filter(|value| may_be_secret(value));
        let shown = |text: &str| {
            let text = match secret {
                Some(secret) => Cow::Owned(text.replace(secret.trim(), "…")),
                None => Cow::Borrowed(text),
            };
            without_secrets(&text).into_owned()
        };
        let (message, remedy) = (shown(&self.message), shown(&self.remedy));
        let is_secret = secret.is_some();
        Self {
            message,
            remedy,
            column: self.column.filter(|column| !may_be_secret(column)),
            value: self.value.filter(|_| !is_secret),
            ..self
        }
    }

    /// Returns true for an error.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", ShownBare(&self.file))?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if self.severity == Severity::Warning {
            f.write_str(": warning")?;
        }
        if let Some(column) = &self.column {
            write!(f, ": column {}", ShownBare(column))?;
        }
        if let Some(value) = &self.value {
            write!(f, ": {}", ShownText(value))?;
        }
        write!(f, ": {}\n  hint: {}", self.message, self.remedy)
    }
}

/// A fault of a value and its remedy, without a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flaw {
    pub(crate) message: String,
    pub(crate) remedy: String,
}

impl Flaw {
    pub(crate) fn new(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { message: message.into(), remedy: remedy.into() }
    }
}

/// Collects the problems of one row, or of the header.
pub(crate) struct Findings<'a> {
    file: &'a str,
    line: Option<u64>,
    problems: Vec<Problem>,
}

impl<'a> Findings<'a> {
    pub(crate) fn new(file: &'a str, line: Option<u64>) -> Self {
        Self { file, line, problems: Vec::new() }
    }

    /// Starts with the problems that were already found in a row.
    pub(crate) fn of_row(file: &'a str, line: u64, problems: Vec<Problem>) -> Self {
        Self { file, line: Some(line), problems }
    }

    pub(crate) fn set_line(&mut self, line: u64) {
        self.line = Some(line);
    }

    /// Adds an error about the row or the file as a whole.
    pub(crate) fn error(&mut self, flaw: Flaw) {
        self.push(Severity::Error, None, None, flaw);
    }

    /// Adds an error about the file as a whole, after others that have line numbers.
    pub(crate) fn error_without_line(&mut self, flaw: Flaw) {
        self.line = None;
        self.error(flaw);
    }

    /// Adds a warning about a column, regardless of its value.
    pub(crate) fn column_warning(&mut self, column: &str, flaw: Flaw) {
        self.push(Severity::Warning, Some(column), None, flaw);
    }

    /// Adds an error about a column, regardless of its value.
    pub(crate) fn column_error(&mut self, column: &str, flaw: Flaw) {
        self.push(Severity::Error, Some(column), None, flaw);
    }

    /// Adds an error about a cell. Its value is shown unless it looks like a secret.
    pub(crate) fn cell_error(&mut self, column: &str, value: &str, flaw: Flaw) {
        self.push(Severity::Error, Some(column), Some(value), flaw);
    }

    /// Adds a warning about the file as a whole.
    pub(crate) fn warning(&mut self, flaw: Flaw) {
        self.push(Severity::Warning, None, None, flaw);
    }

    /// Adds a warning about a cell.
    pub(crate) fn cell_warning(&mut self, column: &str, value: &str, flaw: Flaw) {
        self.push(Severity::Warning, Some(column), Some(value), flaw);
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.problems.iter().any(Problem::is_error)
    }

    /// The number of problems so far.
    pub(crate) fn count(&self) -> usize {
        self.problems.len()
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    fn push(&mut self, severity: Severity, column: Option<&str>, value: Option<&str>, flaw: Flaw) {
        let problem = Problem {
            severity,
            file: self.file.to_owned(),
            line: self.line,
            column: column.map(str::to_owned),
            value: value.map(str::to_owned),
            message: flaw.message,
            remedy: flaw.remedy,
        };
        let problem = problem.redacted();
        self.problems.push(Problem {
            column: problem.column.as_deref().and_then(redact),
            value: problem.value.as_deref().and_then(redact),
            ..problem
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem() -> Problem {
        let mut findings = Findings::new("batch.csv", Some(17));
        findings.cell_error("status", "off", Flaw::new("no status", "write `disabled`"));
        findings.into_problems().remove(0)
    }

    #[test]
    fn a_problem_reads_as_place_value_message_and_hint() {
        assert_eq!(
            problem().to_string(),
            "batch.csv:17: column status: \"off\": no status\n  hint: write `disabled`"
        );
        let mut findings = Findings::new("batch.csv", None);
        findings.warning(Flaw::new("no rows", "add some"));
        assert_eq!(findings.into_problems()[0].to_string(), "batch.csv: warning: no rows\n  hint: add some");
    }

    #[test]
    fn a_problem_is_json_for_programs() {
        assert_eq!(
            serde_json::to_value(problem()).unwrap(),
            serde_json::json!({
                "severity": "error", "file": "batch.csv", "line": 17, "column": "status",
                "value": "off", "message": "no status", "remedy": "write `disabled`",
            })
        );
    }
}
