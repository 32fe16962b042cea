//! [`TwinColumn`]: a column that is one value of the twin, `tags.<path>` or `desired.<path>`.

use cli_support::wrong_form::JsonMistake;
use std::fmt;

use hub_types::number::{self, NumberError};
use hub_types::repeated_member::{self, RepeatedMember};
use hub_types::twin::{JsonObject, Nulls, Section, check_section};
use serde_json::Value;

use crate::header::cells::{Cell, JsonCell};
use crate::problem::Flaw;
use crate::text::excel;
use crate::text::quotes::Place;

/// One value of the twin: its path and its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TwinColumn {
    pub(crate) section: Section,
    pub(crate) path: Vec<String>,
    pub(crate) kind: Kind,
}

/// The type that a column's suffix forces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No suffix: JSON literals keep their type, all other text is a string.
    AsWritten,
    Bool,
    Json,
    Number,
    String,
}

impl TwinColumn {
    /// Parses a name; `None` if it does not name a value of a twin.
    pub(crate) fn parse(name: &str) -> Option<Result<Self, Flaw>> {
        let starts = [
            ("tags.", Section::Tags),
            ("desired.", Section::Desired),
            ("properties.desired.", Section::Desired),
        ];
        starts.into_iter().find_map(|(start, section)| {
            let begins = name.get(..start.len())?.eq_ignore_ascii_case(start);
            let rest = name.get(start.len()..)?;
            begins.then(|| Self::at(section, rest))
        })
    }

    fn at(section: Section, rest: &str) -> Result<Self, Flaw> {
        let (path, kind) = match rest.rsplit_once(':') {
            None => (rest, Kind::AsWritten),
            Some((path, suffix)) => (path, Kind::from_suffix(suffix)?),
        };
        let path: Vec<_> = path.split('.').map(str::to_owned).collect();
        if path.iter().any(String::is_empty) {
            return Err(Flaw::new(
                "a name in the path is empty",
                "write names between the dots, as in `desired.conditions.temperature`",
            ));
        }
        let twin_column = Self { section, path, kind };
        twin_column.check_names()?;
        Ok(twin_column)
    }

    /// Checks names and depth, for the header, because they would be wrong in every row.
    fn check_names(&self) -> Result<(), Flaw> {
        let mut probe = JsonObject::new();
        self.insert(&mut probe, Value::Bool(true));
        check_section(self.section, &probe, Nulls::Refuse).map_err(|error| {
            Flaw::new(error.rule.to_string(), "rename the property; what has such names can't be in a twin")
        })
    }

    /// The value of a cell.
    pub(crate) fn value(&self, cell: Cell<'_>) -> Result<Value, Flaw> {
        match cell {
            Cell::Text(text) => self.value_of_text(text),
            Cell::Json(cell) => self.value_of_json(cell),
        }
    }

    fn value_of_text(&self, text: &str) -> Result<Value, Flaw> {
        match self.kind {
            Kind::AsWritten => as_written(text),
            Kind::Bool => boolean(text),
            Kind::Json => json(text),
            Kind::Number => number(text.trim()),
            Kind::String => Ok(text.into()),
        }
    }

    /// The value of a JSON value, which has a type already.
    fn value_of_json(&self, cell: &JsonCell) -> Result<Value, Flaw> {
        match (self.kind, &cell.value) {
            (Kind::AsWritten | Kind::Json, value) => check_written(cell).map(|()| value.clone()),
            (Kind::Bool, Value::Bool(_)) => Ok(cell.value.clone()),
            (Kind::Number, Value::Number(_)) => number(&cell.text()),
            _ => self.value_of_text(&cell.text()),
        }
    }

    /// Inserts the value at its path, which must be free: see [`Self::overlaps`].
    pub(crate) fn insert(&self, object: &mut JsonObject, value: Value) {
        let Some((last, parents)) = self.path.split_last() else {
            return;
        };
        let mut object = object;
        for parent in parents {
            let inner = object.entry(parent.as_str()).or_insert_with(|| JsonObject::new().into());
            match inner {
                Value::Object(inner) => object = inner,
                _ => return,
            }
        }
        object.insert(last.clone(), value);
    }

