//! Twins: their state, how writes merge into it, and how it counts them.
//!
//! What a service may write, and the rules it obeys, are in [`hub_types::twin`]. The counters: the
//! etag counts the service's writes, each section its own, and `version` is the sum of the twin's
//! etag and the reported section's version.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hub_types::twin::{JsonObject, Nulls, SectionPatch, TwinPatch, TwinRuleError, check_section};
use hub_types::{Etag, Timestamp};
use serde::{Deserialize, Serialize};

pub(crate) use device_side::{DesiredNotice, DesiredWrite};
use properties::Stamp;
pub(crate) use properties::{Properties, PropertyValue, Values};
pub(crate) use rolled_out::RolledOut;
pub(crate) use section::{Kind, Section, SectionDocument, WriteOrigin};

mod changes;
mod device_side;
mod properties;
mod rolled_out;
mod section;
#[cfg(test)]
mod tests;

/// The part of a twin that is its own; the rest mirrors the identity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TwinState {
    /// Counts the service's writes.
    #[serde(rename = "e")]
    etag: u64,
    /// Absent until first written.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub(crate) tags: Option<Properties>,
    #[serde(rename = "d")]
    pub(crate) desired: Section,
    #[serde(rename = "r")]
    pub(crate) reported: Section,
    /// The configurations that aim at the identity, if any do.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub(crate) configurations: Option<Box<RolledOut>>,
}

impl TwinState {
    /// The twin of a new device, or of a module made by PUT, whose sections come into being only with
    /// their first write ([`Timestamp::NEVER`]). What is given is part of the creation, not a write of
    /// its own, and a live hub dates it to the year 1.
    pub(crate) fn new(created: Timestamp, initial: TwinPatch) -> Self {
        let unwritten = Stamp { at: created, version: 0 };
        let desired = match &initial.desired {
            SectionPatch::Merge(object) if !object.is_empty() => Stamp { at: Timestamp::NEVER, version: 1 },
            _ => unwritten,
        };
        Self::from_parts(created, initial, desired, unwritten)
    }

    /// The twin of a module that a bulk call makes: a live hub dates both its sections, and gives both
    /// a version.
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

    /// The base64 of the counter as eight bytes, big end first.
    pub(crate) fn etag(&self) -> Etag {
        Etag::new(&STANDARD.encode(self.etag.to_be_bytes()))
    }

    pub(crate) fn version(&self) -> u64 {
        self.etag + self.reported.version
    }

    /// The twin after a PATCH; the error names the rule that the merged whole would break.
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

    /// The twin after a configuration has written its desired properties, which is a write like others
    /// but for the metadata.
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

    /// The twin after a PUT: tags and desired properties are what is given and nothing else.
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

    /// Whether tags and desired properties have the same values, whatever the counters say.
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

    /// A patch that is legal by itself can still make the whole too large.
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

/// Tags have no metadata on the wire; they bear the time all the same.
fn tag_stamp(at: Timestamp) -> Stamp {
    Stamp { at, version: 0 }
}
