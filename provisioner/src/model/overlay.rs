//! Values put onto others.

use hub_types::twin::JsonObject;
use serde_json::Value;

/// Puts `over` onto `base`: objects are merged, everything else replaces.
pub(crate) fn overlay(base: &mut JsonObject, over: &JsonObject) {
    for (name, value) in over {
        match (base.get_mut(name), value) {
            (Some(Value::Object(base)), Value::Object(over)) => overlay(base, over),
            _ => {
                base.insert(name.clone(), value.clone());
            }
        }
    }
}
