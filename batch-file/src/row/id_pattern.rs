//! [`IdPattern`]: the required form of a batch's device ids.

use std::fmt;
use std::str::FromStr;

use hub_types::DeviceId;
use regex::Regex;
use serde::{Deserialize, Serialize, Serializer};

use crate::problem::Flaw;

/// A regular expression that each device id of a batch has to match as a whole. It finds ids that
/// have all lost their leading zeros, which no comparison within the batch shows.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct IdPattern {
    written: String,
    whole: Regex,
}

/// A text that is not a regular expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{pattern}` is not a regular expression: {reason}")]
pub struct IdPatternError {
    /// The text.
    pub pattern: String,
    /// The place of the fault in the text, and the fault.
    pub reason: String,
}

impl IdPatternError {
    fn new(pattern: &str, error: &regex::Error) -> Self {
        let place = |span: &regex_syntax::ast::Span| format!("character {}", span.start.column);
        let reason = match regex_syntax::parse(pattern) {
            Err(regex_syntax::Error::Parse(fault)) => format!("{}: {}", place(fault.span()), fault.kind()),
            Err(regex_syntax::Error::Translate(fault)) => {
                format!("{}: {}", place(fault.span()), fault.kind())
            }
            _ => error.to_string(),
        };
        Self { pattern: pattern.to_owned(), reason }
    }
}

impl IdPattern {
    /// Returns an error if an id does not match.
    pub(crate) fn check(&self, id: &DeviceId) -> Result<(), Flaw> {
        if self.whole.is_match(id.as_str()) {
            return Ok(());
        }
        Err(Flaw::new(
            format!("the id does not match the pattern `{self}`"),
            "correct the id, or the pattern that `--id-pattern`, or `id_pattern` in `provisioner.toml`, gives",
        ))
    }
}

impl FromStr for IdPattern {
    type Err = IdPatternError;

    fn from_str(written: &str) -> Result<Self, IdPatternError> {
        let no_pattern = |error| IdPatternError::new(written, &error);
        // By itself first, so that no bracket of it can close the one around it.
        Regex::new(written).map_err(no_pattern)?;
        let whole = Regex::new(&format!("^(?:{written})$")).map_err(no_pattern)?;
        Ok(Self { written: written.to_owned(), whole })
    }
}

impl TryFrom<String> for IdPattern {
    type Error = IdPatternError;

    fn try_from(written: String) -> Result<Self, IdPatternError> {
        written.parse()
    }
}

impl Serialize for IdPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for IdPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl PartialEq for IdPattern {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl Eq for IdPattern {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_the_whole_id() {
        let matches = |pattern: &str, id: &str| {
            pattern.parse::<IdPattern>().unwrap().check(&DeviceId::new(id).unwrap()).is_ok()
        };
        assert!(matches(r"PMP-\d{8}", "PMP-00000001"));
        assert!(!matches(r"PMP-\d{8}", "PMP-1") && !matches(r"PMP-\d{8}", "PMP-000000012"));
        assert!(matches("a|bc", "bc") && !matches("a|bc", "ac"));
        let error = "a)(b".parse::<IdPattern>().unwrap_err();
        assert_eq!(error.to_string(), "`a)(b` is not a regular expression: character 2: unopened group");
    }

    #[test]
    fn a_pattern_is_stored_as_it_was_written() {
        let pattern: IdPattern = r"PMP-\d{8}".parse().unwrap();
        let stored = serde_json::to_string(&pattern).unwrap();
        assert_eq!(stored, r#""PMP-\\d{8}""#);
        assert_eq!(serde_json::from_str::<IdPattern>(&stored).unwrap(), pattern);
        assert!(serde_json::from_str::<IdPattern>("\"(\"").is_err());
    }
}
