//! The rules for tags, desired and reported properties. Errors name the path that breaks the rule.

use std::iter::successors;

use serde_json::{Map, Number, Value};

use crate::number::{MAX_INTEGER, MIN_INTEGER};
use crate::shown::ShownChar;

/// A section of a twin that has rules and a size of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// `properties.desired`
    Desired,
    /// `properties.reported`
    Reported,
    /// `tags`
    Tags,
}

impl Section {
    /// The path of the section in a twin.
    pub fn path(self) -> &'static str {
        match self {
            Self::Desired => "properties.desired",
            Self::Reported => "properties.reported",
            Self::Tags => "tags",
        }
    }

    /// The largest size of the section, as [`section_size`] counts it.
    pub fn max_size(self) -> usize {
        match self {
            Self::Desired | Self::Reported => 32 * 1024,
            Self::Tags => 8 * 1024,
        }
    }
}

/// The meaning of a null in the text that is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nulls {
    /// It deletes the member, as in a patch; inside arrays it is still an error.
    Delete,
    /// It is an error, as in a twin that is to be stored.
    Refuse,
}

/// Checks names, depth, values and size of a section, or of a patch to one.
pub fn check_section(
    section: Section,
    object: &Map<String, Value>,
    nulls: Nulls,
) -> Result<(), TwinRuleError> {
    let place = Place { section, nulls, name: None, depth: 0, nesting: 0 };
    place.check_object(object)?;
    match section_size(object) {
        size if size > section.max_size() => {
            Err(place.error(TwinRule::SectionSize { size, max: section.max_size() }))
        }
        _ => Ok(()),
    }
}

/// The size of a section as the service counts it: names by their bytes, strings by their
/// characters less control characters, numbers 8, booleans 4, objects and arrays by their content.
pub fn section_size(object: &Map<String, Value>) -> usize {
    object.iter().map(|(key, value)| key.len() + value_size(value)).sum()
}

/// A broken rule of a twin, and its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {rule}")]
pub struct TwinRuleError {
    /// The place, such as `properties.desired.conditions.temperature`.
    pub path: String,
    /// The rule that is broken there.
    pub rule: TwinRule,
}

impl TwinRuleError {
    /// The section with the error, by its usual name: `tags`, `desired` or `reported`.
    pub fn section(&self) -> &str {
        let path = self.path.strip_prefix("properties.").unwrap_or(&self.path);
        path.split_once('.').map_or(path, |(section, _)| section)
    }

    pub(super) fn unknown_member(prefix: &str, name: &str) -> Self {
        let name: String = name.chars().take(MAX_KEY_CHARS_SHOWN).collect();
        Self { path: format!("{prefix}{name}"), rule: TwinRule::UnknownMember }
    }

    pub(super) fn not_an_object(path: &str) -> Self {
        Self { path: path.to_owned(), rule: TwinRule::NotAnObject }
    }
}

/// The rules for tags and properties.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TwinRule {
    /// More than 10 objects inside one another.
    #[error("objects are nested more than {MAX_DEPTH} deep")]
    Depth,
    /// A number with more digits, or a greater exponent, than double precision keeps.
    #[error("{0} has more digits or a greater exponent than a twin keeps")]
    InexactNumber(String),
    /// An integer beyond ±2^52.
    #[error("{0} is outside the range of integers, {MIN_INTEGER} to {MAX_INTEGER}")]
    IntegerRange(String),
    /// A character that names may not have.
    #[error("character {} is not allowed in a name; control characters and . $ # space are not", ShownChar(*.0))]
    KeyCharacter(char),
    /// A name over 1024 bytes.
    #[error("a name has at most {MAX_KEY_BYTES} bytes, this has {0}")]
    KeyLength(usize),
    /// More than 64 objects and arrays inside one another. Microsoft documents no bound for arrays;
    /// without any, a value could be too deep for parsers of a document that contains it.
    #[error("objects and arrays are nested more than {MAX_NESTING} deep")]
    Nesting,
    /// A value that must be an object is not one.
    #[error("must be a JSON object")]
    NotAnObject,
    /// A null inside an array, or in values that are to be stored.
    #[error("null can't be stored; leave the member out")]
    Null,
    /// The section is too large as a whole.
    #[error("the section has a size of {size} bytes, more than {max}")]
    SectionSize {
        /// Its size, as [`section_size`] counts it.
        size: usize,
        /// The bound.
        max: usize,
    },
    /// A member that the fixed set of the document's members does not contain.
    #[error("a twin has no such member; a service writes `tags` and `properties.desired`")]
    UnknownMember,
    /// A string over 4096 bytes.
    #[error("a string has at most {MAX_STRING_BYTES} bytes, this has {0}")]
    StringLength(usize),
}

