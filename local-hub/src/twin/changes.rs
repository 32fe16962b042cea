//! The difference between two states of a twin, in the form of a twin change event.
//!
//! Source: "Use IoT Hub message routing", section "Non-telemetry event sources".

use hub_types::twin::JsonObject;
use serde_json::{Map, Value, json};

use super::{Properties, Section, TwinState};

impl TwinState {
    /// The values that have changed since a different state, with null for deleted ones, and the
    /// present versions.
    pub(crate) fn changes_since(&self, before: &Self) -> Value {
        let mut changes = Map::new();
        changes.insert("version".to_owned(), self.version().into());
        let tags = |twin: &Self| twin.tags.as_ref().map(Properties::to_object).unwrap_or_default();
        let changed_tags = difference(&tags(before), &tags(self));
        if !changed_tags.is_empty() {
            changes.insert("tags".to_owned(), Value::Object(changed_tags));
        }
        let mut properties = Map::new();
        for (name, before, after) in
            [("desired", &before.desired, &self.desired), ("reported", &before.reported, &self.reported)]
        {
            if before.version != after.version {
                properties.insert(name.to_owned(), section(before, after));
            }
        }
        if !properties.is_empty() {
            changes.insert("properties".to_owned(), Value::Object(properties));
        }
        Value::Object(changes)
    }
}

fn section(before: &Section, after: &Section) -> Value {
    let mut changed = difference(&before.properties.to_object(), &after.properties.to_object());
    changed.insert("$version".to_owned(), json!(after.version));
    Value::Object(changed)
}

/// The patch from `before` to `after`: RFC 7396, JSON Merge Patch.
fn difference(before: &JsonObject, after: &JsonObject) -> JsonObject {
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    let gone = gone.map(|name| (name.clone(), Value::Null));
    let changed = after.iter().filter(|(name, value)| before.get(*name) != Some(value));
    let changed = changed.map(|(name, value)| match (before.get(name), value) {
        (Some(Value::Object(before)), Value::Object(after)) => {
            (name.clone(), Value::Object(difference(before, after)))
        }
        _ => (name.clone(), value.clone()),
    });
    gone.chain(changed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_is_the_patch_that_makes_one_of_the_other() {
        let object = |value: Value| value.as_object().cloned().unwrap();
        let before = object(json!({"a": {"b": 1, "c": 2}, "d": 3, "e": [1]}));
        let after = object(json!({"a": {"b": 1, "c": 4}, "e": [1, 2], "f": {}}));
        let patch = json!({"a": {"c": 4}, "d": null, "e": [1, 2], "f": {}});
        assert_eq!(Value::Object(difference(&before, &after)), patch);
        assert_eq!(difference(&after, &after), JsonObject::new());
    }
}
