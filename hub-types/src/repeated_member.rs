//! Members of JSON objects that are given twice. Most parsers keep the last one and lose the others.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use memchr::memchr;
use serde::Deserializer;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};

use crate::shown::ShownText;

/// A member that an object of a JSON text has twice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the member {} is given twice, the second time at line {line} column {column}", ShownText(name))]
pub struct RepeatedMember {
    /// Its name.
    pub name: String,
    /// The line of the second one in the text, from 1.
    pub line: usize,
    /// The column at which its name ends, in bytes, from 1.
    pub column: usize,
}

/// Returns an error if any object of a JSON text has a member twice. A text that is not JSON has none.
pub fn check(json: &[u8]) -> Result<(), RepeatedMember> {
    if memchr(b'{', json).is_none() {
        return Ok(());
    }
    let repeated = RefCell::new(None);
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let read = Node { repeated: &repeated }.deserialize(&mut deserializer);
    match (read, repeated.into_inner()) {
        (Err(error), Some(name)) => Err(RepeatedMember { name, line: error.line(), column: error.column() }),
        _ => Ok(()),
    }
}

/// A value whose objects are looked through.
#[derive(Clone, Copy)]
struct Node<'r> {
    /// The name of the first member that is there twice.
    repeated: &'r RefCell<Option<String>>,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = members.next_key::<String>()? {
            if names.contains(&name) {
                self.repeated.replace(Some(name));
                return Err(A::Error::custom("a member is given twice"));
            }
            names.insert(name);
            members.next_value_seed(self)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_is_given_twice_is_found_wherever_it_is() {
        for json in [
            r#"{"a":1,"a":2}"#,
            r#"[1, {"a": {"b": null}, "a": []}]"#,
            "{\"x\": {\n  \"a\": 1.5,\n  \"a\": 1.5}}",
            r#"{"a": "x", "\u0061": true}"#,
        ] {
            let found = check(json.as_bytes()).unwrap_err();
            assert_eq!(found.name, "a", "{json}");
        }
        let found = check(b"{\"x\": {\n  \"a\": 1,\n  \"a\": 2}}").unwrap_err();
        assert_eq!(found.to_string(), "the member \"a\" is given twice, the second time at line 3 column 5");
    }

    #[test]
    fn a_text_without_such_a_member_passes_and_so_does_what_is_no_json() {
        for text in [r#"{"a":{"a":{"a":1}},"A":-1}"#, r#"[{"a":1},{"a":2}]"#, "{", "", "{a", "{\"a\":1", "7"]
        {
            assert_eq!(check(text.as_bytes()), Ok(()), "{text}");
        }
    }
}
