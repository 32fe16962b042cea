//! Twins: their state, the merging of writes, and their version counters.
//!
//! The writable parts and their rules are in [`hub_types::twin`]. The counters: the etag counts the
//! service's writes, each section its own, and `version` is the sum of the twin's etag and the
//! reported section's version.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hub_types::twin::{JsonObject, Nulls, SectionPatch, TwinPatch, TwinRuleError, check_section};
use hub_types::{Etag, Timestamp};
use serde::{Deserialize, Serialize};

pub(crate) use device_side::{DesiredNotice, DesiredWrite};
use properties::Stamp;
pub(crate) use properties::{Properties, PropertyValue, Values};
pub(crate) use rolled_out::RolledOut;
pub(crate) use section::{Section, SectionDocument, SectionKind, WriteOrigin};

mod changes;
mod device_side;
mod properties;
mod rolled_out;
mod section;
#[cfg(test)]
mod tests;

/// The twin's own state; the remaining members mirror the identity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TwinState {
    /// The number of the service's writes.
    #[serde(rename = "e")]
    etag: u64,
    /// The tags; absent until first written.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub(crate) tags: Option<Properties>,
    #[serde(rename = "d")]
    pub(crate) desired: Section,
    #[serde(rename = "r")]
    pub(crate) reported: Section,
    /// The configurations that target the identity, if there are any.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub(crate) configurations: Option<Box<RolledOut>>,
}

impl TwinState {
    /// The twin of a new device, or of a module made by PUT. Its sections are created only with
    /// their first write ([`Timestamp::NEVER`]). The initial values are part of the creation, not a
    /// separate write, and a live hub dates them to the year 1.
    pub(crate) fn new(created: Timestamp, initial: TwinPatch) -> Self {
        let unwritten = Stamp { at: created, version: 0 };
        let desired = match &initial.desired {
            SectionPatch::Merge(object) if !object.is_empty() => Stamp { at: Timestamp::NEVER, version: 1 },
            _ => unwritten,
        };
        Self::from_parts(created, initial, desired, unwritten)
    }

    /// The twin of a module that a bulk call creates: a live hub dates both its sections, and gives
    /// both a version.
    pub(crate) fn of_module_in_bulk(created: Timestamp, initial: TwinPatch) -> Self {
        let stamp = Stamp { at: created, version: 1 };
        Self::from_parts(created, initial, stamp, stamp)
    }

    fn from_parts(created: Timestamp, initial: TwinPatch, desired: Stamp, reported: Stamp) -> Self {
        let tags = match initial.tags {
            SectionPatch::Merge(object) if !object.is_empty() => {
                Some(Properties::new(object, tag_stamp(created)))
            }
            _ => None,
        };
        Self {
            etag: 1,
            tags,
            desired: Section::new(desired, initial.desired),
            reported: Section::new(reported, SectionPatch::Keep),
            configurations: None,
        }
    }

    /// The base64 of the counter as eight big-endian bytes.
    pub(crate) fn etag(&self) -> Etag {
        Etag::new(&STANDARD.encode(self.etag.to_be_bytes()))
    }

    pub(crate) fn version(&self) -> u64 {
        self.etag + self.reported.version
    }

    /// The twin after a PATCH; the error names the rule that the merged result would break.
    pub(crate) fn patched(&self, patch: TwinPatch, now: Timestamp) -> Result<Self, TwinRuleError> {
        if patch == TwinPatch::default() {
            return Ok(self.clone());
        }
        let mut twin = self.clone();
        twin.etag += 1;
        twin.patch_tags(patch.tags, now);
        // Clients write whole twins back to change the tags: an empty section is no write to it.
        if !matches!(&patch.desired, SectionPatch::Merge(object) if object.is_empty()) {
            twin.desired.patch(patch.desired, now);
        }
        twin.check_sizes()?;
        Ok(twin)
    }

    /// The twin after a configuration has written its desired properties: a write like others
    /// except for the metadata.
    pub(crate) fn rolled_out(
        &self,
        desired: JsonObject,
        origin: WriteOrigin,
        now: Timestamp,
    ) -> Result<Self, TwinRuleError> {
        let mut twin = self.clone();
        twin.etag += 1;
        twin.desired.roll_out(desired, origin, now);
        twin.check_sizes()?;
        Ok(twin)
    }

    /// The twin after IoT Edge deployments have set its desired properties.
    pub(crate) fn deployed(
        &self,
        desired: JsonObject,
        origin: WriteOrigin,
        now: Timestamp,
    ) -> Result<Self, TwinRuleError> {
        check_section(hub_types::twin::Section::Desired, &desired, Nulls::Refuse)?;
        let mut twin = self.clone();
        twin.etag += 1;
        twin.desired.deploy(desired, origin, now);
        Ok(twin)
    }

    /// The twin after a PUT: tags and desired properties have exactly the given values.
    pub(crate) fn replaced(&self, with: TwinPatch, now: Timestamp) -> Self {
        let mut twin = self.clone();
        twin.etag += 1;
        twin.desired.replace(object_of(with.desired), now);
        let tags = object_of(with.tags);
        if twin.tags.is_some() || !tags.is_empty() {
            twin.tags = Some(Properties::new(tags, tag_stamp(now)));
        }
        twin
    }

    /// Returns true if tags and desired properties have the same values, regardless of the
    /// counters.
    pub(crate) fn has_values_of(&self, other: &Self) -> bool {
        let tags = |twin: &Self| twin.tags.as_ref().map(Properties::to_object);
        tags(self) == tags(other)
            && self.desired.properties.to_object() == other.desired.properties.to_object()
    }

    fn patch_tags(&mut self, patch: SectionPatch, now: Timestamp) {
        match (patch, &mut self.tags) {
            (SectionPatch::Keep, _) | (SectionPatch::Clear, None) => {}
            (SectionPatch::Clear, Some(tags)) => *tags = Properties::default(),
            (SectionPatch::Merge(object), Some(tags)) => tags.merge(object, tag_stamp(now)),
            (SectionPatch::Merge(object), none) => {
                *none = Some(Properties::new(object, tag_stamp(now))).filter(|tags| !tags.is_empty());
            }
        }
    }

    /// Checks the sizes of the sections: a valid patch can make a section too large.
    fn check_sizes(&self) -> Result<(), TwinRuleError> {
        use hub_types::twin::Section::{Desired, Tags};
        if let Some(tags) = &self.tags {
            check_section(Tags, &tags.to_object(), Nulls::Refuse)?;
        }
        check_section(Desired, &self.desired.properties.to_object(), Nulls::Refuse)
    }
}

fn object_of(patch: SectionPatch) -> JsonObject {
    match patch {
        SectionPatch::Merge(object) => object,
        SectionPatch::Clear | SectionPatch::Keep => JsonObject::new(),
    }
}

/// The stamp of tags, which have no metadata on the wire, but keep the time internally.
fn tag_stamp(at: Timestamp) -> Stamp {
    Stamp { at, version: 0 }
}
