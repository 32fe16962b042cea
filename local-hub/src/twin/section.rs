//! A section of properties, desired or reported: its tree, its counter, its last write.

use hub_types::Timestamp;
use hub_types::twin::{JsonObject, SectionPatch};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use super::properties::{Properties, PropertyValue, Stamp, Values};

/// Desired or reported properties with the hub's bookkeeping.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Section {
    #[serde(rename = "p")]
    pub(crate) properties: Properties,
    #[serde(rename = "s")]
    pub(crate) stamp: Stamp,
    #[serde(rename = "v")]
    pub(crate) version: u64,
}

impl Section {
    /// A section as it comes into being, with version 1. Only what was written then bears it.
    pub(crate) fn new(created: Timestamp, patch: SectionPatch) -> Self {
        let properties = match patch {
            SectionPatch::Merge(object) if !object.is_empty() => {
                let stamp = Stamp { at: created, version: 1 };
                Properties::new(object, stamp)
            }
            _ => Properties::default(),
        };
        let version = u64::from(!properties.is_empty());
        Self { stamp: Stamp { at: created, version }, properties, version: 1 }
    }

    /// Writes a patch, which makes the next version.
    pub(crate) fn patch(&mut self, patch: SectionPatch, now: Timestamp) {
        let stamp = self.next_stamp(now);
        match patch {
            SectionPatch::Keep => return,
            SectionPatch::Clear => self.properties = Properties::default(),
            SectionPatch::Merge(object) => self.properties.merge(object, stamp),
        }
        self.written(stamp);
    }

    /// Replaces everything, which makes the next version.
    pub(crate) fn replace(&mut self, object: JsonObject, now: Timestamp) {
        let stamp = self.next_stamp(now);
        self.properties = Properties::new(object, stamp);
        self.written(stamp);
    }

    fn next_stamp(&self, now: Timestamp) -> Stamp {
        Stamp { at: now, version: self.version + 1 }
    }

    fn written(&mut self, stamp: Stamp) {
        self.stamp = stamp;
        self.version = stamp.version;
    }
}

/// Which section it is decides what its metadata shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Metadata bears times and versions.
    Desired,
    /// Metadata bears times only.
    Reported,
}

/// A section as the wire has it: the values, then `$metadata` and `$version`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SectionDocument<'a> {
    pub(crate) section: &'a Section,
    pub(crate) kind: Kind,
}

impl<'a> SectionDocument<'a> {
    pub(crate) fn metadata(&self) -> impl Serialize + use<'a> {
        Metadata { stamp: self.section.stamp, children: Some(&self.section.properties), kind: self.kind }
    }
}

impl Serialize for SectionDocument<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        Values(&self.section.properties).serialize_members(&mut map)?;
        map.serialize_entry("$metadata", &self.metadata())?;
        map.serialize_entry("$version", &self.section.version)?;
        map.end()
    }
}

/// The mirror of one object or leaf.
struct Metadata<'a> {
    stamp: Stamp,
    children: Option<&'a Properties>,
    kind: Kind,
}

impl Serialize for Metadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("$lastUpdated", &self.stamp.at)?;
        if self.kind == Kind::Desired && self.stamp.version != 0 {
            map.serialize_entry("$lastUpdatedVersion", &self.stamp.version)?;
        }
        for property in self.children.iter().flat_map(|children| children.iter()) {
            let mirror = Metadata {
                stamp: property.stamp,
                children: match &property.value {
                    PropertyValue::Object(properties) => Some(properties),
                    PropertyValue::Leaf(_) => None,
                },
                kind: self.kind,
            };
            map.serialize_entry(&property.name, &mirror)?;
        }
        map.end()
    }
}
