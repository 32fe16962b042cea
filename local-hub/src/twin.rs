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
pub(crate) use section::{Kind, Section, SectionDocument};

mod changes;
mod device_side;
mod properties;
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
}

impl TwinState {
    /// The twin of a new identity. What is given is part of its creation, not a write of its own.
    pub(crate) fn new(created: Timestamp, initial: TwinPatch) -> Self {
        let tags = match initial.tags {
            SectionPatch::Merge(object) if !object.is_empty() => {
                Some(Properties::new(object, tag_stamp(created)))
            }
            _ => None,
        };
        Self {
            etag: 1,
            tags,
            desired: Section::new(created, initial.desired),
            reported: Section::new(created, SectionPatch::Keep),
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
        twin.desired.patch(patch.desired, now);
        twin.check_sizes()?;
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