/// The path to the checked value: a chain up to the section, which saves building a path for every
/// value.
#[derive(Clone, Copy)]
struct Place<'a> {
    section: Section,
    nulls: Nulls,
    /// The name here, and the place around it; `None` is the section itself.
    name: Option<(&'a str, &'a Self)>,
    /// The number of names on the path.
    depth: usize,
    /// The number of objects and arrays around it, without the section itself.
    nesting: usize,
}

impl Place<'_> {
    fn check_object(&self, object: &Map<String, Value>) -> Result<(), TwinRuleError> {
        if self.depth > MAX_DEPTH {
            return Err(self.error(TwinRule::Depth));
        }
        object.iter().try_for_each(|(key, value)| {
            let place = Place { name: Some((key, self)), depth: self.depth + 1, ..*self };
            place.check_key(key)?;
            place.check_value(value)
        })
    }

    fn check_key(&self, key: &str) -> Result<(), TwinRuleError> {
        if key.len() > MAX_KEY_BYTES {
            return Err(self.error(TwinRule::KeyLength(key.len())));
        }
        match key.chars().find(|c| c.is_control() || matches!(c, '.' | '$' | '#' | ' ')) {
            Some(character) => Err(self.error(TwinRule::KeyCharacter(character))),
            None => Ok(()),
        }
    }

    fn check_value(&self, value: &Value) -> Result<(), TwinRuleError> {
        match value {
            Value::Null if self.nulls == Nulls::Delete => Ok(()),
            Value::Array(items) => {
                let inside = self.nested()?;
                items.iter().try_for_each(|item| inside.check_item(item))
            }
            Value::Object(object) => self.nested()?.check_object(object),
            other => self.check_scalar(other),
        }
    }

    fn nested(&self) -> Result<Self, TwinRuleError> {
        match self.nesting {
            MAX_NESTING => Err(self.error(TwinRule::Nesting)),
            nesting => Ok(Self { nesting: nesting + 1, ..*self }),
        }
    }

    /// Checks a value inside an array, where a null has no meaning.
    fn check_item(&self, value: &Value) -> Result<(), TwinRuleError> {
        match value {
            Value::Null => Err(self.error(TwinRule::Null)),
            other => self.check_value(other),
        }
    }

    fn check_scalar(&self, value: &Value) -> Result<(), TwinRuleError> {
        match value {
            Value::Null => Err(self.error(TwinRule::Null)),
            Value::String(text) if text.len() > MAX_STRING_BYTES => {
                Err(self.error(TwinRule::StringLength(text.len())))
            }
            Value::Number(number) if !is_in_range(number) => {
                Err(self.error(TwinRule::IntegerRange(number.to_string())))
            }
            _ => Ok(()),
        }
    }

    fn error(&self, rule: TwinRule) -> TwinRuleError {
        let names: Vec<&str> =
            successors(self.name, |(_, around)| around.name).map(|(name, _)| name).collect();
        let mut path = self.section.path().to_owned();
        for name in names.iter().rev() {
            path.push('.');
            path.extend(name.chars().take(MAX_KEY_CHARS_SHOWN));
        }
        TwinRuleError { path, rule }
    }
}

fn value_size(value: &Value) -> usize {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 4,
        Value::Number(_) => 8,
        // Nearly all texts, and their characters need not be decoded.
        Value::String(text) if text.is_ascii() => {
            text.bytes().filter(|byte| !byte.is_ascii_control()).count()
        }
        Value::String(text) => text.chars().filter(|c| !c.is_control()).count(),
        Value::Array(items) => items.iter().map(value_size).sum(),
        Value::Object(object) => section_size(object),
    }
}

fn is_in_range(number: &Number) -> bool {
    if let Some(integer) = number.as_i64() {
        return (MIN_INTEGER..=MAX_INTEGER).contains(&integer);
    }
    !number.is_u64()
}

