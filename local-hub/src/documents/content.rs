//! The settings that a configuration has for one twin.

use hub_types::ErrorCode;
use hub_types::twin::JsonObject;
use serde_json::{Map, Value};

use crate::refusal::Refusal;
use crate::registry::Answer;

/// What the settings say of desired properties: all of them, and parts of them by dotted paths.
#[derive(Debug, Default)]
pub(crate) struct TwinSettings {
    /// `properties.desired`
    pub(crate) whole: Option<JsonObject>,
    /// `properties.desired.…`
    pub(crate) parts: JsonObject,
}

impl TwinSettings {
    /// Reads the settings; a path that is no part of desired properties is refused.
    pub(crate) fn read(settings: &JsonObject) -> Answer<Self> {
        let mut read = Self::default();
        for (path, value) in settings {
            match (path.as_str(), value) {
                ("properties.desired", Value::Object(whole)) => read.whole = Some(whole.clone()),
                (path, value) => match path.strip_prefix("properties.desired.") {
                    Some(rest) => insert(&mut read.parts, rest, value.clone())?,
                    None => return Err(invalid(format!("`{path}` is not below properties.desired"))),
                },
            }
        }
        Ok(read)
    }

    /// Everything in one object, as one write puts it into a twin.
    pub(crate) fn into_patch(self) -> JsonObject {
        let mut patch = self.whole.unwrap_or_default();
        patch.extend(self.parts);
        patch
    }
}

fn insert(object: &mut JsonObject, path: &str, value: Value) -> Answer<()> {
    let Some((first, rest)) = path.split_once('.') else {
        object.insert(path.to_owned(), value);
        return Ok(());
    };
    match object.entry(first).or_insert_with(|| Value::Object(Map::new())) {
        Value::Object(inner) => insert(inner, rest, value),
        _ => Err(invalid(format!("`{first}` is set as a value and as an object"))),
    }
}

pub(crate) fn invalid(text: String) -> Refusal {
    Refusal::new(ErrorCode::InvalidConfigurationContent, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(settings: Value) -> Result<Value, &'static str> {
        let settings = settings.as_object().cloned().unwrap();
        let read = TwinSettings::read(&settings).map_err(|refusal| refusal.name)?;
        Ok(Value::Object(read.into_patch()))
    }

    #[test]
    fn dotted_paths_become_objects() {
        let settings = json!({"properties.desired.a.b": 1, "properties.desired.a.c": {"d": 2}});
        assert_eq!(read(settings), Ok(json!({"a": {"b": 1, "c": {"d": 2}}})));
    }

    #[test]
    fn what_is_not_in_desired_properties_is_refused() {
        for settings in [
            json!({"tags.a": 1}),
            json!({"properties.reported.a": 1}),
            json!({"properties.desired.a": 1, "properties.desired.a.b": 2}),
        ] {
            assert_eq!(read(settings), Err("InvalidConfigurationContent"));
        }
    }
}