    /// Returns true if one of the two contains the other, so that only one may be given.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let shorter = self.path.len().min(other.path.len());
        self.section == other.section && self.path.iter().take(shorter).eq(other.path.iter().take(shorter))
    }

    /// Returns true if both name the same path.
    pub(crate) fn is_same_place(&self, other: &Self) -> bool {
        self.section == other.section && self.path == other.path
    }
}

impl fmt::Display for TwinColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", section_name(self.section), self.path.join("."))
    }
}

impl Kind {
    fn from_suffix(suffix: &str) -> Result<Self, Flaw> {
        match suffix {
            "bool" => Ok(Self::Bool),
            "json" => Ok(Self::Json),
            "number" => Ok(Self::Number),
            "string" => Ok(Self::String),
            _ => Err(Flaw::new(
                "the type after `:` is not known",
                "legal are `:string`, `:number`, `:bool`, `:json`; a name that itself has a colon needs one of them after it",
            )),
        }
    }
}

/// The name of the section in headers.
pub(crate) fn section_name(section: Section) -> &'static str {
    match section {
        Section::Tags => "tags",
        Section::Desired | Section::Reported => "desired",
    }
}

/// The fault of a text that should be JSON. The message never repeats the text.
pub(crate) fn json_reason(error: &serde_json::Error) -> String {
    match error.classify() {
        serde_json::error::Category::Data => "the value has another type".to_owned(),
        _ => JsonMistake::new(error).to_string(),
    }
}

/// The twin value of a cell in a column without a `:type`; `None` if the cell is refused or empty.
pub fn untyped_value(text: &str) -> Option<Value> {
    (!text.is_empty()).then(|| as_written(text).ok()).flatten()
}

/// The value of a cell without a forced type: a JSON value if the cell has exactly its JSON text,
/// otherwise the text. A number counts only if its own text equals the cell's, so no digit of a
/// serial number is ever lost.
fn as_written(text: &str) -> Result<Value, Flaw> {
    if excel::is_rounded_number(text) {
        return Err(excel::rounded_number());
    }
    match text.as_bytes().first() {
        Some(b'-' | b'0'..=b'9') => match number::read(text) {
            Ok(read) if read.has_same_text => Ok(Value::Number(read.number)),
            Err(NumberError::OutOfRange) => Err(out_of_range()),
            _ => Ok(text.into()),
        },
        Some(b't') if text == "true" => Ok(true.into()),
        Some(b'f') if text == "false" => Ok(false.into()),
        Some(b'n') if text == "null" => Ok(Value::Null),
        Some(b'"' | b'[' | b'{') => match serde_json::from_str(text) {
            Ok(value) => check_json(text).map(|()| value),
            Err(_) => Ok(text.into()),
        },
        _ => Ok(text.into()),
    }
}

fn boolean(text: &str) -> Result<Value, Flaw> {
    // Excel writes its booleans in capitals.
    let text = text.trim();
    if text.eq_ignore_ascii_case("true") {
        return Ok(true.into());
    }
    if text.eq_ignore_ascii_case("false") {
        return Ok(false.into());
    }
    Err(Flaw::new("this is no boolean", "write `true` or `false`"))
}

fn json(text: &str) -> Result<Value, Flaw> {
    check_json(text)?;
    serde_json::from_str(text).map_err(|error| {
        Flaw::new(format!("this is not JSON: {}", json_reason(&error)), "write JSON, or leave out `:json`")
    })
}

fn number(text: &str) -> Result<Value, Flaw> {
    number::read(text).map(|read| Value::Number(read.number)).map_err(|error| match error {
        NumberError::Inexact => inexact(),
        NumberError::OutOfRange => out_of_range(),
        NumberError::Syntax => Flaw::new(
            error.to_string(),
            "write digits with a decimal point and no leading zeros, such as `3.5`; \
             `:string` keeps a text as it is",
        ),
    })
}

/// Checks the members and the numbers of a JSON text. Errors name places in this text.
fn check_json(json: &str) -> Result<(), Flaw> {
    repeated_member::check(json.as_bytes()).map_err(|error| repeated(&error))?;
    for literal in number::literals(json.as_bytes()).filter(|literal| !literal.is_plain()) {
        let place = || match literal.depth {
            0 => String::new(),
            _ => format!("in this JSON at {}", Place::of(json.as_bytes(), literal.offset, 1)),
        };
        check_number(literal.text, place)?;
    }
    Ok(())
}

