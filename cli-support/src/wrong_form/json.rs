//! Mistakes in JSON.

use std::fmt;

use serde_json::error::Category;

use super::{Format, reason};

/// A mistake in a JSON text, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonMistake {
    /// The line, from 1; 0 for a value that was not read from a text.
    pub line: usize,
    /// The column, from 1; 0 at the beginning of the text.
    pub column: usize,
    /// The reason.
    pub reason: String,
}

impl JsonMistake {
    /// Describes an error of the library for JSON.
    pub fn new(error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let message = error.to_string();
        let place = format!(" at line {line} column {column}");
        let text = message.strip_suffix(&place).unwrap_or(&message);
        let reason = match error.classify() {
            Category::Data => reason(text, Format::Json),
            Category::Eof => "the JSON ends too early".to_owned(),
            Category::Io | Category::Syntax => syntax(text),
        };
        Self { line, column, reason }
    }
}

impl fmt::Display for JsonMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.reason),
            line => write!(f, "{} at line {line}, column {}", self.reason, self.column),
        }
    }
}

impl std::error::Error for JsonMistake {}

/// The reason for a text that is not JSON.
fn syntax(text: &str) -> String {
    let known = match text {
        "recursion limit exceeded" => "objects and arrays are nested too deep",
        "lone leading surrogate in hex escape" | "unexpected end of hex escape" => {
            "half a surrogate pair is escaped"
        }
        "trailing characters" => "something follows the end of the JSON",
        "trailing comma" => "nothing follows a comma",
        "expected ident" | "expected value" => "no value of JSON begins",
        "invalid escape" => "a backslash begins no escape of JSON",
        "invalid number" => "a number is not written as in JSON",
        "number out of range" => "a number is out of range",
        "invalid unicode code point" => "a text is not UTF-8",
        "key must be a string" => "the name of a member is not in quotes",
        _ if text.starts_with("control character") => "a text has a control character that is not escaped",
        _ => return text.strip_prefix("expected ").map_or_else(|| text.to_owned(), missing),
    };
    known.to_owned()
}

fn missing(text: &str) -> String {
    format!("there is no {text}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase")]
    #[expect(dead_code, reason = "read for its errors only")]
    struct TestDocument {
        device_id: String,
        seconds: Option<u64>,
        word: Option<Word>,
        members: Option<BTreeMap<String, f64>>,
        inner: Option<Box<Self>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Word {
        On,
    }

    fn mistake(json: &str) -> String {
        JsonMistake::new(&serde_json::from_str::<TestDocument>(json).unwrap_err()).to_string()
    }

    #[test]
    fn no_name_of_a_type_is_in_any_reason() {
        for (json, expected) in [
            ("{} x", "a member is missing: `deviceId` at line 1, column 2"),
            ("null", "the wrong type: null, expected an object at line 1, column 4"),
            (
                "{\"seconds\": -1}",
                "a value out of range: integer `-1`, expected a whole number at line 1, column 14",
            ),
            ("{\"seconds\": []}", "the wrong type: an array, expected a whole number at line 1, column 12"),
            ("{\"word\": \"off\"}", "an unknown word: `off`, expected `on` at line 1, column 14"),
            ("{\"deviceId\": 1}", "the wrong type: integer `1`, expected a string at line 1, column 14"),
            ("{\"inner\": 1}", "the wrong type: integer `1`, expected an object at line 1, column 11"),
            (
                "{\"members\": {\"a\": \"b\"}}",
                "the wrong type: string \"b\", expected a number at line 1, column 21",
            ),
        ] {
            assert_eq!(mistake(json), expected, "{json}");
        }
    }

    #[test]
    fn what_is_no_json_is_described_without_the_words_of_the_library() {
        for (json, expected) in [
            ("", "the JSON ends too early at line 1, column 0"),
            ("{", "the JSON ends too early at line 1, column 1"),
            ("[\"a", "the JSON ends too early at line 1, column 3"),
            ("[1} ", "there is no `,` or `]` at line 1, column 3"),
            ("{\"a\" 1}", "there is no `:` at line 1, column 6"),
            ("{\"a\": 1 \"b\"}", "there is no `,` or `}` at line 1, column 9"),
            ("{a: 1}", "the name of a member is not in quotes at line 1, column 2"),
            ("[1,]", "nothing follows a comma at line 1, column 4"),
            ("{\"deviceId\": \"a\"} x", "something follows the end of the JSON at line 1, column 19"),
            ("nonsense", "no value of JSON begins at line 1, column 2"),
            ("?", "no value of JSON begins at line 1, column 1"),
            ("[01]", "a number is not written as in JSON at line 1, column 3"),
            ("[1e999]", "a number is out of range at line 1, column 6"),
            ("[\"\\x\"]", "a backslash begins no escape of JSON at line 1, column 4"),
            ("[\"\\ud800\"]", "half a surrogate pair is escaped at line 1, column 9"),
            ("[\"\t\"]", "a text has a control character that is not escaped at line 1, column 3"),
        ] {
            let error = serde_json::from_str::<serde_json::Value>(json).unwrap_err();
            let found = JsonMistake::new(&error).to_string();
            // The library has the column of the fault, or that before it.
            let reason = expected.split(" at line").next().unwrap();
            assert!(found.starts_with(&format!("{reason} at line 1, column ")), "{json}: {found}");
        }
    }
}
