//! The check of a twin's numbers in the text of a request, before parsing loses their original
//! form.

use serde_json::Value;

use super::rules::{MAX_KEY_CHARS_SHOWN, TwinRule, TwinRuleError};
use crate::number::{self, NumberError, literals, string_length};

/// Checks the numbers of a JSON text: a twin must keep each of them unchanged. Members named
/// `passed_over`, and all their content, are skipped. The rest of the JSON syntax is not checked.
pub fn check_numbers(json: &[u8], passed_over: &[&str]) -> Result<(), TwinRuleError> {
    number_errors(json, passed_over).next().map_or(Ok(()), |(_, error)| Err(error))
}

/// Returns every error that [`check_numbers`] finds, each with its item of the outermost array.
pub fn number_errors(json: &[u8], passed_over: &[&str]) -> impl Iterator<Item = (usize, TwinRuleError)> {
    literals(json).filter(|literal| !literal.is_plain()).filter_map(move |literal| {
        let rule = match number::read(literal.text) {
            Ok(_) | Err(NumberError::Syntax) => return None,
            Err(NumberError::OutOfRange) => TwinRule::IntegerRange(shortened(literal.text)),
            Err(NumberError::Inexact) => TwinRule::InexactNumber(shortened(literal.text)),
        };
        let path = path_to(json, literal.offset);
        if path.iter().any(|name| passed_over.contains(&name.as_str())) {
            return None;
        }
        let names: Vec<_> = path.iter().map(|name| shortened(name)).collect();
        Some((literal.item, TwinRuleError { path: names.join("."), rule }))
    })
}

/// The member names on the path to an offset of a JSON text, the outermost first.
fn path_to(json: &[u8], place: usize) -> Vec<String> {
    // Of each object and array around the place, the name of the member that was read last.
    let mut path: Vec<Option<String>> = Vec::new();
    let (mut at, mut string) = (0, 0..0);
    while let Some(byte) = json.get(at).filter(|_| at < place) {
        let mut next = at + 1;
        match byte {
            b'{' | b'[' => path.push(None),
            b'}' | b']' => drop(path.pop()),
            b'"' => {
                next = at + string_length(json.get(at..).unwrap_or_default());
                string = at..next;
            }
            b':' => {
                let name = json.get(string.clone()).and_then(|name| serde_json::from_slice(name).ok());
                if let (Some(last), Some(Value::String(name))) = (path.last_mut(), name) {
                    *last = Some(name);
                }
            }
            _ => {}
        }
        at = next;
    }
    path.into_iter().flatten().collect()
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_KEY_CHARS_SHOWN) {
        Some((end, _)) => text.get(..end).unwrap_or(text).to_owned() + "…",
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str) -> Result<(), String> {
        check_numbers(json.as_bytes(), &["reported"]).map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_that_a_twin_would_change_are_refused_with_their_place() {
        assert_eq!(check(r#"{"tags": {"a": 1.50, "b": [1e5, "89014103211118510720"]}}"#), Ok(()));
        assert_eq!(
            check(r#"{"x": [], "tags": {"a:b": 1, "sim": [0, {"icc\"id": 89014103211118510720}]}}"#)
                .unwrap_err(),
            "tags.sim.icc\"id: 89014103211118510720 is outside the range of integers, -4503599627370496 to 4503599627370495"
        );
        assert_eq!(
            check(r#"{"properties": {"desired": {"t": 0.1234567890123456789}}}"#).unwrap_err(),
            "properties.desired.t: 0.1234567890123456789 has more digits or a greater exponent than a twin keeps"
        );
    }

    #[test]
    fn errors_come_with_the_item_of_the_array_in_which_they_are() {
        let json = br#"[{"a": 1}, {"a": [2, 1e999]}, {"b": {"c": 0}}, {"d": 9007199254740993}]"#;
        let found: Vec<_> = number_errors(json, &[]).map(|(item, error)| (item, error.path)).collect();
        assert_eq!(found, [(1, "a".to_owned()), (3, "d".to_owned())]);
    }

    #[test]
    fn what_is_passed_over_may_hold_any_number() {
        assert_eq!(check(r#"{"properties": {"reported": {"a": {"b": 1e999}}, "desired": {}}}"#), Ok(()));
        assert!(check(r#"{"reported": 1, "desired": 1e999}"#).is_err());
    }

    #[test]
    fn a_number_of_any_length_makes_a_short_message() {
        assert!(check(&format!("{{\"a\": {}}}", "9".repeat(5000))).unwrap_err().len() < 200);
    }
}
