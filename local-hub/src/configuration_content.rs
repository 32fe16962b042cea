//! The content of a configuration: the settings that it has for a twin.

use std::collections::BTreeMap;

use hub_types::ErrorCode;
use hub_types::twin::JsonObject;
use serde_json::{Map, Value};

use crate::api_error::{ApiError, ApiResult};

pub(crate) use deployment::{Deployment, DeploymentStack, read_modules};

mod deployment;

/// The kind of twins that a configuration has settings for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContentKind {
    Device,
    /// An IoT Edge deployment.
    Edge,
    Module,
}

impl ContentKind {
    pub(crate) fn of(content: &Value) -> Self {
        let has = |kind: Self| content.get(kind.member()).is_some_and(|member| !member.is_null());
        [Self::Edge, Self::Module].into_iter().find(|kind| has(*kind)).unwrap_or(Self::Device)
    }

    /// The member of the content that has the settings.
    fn member(self) -> &'static str {
        match self {
            Self::Device => "deviceContent",
            Self::Edge => "modulesContent",
            Self::Module => "moduleContent",
        }
    }
}

/// The settings by their paths below `properties.desired`. The empty path stands for all desired
/// properties.
#[derive(Debug, Default)]
pub(crate) struct TwinSettings(BTreeMap<String, Value>);

impl TwinSettings {
    /// Reads the settings; a path outside of desired properties is refused.
    pub(crate) fn read(settings: &JsonObject) -> ApiResult<Self> {
        let read = settings.iter().map(|(path, value)| match (path.strip_prefix(DESIRED), value) {
            (Some(""), Value::Object(_)) => Ok((String::new(), value.clone())),
            (Some(""), _) => Err(invalid(format!("`{DESIRED}` is an object"))),
            (Some(rest), _) => match rest.strip_prefix('.') {
                Some(below) if below.split('.').all(|name| !name.is_empty()) => {
                    Ok((below.to_owned(), value.clone()))
                }
                _ => Err(not_below(path)),
            },
            (None, _) => Err(not_below(path)),
        });
        let settings = Self(read.collect::<ApiResult<_>>()?);
        settings.check_paths()?;
        Ok(settings)
    }

    /// Refuses a path through a value that is not an object, or deeper than a twin can be.
    fn check_paths(&self) -> ApiResult<()> {
        for path in self.0.keys() {
            if path.split('.').nth(MAX_NAMES).is_some() {
                return Err(invalid(format!("a path below {DESIRED} has at most {MAX_NAMES} names")));
            }
            let is_value = |above: &&str| self.0.get(*above).is_some_and(|value| !value.is_object());
            if let Some(above) = leading_to(path).find(is_value) {
                return Err(invalid(format!("`{above}` is set as a value and as an object")));
            }
        }
        Ok(())
    }

    /// The paths, each before its nested paths.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// All desired properties, if the settings name them as a whole.
    pub(crate) fn whole(&self) -> Option<&JsonObject> {
        self.0.get("")?.as_object()
    }

    /// The settings with paths, as one object.
    pub(crate) fn parts(&self) -> JsonObject {
        let mut parts = Map::new();
        for (path, value) in self.0.iter().filter(|(path, _)| !path.is_empty()) {
            set(&mut parts, path, value.clone());
        }
        parts
    }

    /// Merges everything into one object, which one write merges into a twin.
    pub(crate) fn into_patch(self) -> JsonObject {
        let mut patch = Map::new();
        self.write_into(&mut patch);
        patch
    }

    /// Sets each path to its value, replacing the earlier content.
    pub(crate) fn write_into(&self, desired: &mut JsonObject) {
        if let Some(whole) = self.whole() {
            desired.clone_from(whole);
        }
        for (path, value) in self.0.iter().filter(|(path, _)| !path.is_empty()) {
            set(desired, path, value.clone());
        }
    }
}

/// Refuses content that could never be written into a twin.
pub(crate) fn check_content(content: &Value) -> ApiResult<()> {
    if !content.is_object() {
        return Err(invalid("`content` is an object".to_owned()));
    }
    match modules_content(content) {
        Some(modules) => read_modules(modules).map(drop),
        None => twin_settings(content, ContentKind::of(content)).map(drop),
    }
}

