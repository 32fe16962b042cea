//! [`ColumnPattern`]: the names of columns that are not read.

use std::fmt;
use std::str::FromStr;

use regex::Regex;
use serde::{Deserialize, Serialize, Serializer};

/// The names of columns of a file: a name, in which `*` stands for any text and `?` for one character.
/// Letter case does not matter.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct ColumnPattern {
    written: String,
    whole: Regex,
}

/// A text that is not a pattern for names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a pattern for names must be a name with `*` and `?`, of at most 200 characters")]
pub struct ColumnPatternError;

impl ColumnPattern {
    /// Returns true if the name in a file matches as a whole.
    pub(crate) fn matches(&self, name: &str) -> bool {
        self.whole.is_match(name.trim())
    }
}

impl FromStr for ColumnPattern {
    type Err = ColumnPatternError;

    fn from_str(written: &str) -> Result<Self, ColumnPatternError> {
        if written.trim().is_empty() || written.chars().count() > MAX_CHARS {
            return Err(ColumnPatternError);
        }
        let regex = regex_syntax::escape(written.trim()).replace(r"\*", ".*").replace(r"\?", ".");
        let whole = Regex::new(&format!("(?is)^(?:{regex})$")).map_err(|_| ColumnPatternError)?;
        Ok(Self { written: written.to_owned(), whole })
    }
}

impl TryFrom<String> for ColumnPattern {
    type Error = ColumnPatternError;

    fn try_from(written: String) -> Result<Self, ColumnPatternError> {
        written.parse()
    }
}

impl fmt::Display for ColumnPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl PartialEq for ColumnPattern {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl Eq for ColumnPattern {}

impl Serialize for ColumnPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.written)
    }
}

/// The longest pattern.
const MAX_CHARS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_names_in_any_letter_case() {
        let matches = |pattern: &str, name: &str| pattern.parse::<ColumnPattern>().unwrap().matches(name);
        assert!(matches("ERP_*", "erp_lot") && matches("*", "Größe") && matches("a?c", "ABC"));
        assert!(matches("Menge (Stk.)", " menge (stk.) ") && matches("a*", "a\nb"));
        assert!(!matches("ERP", "ERP_lot") && !matches("a.c", "abc") && !matches("a?", "a"));
        assert!(" ".parse::<ColumnPattern>().is_err());
    }
}