const MAX_DEPTH: usize = 10;
const MAX_NESTING: usize = 64;
const MAX_KEY_BYTES: usize = 1024;
pub(super) const MAX_KEY_CHARS_SHOWN: usize = 40;
const MAX_STRING_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn check(value: Value) -> Result<(), String> {
        check_section(Section::Desired, value.as_object().unwrap(), Nulls::Refuse).map_err(|e| e.to_string())
    }

    fn nested(levels: usize) -> Value {
        (0..levels).fold(json!(1), |inner, level| json!({ format!("l{level}"): inner }))
    }

    #[test]
    fn ten_nested_objects_are_the_most() {
        // The outermost object is the section itself.
        assert_eq!(check(nested(11)), Ok(()));
        assert!(check(nested(12)).unwrap_err().contains("nested more than 10 deep"));
    }

    #[test]
    fn arrays_have_a_bound_too() {
        let arrays = |levels| json!({"a": (0..levels).fold(json!(1), |inner, _| json!([inner]))});
        assert_eq!(check(arrays(64)), Ok(()));
        assert!(
            check(arrays(65)).unwrap_err().contains("a: objects and arrays are nested more than 64 deep")
        );
        // What stands beside something deep is not inside it.
        let deep = arrays(64)["a"].clone();
        assert_eq!(check(json!({"a": deep, "b": [deep[0], deep[0]]})), Ok(()));
    }

    #[test]
    fn integers_reach_to_plus_and_minus_2_to_the_52() {
        assert_eq!(
            check(json!({"a": 4_503_599_627_370_495_i64, "b": -4_503_599_627_370_496_i64, "c": 1.0e300})),
            Ok(())
        );
        for value in [json!(4_503_599_627_370_496_i64), json!(-4_503_599_627_370_497_i64), json!(u64::MAX)] {
            assert!(check(json!({ "a": value })).unwrap_err().contains("range of integers"));
        }
    }

    #[test]
    fn names_may_not_have_dots_dollars_hashes_spaces_or_controls() {
        for key in ["a.b", "$a", "a#", "a b", "a\u{7}", "a\u{85}"] {
            assert!(check(json!({ key: 1 })).unwrap_err().contains("not allowed in a name"), "{key:?}");
        }
        assert_eq!(check(json!({"": 1, "größe": 2})), Ok(()));
        assert!(check(json!({ "k".repeat(1025): 1 })).unwrap_err().contains("1024"));
    }

    #[test]
    fn the_place_of_the_breach_is_named() {
        let error = check(json!({"conditions": {"temperature": {"warn level": 1}}})).unwrap_err();
        assert!(error.starts_with("properties.desired.conditions.temperature.warn level: "), "{error}");
    }

    #[test]
    fn nulls_delete_in_a_patch_and_are_refused_elsewhere() {
        let object = json!({"a": {"b": null}});
        let object = object.as_object().unwrap();
        assert!(check_section(Section::Tags, object, Nulls::Delete).is_ok());
        assert!(check_section(Section::Tags, object, Nulls::Refuse).is_err());
        let in_array = json!({"a": [1, null]});
        assert!(check_section(Section::Tags, in_array.as_object().unwrap(), Nulls::Delete).is_err());
    }

    #[test]
    fn strings_have_4096_bytes_and_sections_8_or_32_kib() {
        assert_eq!(check(json!({"a": "x".repeat(4096)})), Ok(()));
        assert!(check(json!({"a": "ü".repeat(2049)})).unwrap_err().contains("4098"));
        let large: Map<String, Value> = (0..3).map(|n| (n.to_string(), json!("x".repeat(4000)))).collect();
        assert!(check_section(Section::Desired, &large, Nulls::Refuse).is_ok());
        let error = check_section(Section::Tags, &large, Nulls::Refuse).unwrap_err().to_string();
        assert_eq!(error, "tags: the section has a size of 12003 bytes, more than 8192");
    }

    #[test]
    fn size_is_counted_as_the_service_does() {
        let object = json!({"ab": "xüz\n", "n": 1.5, "t": true, "o": {"k": [1, "y"]}});
        assert_eq!(
            section_size(object.as_object().unwrap()),
            (2 + 3) + (1 + 8) + (1 + 4) + (1 + (1 + 8 + 1))
        );
    }

    proptest! {
        #[test]
        fn a_section_that_is_legal_stays_legal_without_one_of_its_members(
            keys in proptest::collection::vec("[a-z]{1,8}", 1..20),
            numbers in proptest::collection::vec(-1_000_000_i64..1_000_000, 20),
        ) {
            let mut object: Map<String, Value> =
                keys.iter().cloned().zip(numbers.into_iter().map(Value::from)).collect();
            prop_assert!(check_section(Section::Tags, &object, Nulls::Refuse).is_ok());
            let before = section_size(&object);
            object.remove(&keys[0]);
            prop_assert_eq!(section_size(&object), before - keys[0].len() - 8);
            prop_assert!(check_section(Section::Tags, &object, Nulls::Refuse).is_ok());
        }
    }
}