/// The settings of a configuration for devices or single modules.
pub(crate) fn twin_settings(content: &Value, kind: ContentKind) -> ApiResult<Option<TwinSettings>> {
    let member = kind.member();
    match content.get(member) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(settings)) => TwinSettings::read(settings).map(Some),
        Some(_) => Err(invalid(format!("`{member}` is an object"))),
    }
}

/// The settings of an IoT Edge deployment.
pub(crate) fn modules_content(content: &Value) -> Option<&Value> {
    content.get(ContentKind::Edge.member()).filter(|modules| !modules.is_null())
}

/// The paths of the objects that contain this path, from the empty one on.
fn leading_to(path: &str) -> impl Iterator<Item = &str> {
    let whole = Some("").filter(|_| !path.is_empty());
    whole.into_iter().chain(path.match_indices('.').filter_map(|(end, _)| path.get(..end)))
}

fn set(object: &mut JsonObject, path: &str, value: Value) {
    let Some((first, rest)) = path.split_once('.') else {
        object.insert(path.to_owned(), value);
        return;
    };
    let inner = object.entry(first).or_insert(Value::Null);
    if !inner.is_object() {
        *inner = Value::Object(Map::new());
    }
    if let Value::Object(inner) = inner {
        set(inner, rest, value);
    }
}

fn not_below(path: &str) -> ApiError {
    invalid(format!("`{path}` is not below {DESIRED}"))
}

pub(crate) fn invalid(text: String) -> ApiError {
    ApiError::new(ErrorCode::InvalidConfigurationContent, text)
}

const DESIRED: &str = "properties.desired";
/// The largest number of names on a path: ten nested objects, as in a twin, with a value in the
/// innermost.
const MAX_NAMES: usize = 11;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(settings: Value) -> Result<Value, &'static str> {
        let settings = settings.as_object().cloned().unwrap();
        let read = TwinSettings::read(&settings).map_err(|error| error.name)?;
        Ok(Value::Object(read.into_patch()))
    }

    #[test]
    fn dotted_paths_become_objects() {
        let settings = json!({"properties.desired.a.b": 1, "properties.desired.a.c": {"d": 2}});
        assert_eq!(read(settings), Ok(json!({"a": {"b": 1, "c": {"d": 2}}})));
        let settings = json!({"properties.desired.a.b": 1, "properties.desired": {"a": {"c": 2}}});
        assert_eq!(read(settings), Ok(json!({"a": {"b": 1, "c": 2}})));
    }

    #[test]
    fn what_is_not_in_desired_properties_is_refused() {
        for settings in [
            json!({"tags.a": 1}),
            json!({"properties.reported.a": 1}),
            json!({"properties.desiredness": 1}),
            json!({"properties.desired.": 1}),
            json!({"properties.desired.a..b": 1}),
            json!({"properties.desired": 1}),
            json!({"properties.desired.a": 1, "properties.desired.a.b": 2}),
        ] {
            assert_eq!(read(settings.clone()), Err("InvalidConfigurationContent"), "{settings}");
        }
    }

    #[test]
    fn the_paths_that_lead_to_another_are_known() {
        for (path, leading) in [("", &[][..]), ("a", &[""]), ("a.b.c", &["", "a", "a.b"])] {
            assert_eq!(leading_to(path).collect::<Vec<_>>(), leading, "{path}");
        }
    }

    #[test]
    fn neither_a_deep_path_nor_many_paths_are_too_much() {
        let deep = |names: usize| {
            let path = format!("properties.desired.{}", vec!["a"; names].join("."));
            read(json!({ path: 1 }))
        };
        assert!(deep(11).is_ok());
        assert_eq!(deep(12), Err("InvalidConfigurationContent"));
        assert_eq!(deep(500_000), Err("InvalidConfigurationContent"));
        let many = (0..50_000).map(|number| (format!("properties.desired.a.n{number}"), json!(number)));
        assert!(read(Value::Object(many.collect())).is_ok());
    }
}
