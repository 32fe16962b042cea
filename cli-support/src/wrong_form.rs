//! Values of the wrong form, in the terms of the format that they are written in: the messages of serde name types of
//! Rust.

use std::fmt;

pub use json::JsonMistake;

mod json;

/// A format that values are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON, with objects and their members.
    Json,
    /// TOML, with tables and their keys.
    Toml,
}

/// A mistake in a TOML file, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TomlMistake {
    /// The line, from 1.
    pub line: usize,
    /// The character of the line, from 1.
    pub column: usize,
    /// The reason.
    pub reason: String,
}

impl TomlMistake {
    /// Describes an error that was found in a text.
    pub fn new(text: &str, error: &toml::de::Error) -> Self {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let last_line = before.rsplit('\n').next().unwrap_or_default();
        let reason = match key_of(last_line) {
            Some(key) => format!("`{key}`: {}", reason(error.message(), Format::Toml)),
            None => reason(error.message(), Format::Toml),
        };
        Self {
            line: before.matches('\n').count() + 1,
            column: last_line.chars().count() + 1,
            // A regular expression is shown with a mark below its mistake, on a line of its own.
            reason: reason.lines().map(str::trim).collect::<Vec<_>>().join(", "),
        }
    }
}

impl fmt::Display for TomlMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.reason)
    }
}

/// The key of the value that follows on a line.
fn key_of(before_value: &str) -> Option<&str> {
    let key = before_value.trim_end().strip_suffix('=')?;
    key.rsplit(['{', ',']).next().map(str::trim).filter(|key| !key.is_empty())
}

/// The reason of serde in the terms of a format.
pub fn reason(text: &str, format: Format) -> String {
    let member = format.member();
    for (begin, instead) in [
        ("missing field ", format!("a {member} is missing: ")),
        ("duplicate field ", format!("a {member} is there twice: ")),
        ("duplicate key", format!("a {member} is there twice")),
        ("unknown field ", format!("a {member} is unknown: ")),
        ("unknown variant ", "an unknown word: ".to_owned()),
        ("invalid type: ", "the wrong type: ".to_owned()),
        ("invalid value: ", "a value out of range: ".to_owned()),
        ("invalid length ", "a wrong number of elements: ".to_owned()),
    ] {
        if let Some(rest) = text.strip_prefix(begin) {
            return format!("{instead}{}", format.in_words(rest));
        }
    }
    text.to_owned()
}

impl Format {
    fn member(self) -> &'static str {
        match self {
            Self::Json => "member",
            Self::Toml => "key",
        }
    }

    fn map(self) -> &'static str {
        match self {
            Self::Json => "an object",
            Self::Toml => "a table",
        }
    }

    /// Replaces the found and the expected type by the value that has to be written.
    fn in_words(self, text: &str) -> String {
        let Some((found, wanted)) = text.rsplit_once(", expected ") else { return text.to_owned() };
        let wanted = match wanted {
            "u8" | "u16" | "u32" | "u64" | "usize" | "i8" | "i16" | "i32" | "i64" => "a whole number",
            "f32" | "f64" => "a number",
            "a sequence" => "an array",
            "a map" => self.map(),
            wanted if wanted.starts_with("struct ") => self.map(),
            wanted if wanted.starts_with("tuple ") => "an array",
            wanted => wanted,
        };
        let found = match found {
            "sequence" => "an array",
            "map" => self.map(),
            found => found,
        };
        format!("{found}, expected {wanted}")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "read for its errors only")]
    struct TestDocument {
        name: String,
        days: Option<u32>,
        names: Option<Vec<String>>,
        word: Option<Word>,
        tables: Option<BTreeMap<String, f64>>,
        inner: Option<Box<Self>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Word {
        On,
        Off,
    }

    #[test]
    fn no_name_of_a_type_is_in_any_mistake_of_a_file() {
        for (text, expected) in [
            ("days = 1", "line 1, column 1: a key is missing: `name`"),
            (
                "name = \"a\"\ndays = \"x\"",
                "line 2, column 8: `days`: the wrong type: string \"x\", expected a whole number",
            ),
            (
                "name = \"ä\"\ndays = -1",
                "line 2, column 8: `days`: a value out of range: integer `-1`, expected a whole number",
            ),
            ("days = {}", "line 1, column 8: `days`: the wrong type: a table, expected a whole number"),
            ("name = []", "line 1, column 8: `name`: the wrong type: an array, expected a string"),
            ("name = 1", "line 1, column 8: `name`: the wrong type: integer `1`, expected a string"),
            ("names = 1", "line 1, column 9: `names`: the wrong type: integer `1`, expected an array"),
            ("inner = 1", "line 1, column 9: `inner`: the wrong type: integer `1`, expected a table"),
            ("tables = 1", "line 1, column 10: `tables`: the wrong type: integer `1`, expected a table"),
            (
                "tables = { a = \"x\" }",
                "line 1, column 16: `a`: the wrong type: string \"x\", expected a number",
            ),
            ("word = \"map\"", "line 1, column 8: `word`: an unknown word: `map`, expected `on` or `off`"),
            (
                "nam = 1",
                "line 1, column 1: a key is unknown: `nam`, expected one of `name`, `days`, `names`, `word`, `tables`, \
                 `inner`",
            ),
            ("name = \"a\"\nname = \"b\"", "line 2, column 1: a key is there twice"),
        ] {
            let mistake = TomlMistake::new(text, &toml::from_str::<TestDocument>(text).unwrap_err());
            assert_eq!(mistake.to_string(), expected, "{text}");
        }
        let text = "name = x";
        let mistake = TomlMistake::new(text, &toml::from_str::<TestDocument>(text).unwrap_err());
        assert_eq!((mistake.line, mistake.column), (1, 8));
    }
}