/// The flaw of an object that has a member twice.
pub(crate) fn repeated(error: &RepeatedMember) -> Flaw {
    Flaw::new(format!("in this JSON, {error}"), "leave one of them out")
}

/// Checks the numbers of a value of JSON Lines. Errors name places in the line.
fn check_written(cell: &JsonCell) -> Result<(), Flaw> {
    for number in &cell.numbers {
        check_number(&number.text, || format!("at character {} of the line", number.character))?;
    }
    Ok(())
}

fn check_number(text: &str, place: impl Fn() -> String) -> Result<(), Flaw> {
    let mut flaw = match number::read(text) {
        Ok(_) | Err(NumberError::Syntax) => return Ok(()),
        Err(NumberError::Inexact) => inexact(),
        Err(NumberError::OutOfRange) => out_of_range(),
    };
    let place = place();
    if !place.is_empty() {
        flaw.message = format!("{} ({place})", flaw.message);
    }
    Err(flaw)
}

fn inexact() -> Flaw {
    Flaw::new(
        NumberError::Inexact.to_string(),
        "a hub would round it: write fewer digits, or write a string, which `:string` after the column's name makes",
    )
}

fn out_of_range() -> Flaw {
    Flaw::new(
        NumberError::OutOfRange.to_string(),
        "a hub refuses it: add `:string` to the column's name to keep the digits as a text; in JSON put it in quotes",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::cells::WrittenNumber;
    use serde_json::json;

    fn twin_column(name: &str) -> TwinColumn {
        TwinColumn::parse(name).unwrap().unwrap()
    }

    fn value(name: &str, text: &str) -> Result<Value, String> {
        twin_column(name).value(Cell::Text(text)).map_err(|flaw| flaw.message)
    }

    fn of_json(name: &str, json: &str) -> Result<Value, String> {
        let value = serde_json::from_str(json).unwrap();
        let cell = JsonCell { value, numbers: vec![WrittenNumber { text: json.into(), character: 1 }] };
        twin_column(name).value(Cell::Json(&cell)).map_err(|flaw| flaw.message)
    }

    #[test]
    fn a_member_that_is_given_twice_is_refused() {
        for (name, text) in [
            ("tags.v", r#"{"a":1,"a":2}"#),
            ("tags.v", r#"[{"b":{"a":1,"a":1}}]"#),
            ("desired.w:json", r#"{"a":1, "a":2}"#),
        ] {
            let message = value(name, text).unwrap_err();
            assert!(
                message.starts_with("in this JSON, the member \"a\" is given twice, the second"),
                "{message}"
            );
        }
        assert_eq!(value("tags.v:string", r#"{"a":1,"a":2}"#), Ok(json!(r#"{"a":1,"a":2}"#)));
    }

    #[test]
    fn json_literals_keep_their_type_and_everything_else_is_a_string() {
        for (text, expected) in [
            ("5", json!(5)),
            ("-1.5", json!(-1.5)),
            ("true", json!(true)),
            ("[1,\"a\"]", json!([1, "a"])),
            ("{\"a\":1}", json!({"a": 1})),
            ("\"5\"", json!("5")),
            ("null", json!(null)),
            ("007", json!("007")),
            ("0x1F", json!("0x1F")),
            ("1.2.3", json!("1.2.3")),
            ("TRUE", json!("TRUE")),
            ("north", json!("north")),
            ("{{x}}", json!("{{x}}")),
            (" a", json!(" a")),
            ("1.0", json!(1.0)),
            ("1.10", json!("1.10")),
            ("1e5", json!("1e5")),
            ("12345E6", json!("12345E6")),
            ("1122334455E6", json!("1122334455E6")),
            ("-0", json!("-0")),
            ("+5", json!("+5")),
            (" 5", json!(" 5")),
            ("true ", json!("true ")),
            ("NaN", json!("NaN")),
            ("0.1234567890123456789", json!("0.1234567890123456789")),
        ] {
            assert_eq!(value("tags.a", text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_suffix_forces_the_type() {
        assert_eq!(value("tags.a:string", "5"), Ok(json!("5")));
        assert_eq!(value("tags.a:string", "1.2E+11"), Ok(json!("1.2E+11")));
        assert_eq!(value("tags.a:number", "1.2E+11"), Ok(json!(1.2e11)));
        assert_eq!(value("tags.a:bool", "TRUE"), Ok(json!(true)));
        assert_eq!(value("tags.a:json", "[1]"), Ok(json!([1])));
        for (name, text) in
            [("tags.a:number", "007"), ("tags.a:number", "3,5"), ("tags.a:bool", "1"), ("tags.a:json", "{a}")]
        {
            assert!(value(name, text).is_err(), "{name} {text}");
        }
    }

    #[test]
    fn a_typed_value_keeps_its_type_unless_the_suffix_says_otherwise() {
        assert_eq!(of_json("tags.a", "\"5\""), Ok(json!("5")));
        assert_eq!(of_json("tags.a:string", "5"), Ok(json!("5")));
        assert_eq!(of_json("tags.a:string", "1.10"), Ok(json!("1.10")));
        assert_eq!(of_json("tags.a:number", "\"5\""), Ok(json!(5)));
        assert_eq!(of_json("tags.a", "1.50"), Ok(json!(1.5)));
        assert!(of_json("tags.a:number", "true").is_err());
    }

    #[test]
    fn a_number_that_a_hub_would_change_is_an_error_wherever_it_is_meant_as_one() {
        for number in ["89014103211118510720", "-4503599627370497", "0.1234567890123456789", "1e999"] {
            let is_integer = number.bytes().all(|byte| matches!(byte, b'-' | b'0'..=b'9'));
            assert_eq!(value("tags.a", number).is_err(), is_integer, "{number}");
            assert!(value("tags.a:number", number).is_err(), "{number}");
            assert_eq!(value("tags.a:string", number), Ok(json!(number)));
            let nested = format!("{{\n \"b\": [1, {number}]}}");
            // JSON itself has no number as great as the last: without `:json` that is a text, and told of as one.
            let names = if number == "1e999" { &["tags.a:json"][..] } else { &["tags.a", "tags.a:json"] };
            for name in names {
                let message = value(name, &nested).unwrap_err();
                assert!(message.ends_with("(in this JSON at line 2, character 11)"), "{message}");
            }
        }
        assert_eq!(value("tags.a:json", "[1.50, 1e2]"), Ok(json!([1.5, 100.0])));
    }

    #[test]
    fn names_that_no_twin_may_have_are_refused() {
        for (name, wanted) in [
            ("tags.", "empty"),
            ("tags.a..b", "empty"),
            ("tags.$a", "not allowed in a name"),
            ("desired.a b", "not allowed in a name"),
            ("desired.a:int", "not known"),
            ("desired.1.2.3.4.5.6.7.8.9.10.11.12", "nested more than 10 deep"),
        ] {
            let message = TwinColumn::parse(name).unwrap().unwrap_err().message;
            assert!(message.contains(wanted), "{name}: {message}");
        }
        assert_eq!(twin_column("tags.urn:dev:string").path, ["urn:dev"]);
    }

    #[test]
    fn values_are_put_at_their_place() {
        let mut object = JsonObject::new();
        twin_column("desired.a.b").insert(&mut object, json!(1));
        twin_column("desired.a.c.d").insert(&mut object, json!(2));
        assert_eq!(Value::Object(object), json!({"a": {"b": 1, "c": {"d": 2}}}));
    }

    #[test]
    fn a_place_and_what_is_inside_it_overlap() {
        assert!(twin_column("tags.a").overlaps(&twin_column("tags.a.b")));
        assert!(twin_column("tags.a.b").overlaps(&twin_column("tags.a")));
        assert!(!twin_column("tags.a.b").overlaps(&twin_column("tags.a.c")));
        assert!(!twin_column("tags.a").overlaps(&twin_column("desired.a")));
        assert!(!twin_column("tags.a").overlaps(&twin_column("tags.ab")));
    }
}
