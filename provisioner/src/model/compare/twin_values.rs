//! The comparison of the values of a twin's section with those of the batch.

use hub_types::twin::JsonObject;
use serde_json::Value;

use super::{Difference, DifferencePath};

/// The path of a value, by the names on the way to it.
pub(super) type PathOf = fn(Vec<String>) -> DifferencePath;

/// The comparison of one section, which notes differences as it finds them.
pub(super) struct SectionComparison<'v, 'd> {
    path_of: PathOf,
    /// The names on the way to the values that are compared.
    names: Vec<&'v str>,
    differences: &'d mut Vec<Difference>,
}

impl<'v, 'd> SectionComparison<'v, 'd> {
    pub(super) fn new(path_of: PathOf, differences: &'d mut Vec<Difference>) -> Self {
        Self { path_of, names: Vec::new(), differences }
    }

    /// Notes every value of `expected` that `found` does not hold.
    pub(super) fn note_missing(&mut self, expected: &'v JsonObject, found: Option<&'v JsonObject>) {
        for (name, expected) in expected {
            match (expected, found.and_then(|found| found.get(name))) {
                (expected, Some(found)) if same_value(expected, found) => {}
                (Value::Object(expected), Some(Value::Object(found))) => {
                    self.within(name, |inner| inner.note_missing(expected, Some(found)));
                }
                (expected, found) => self.note(name, expected, found.unwrap_or(&Value::Null)),
            }
        }
    }

    /// Notes every value of `found` that `expected` does not name.
    pub(super) fn note_extra(&mut self, expected: &'v JsonObject, found: &'v JsonObject) {
        for (name, found) in found {
            match (expected.get(name), found) {
                (Some(Value::Object(expected)), Value::Object(found)) => {
                    self.within(name, |inner| inner.note_extra(expected, found));
                }
                (Some(_), _) => {}
                (None, found) => self.note(name, &Value::Null, found),
            }
        }
    }

    fn within(&mut self, name: &'v str, compare: impl FnOnce(&mut Self)) {
        self.names.push(name);
        compare(self);
        self.names.pop();
    }

    fn note(&mut self, name: &str, expected: &Value, found: &Value) {
        let names = self.names.iter().copied().chain([name]).map(str::to_owned).collect();
        let path = (self.path_of)(names);
        self.differences.push(Difference::new(path, expected.clone(), found.clone()));
    }
}

/// Equality of JSON values in which `1` and `1.0` are one number.
fn same_value(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left == right || left.as_f64() == right.as_f64(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same_value(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(name, value)| right.get(name).is_some_and(|other| same_value(value, other)))
        }
        _ => left == right,
    }
}
