//! Errors in received JSON, in terms of JSON, because the library's messages name its own types.

use cli_support::wrong_form::{self, Format};
use serde_json::Error;
use serde_json::error::Category;

/// The reason with its place, `… at line 1, column 5`.
pub(crate) fn text(error: &Error) -> String {
    let message = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let reason = message.strip_suffix(&place).unwrap_or(&message);
    let reason = match error.classify() {
        Category::Data => plain(reason),
        Category::Eof => "the JSON ends too early".to_owned(),
        Category::Io | Category::Syntax => syntax(reason),
    };
    match error.line() {
        0 => reason,
        line => format!("{reason} at line {line}, column {}", error.column()),
    }
}

fn syntax(reason: &str) -> String {
    match reason {
        "recursion limit exceeded" => "objects and arrays are nested too deep".to_owned(),
        "unexpected end of hex escape" => "half a surrogate pair is escaped".to_owned(),
        "trailing characters" => "something follows the end of the JSON".to_owned(),
        reason => format!("no JSON: {reason}"),
    }
}

/// The reason for a value that is valid JSON, but has the wrong form.
pub(crate) fn plain(reason: &str) -> String {
    wrong_form::reason(reason, Format::Json)
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

    fn reason(json: &str) -> String {
        text(&serde_json::from_str::<TestDocument>(json).unwrap_err())
    }

    #[test]
    fn no_name_of_a_type_is_in_any_reason() {
        for (json, expected) in [
            ("", "the JSON ends too early at line 1, column 0"),
            ("{", "the JSON ends too early at line 1, column 1"),
            ("{} x", "a member is missing: `deviceId` at line 1, column 2"),
            ("{\"deviceId\": \"a\"} x", "something follows the end of the JSON at line 1, column 19"),
            ("nonsense", "no JSON: expected ident at line 1, column 2"),
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
            assert_eq!(reason(json), expected, "{json}");
        }
    }
}
