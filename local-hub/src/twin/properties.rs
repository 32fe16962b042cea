//! Properties: a tree of named values, each with the time and version of its last write.
//!
//! Values and their metadata are one tree, so the `$metadata` mirror always matches the values.
//! Names are sorted, so that lookups and merges need no index.

use std::collections::BTreeSet;

use hub_types::Timestamp;
use hub_types::twin::JsonObject;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

/// An object's members, sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<Property>")]
pub(crate) struct Properties(Vec<Property>);

/// One member: its name, its last write, its value. A large hub stores millions of them, so the
/// names on disk are short, and nothing is flattened, which would be parsed twice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Property {
    #[serde(rename = "n")]
    pub(crate) name: Box<str>,
    #[serde(rename = "s")]
    pub(crate) stamp: Stamp,
    #[serde(rename = "v")]
    pub(crate) value: PropertyValue,
}

/// A nested object, or a leaf. Arrays are leaves: they are only replaced as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum PropertyValue {
    #[serde(rename = "l")]
    Leaf(Value),
    #[serde(rename = "o")]
    Object(Properties),
}

/// The time of the last write, and the version of the section after this write.
///
/// The version is 0 if nothing was written since the section was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "(u64, u64)", into = "(u64, u64)")]
pub(crate) struct Stamp {
    pub(crate) at: Timestamp,
    pub(crate) version: u64,
}

impl Properties {
    /// The properties after a first write.
    pub(crate) fn new(object: JsonObject, stamp: Stamp) -> Self {
        let mut properties = Self::default();
        properties.merge(object, stamp);
        properties
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Property> {
        let index = self.0.binary_search_by(|property| (*property.name).cmp(name)).ok()?;
        self.0.get(index)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Property> {
        self.0.iter()
    }

    /// Merges a patch: objects member by member, other values as a whole; null deletes. The members
    /// of the patch get the stamp.
    pub(crate) fn merge(&mut self, patch: JsonObject, stamp: Stamp) {
        let mut patch: Vec<(String, Value)> = patch.into_iter().collect();
        patch.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let mut old = std::mem::take(&mut self.0).into_iter().peekable();
        self.0.reserve_exact(old.len().max(patch.len()));
        for (name, value) in patch {
            while let Some(before) = old.next_if(|property| *property.name < *name) {
                self.0.push(before);
            }
            let current = old.next_if(|property| *property.name == *name);
            self.0.extend(merged(name, current, value, stamp));
        }
        self.0.extend(old);
        self.0.shrink_to_fit();
    }

    /// Adds every version in the metadata of these properties.
    pub(super) fn collect_versions(&self, versions: &mut BTreeSet<u64>) {
        for property in &self.0 {
            versions.insert(property.stamp.version);
            if let PropertyValue::Object(inner) = &property.value {
                inner.collect_versions(versions);
            }
        }
    }

    /// The values without their stamps.
    pub(crate) fn to_object(&self) -> JsonObject {
        let members = self.0.iter();
        members.map(|property| (property.name.as_ref().to_owned(), property.value.to_json())).collect()
    }
}

impl From<Vec<Property>> for Properties {
    /// Restores properties from a record, without spare capacity, because there are millions of
    /// them.
    fn from(mut properties: Vec<Property>) -> Self {
        properties.shrink_to_fit();
        Self(properties)
    }
}

impl PropertyValue {
    fn to_json(&self) -> Value {
        match self {
            Self::Leaf(value) => value.clone(),
            Self::Object(properties) => Value::Object(properties.to_object()),
        }
    }
}

impl TryFrom<(u64, u64)> for Stamp {
    type Error = &'static str;

    fn try_from((ticks, version): (u64, u64)) -> Result<Self, Self::Error> {
        let at = Timestamp::from_ticks(ticks).ok_or("a time is behind the year 9999")?;
        Ok(Self { at, version })
    }
}

impl From<Stamp> for (u64, u64) {
    fn from(stamp: Stamp) -> Self {
        (stamp.at.ticks(), stamp.version)
    }
}

/// The values as JSON, without their stamps.
pub(crate) struct Values<'a>(pub(crate) &'a Properties);

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.0.len()))?;
        self.serialize_members(&mut map)?;
        map.end()
    }
}

impl Values<'_> {
    /// Serializes the members into an object with other members.
    pub(crate) fn serialize_members<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        for property in &self.0.0 {
            match &property.value {
                PropertyValue::Leaf(value) => map.serialize_entry(&property.name, value)?,
                PropertyValue::Object(properties) => {
                    map.serialize_entry(&property.name, &Values(properties))?;
                }
            }
        }
        Ok(())
    }
}

/// One member after a patch with its value; `None` if the patch deletes it.
fn merged(name: String, current: Option<Property>, value: Value, stamp: Stamp) -> Option<Property> {
    let value = match value {
        Value::Null => return None,
        Value::Object(patch) => {
            let mut object = match current.map(|property| property.value) {
                Some(PropertyValue::Object(object)) => object,
                _ => Properties::default(),
            };
            object.merge(patch, stamp);
            PropertyValue::Object(object)
        }
        leaf => PropertyValue::Leaf(leaf),
    };
    Some(Property { name: name.into(), stamp, value })
}
