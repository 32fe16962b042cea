//! A section of properties, desired or reported: its tree, its version counter, its last write.

use std::collections::{BTreeMap, BTreeSet};

use hub_types::Timestamp;
use hub_types::twin::{JsonObject, SectionPatch};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use super::properties::{Properties, PropertyValue, Stamp, Values};

/// Desired or reported properties with the hub's metadata.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Section {
    #[serde(rename = "p")]
    pub(crate) properties: Properties,
    #[serde(rename = "s")]
    pub(crate) stamp: Stamp,
    #[serde(rename = "v")]
    pub(crate) version: u64,
    /// The versions that configurations wrote, boxed because they are rare.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    origins: Option<Box<Origins>>,
}

/// The configurations that wrote versions of a section, by version. Most sections have none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Origins(BTreeMap<u64, WriteOrigin>);

/// The configuration that wrote a version of a section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WriteOrigin {
    pub(crate) configuration: String,
    /// The ticks of the configuration's last change.
    pub(crate) digest: u64,
}

impl Section {
    /// A new section, with version 1.
    pub(crate) fn new(stamp: Stamp, patch: SectionPatch) -> Self {
        let properties = match patch {
            SectionPatch::Merge(object) => Properties::new(object, stamp),
            SectionPatch::Clear | SectionPatch::Keep => Properties::default(),
        };
        Self { stamp, properties, version: 1, origins: None }
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

    /// Replaces all properties, which makes the next version.
    pub(crate) fn replace(&mut self, object: JsonObject, now: Timestamp) {
        let stamp = self.next_stamp(now);
        self.properties = Properties::new(object, stamp);
        self.origins = None;
        self.written(stamp);
    }

    /// Writes the settings of a configuration, which makes the next version.
    pub(crate) fn roll_out(&mut self, object: JsonObject, origin: WriteOrigin, now: Timestamp) {
        let stamp = self.next_stamp(now);
        self.properties.merge(object, stamp);
        self.written(stamp);
        let Origins(origins) = &mut **self.origins.get_or_insert_default();
        origins.insert(stamp.version, origin);
        // Versions that later writes have covered are shown nowhere any more.
        let mut shown = BTreeSet::new();
        self.properties.collect_versions(&mut shown);
        origins.retain(|version, _| shown.contains(version));
    }

    /// Replaces all properties with the settings of configurations, which makes the next version.
    pub(crate) fn deploy(&mut self, object: JsonObject, origin: WriteOrigin, now: Timestamp) {
        self.replace(object, now);
        self.origins = Some(Box::new(Origins(BTreeMap::from([(self.version, origin)]))));
    }

    fn next_stamp(&self, now: Timestamp) -> Stamp {
        Stamp { at: now, version: self.version + 1 }
    }

    fn written(&mut self, stamp: Stamp) {
        self.stamp = stamp;
        self.version = stamp.version;
    }
}

/// The kind of the section, on which its metadata depends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SectionKind {
    /// Metadata contains times and versions.
    Desired,
    /// Metadata contains times, and versions only in a special case.
    Reported,
}

/// A section in its wire form: the values, then `$metadata` and `$version`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SectionDocument<'a> {
    pub(crate) section: &'a Section,
    pub(crate) kind: SectionKind,
}

impl<'a> SectionDocument<'a> {
    pub(crate) fn metadata(&self) -> impl Serialize + use<'a> {
        Metadata {
            stamp: self.section.stamp,
            children: Some(&self.section.properties),
            kind: self.kind,
            origins: self.section.origins.as_deref(),
            is_root: true,
        }
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

/// The metadata of one object or leaf.
struct Metadata<'a> {
    stamp: Stamp,
    children: Option<&'a Properties>,
    kind: SectionKind,
    origins: Option<&'a Origins>,
    is_root: bool,
}

impl Metadata<'_> {
    /// Returns true if a version is shown: for reported properties only those of the first write,
    /// and only if it has one.
    fn shows_version(&self) -> bool {
        match self.kind {
            SectionKind::Desired => self.stamp.version != 0,
            SectionKind::Reported => self.stamp.version == 1,
        }
    }

    fn origin(&self) -> Option<&WriteOrigin> {
        self.origins.filter(|_| !self.is_root)?.0.get(&self.stamp.version)
    }
}

impl Serialize for Metadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("$lastUpdated", &self.stamp.at)?;
        if self.shows_version() {
            map.serialize_entry("$lastUpdatedVersion", &self.stamp.version)?;
        }
        if let Some(origin) = self.origin() {
            map.serialize_entry("$lastUpdatedBy", &origin.configuration)?;
            map.serialize_entry("$lastUpdatedByDigest", &origin.digest.to_string())?;
        }
        for property in self.children.iter().flat_map(|children| children.iter()) {
            let mirror = Metadata {
                stamp: property.stamp,
                children: match &property.value {
                    PropertyValue::Object(properties) => Some(properties),
                    PropertyValue::Leaf(_) => None,
                },
                kind: self.kind,
                origins: self.origins,
                is_root: false,
            };
            map.serialize_entry(&property.name, &mirror)?;
        }
        map.end()
    }
}
