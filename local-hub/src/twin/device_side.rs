//! A device's or module's view of its twin: reads, reports and notifications.

use hub_types::Timestamp;
use hub_types::twin::{JsonObject, Nulls, SectionPatch, TwinRuleError, check_section};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::section::Section;
use super::{TwinState, Values};

impl TwinState {
    /// The twin in the form that its device reads: no tags, no metadata. Source: "Understand and
    /// use device twins in IoT Hub".
    pub(crate) fn device_view(&self) -> impl Serialize {
        DeviceView(self)
    }

    /// The twin after the device has patched its reported properties.
    pub(crate) fn reported(&self, patch: JsonObject, now: Timestamp) -> Result<Self, TwinRuleError> {
        use hub_types::twin::Section::Reported;
        check_section(Reported, &patch, Nulls::Delete)?;
        let mut twin = self.clone();
        twin.reported.patch(SectionPatch::Merge(patch), now);
        check_section(Reported, &twin.reported.properties.to_object(), Nulls::Refuse)?;
        Ok(twin)
    }
}

/// A service's write to desired properties.
#[derive(Debug)]
pub(crate) enum DesiredWrite {
    Patch(SectionPatch),
    Replace,
}

impl DesiredWrite {
    /// The notification for a connected device: the patch, or after a replacement the whole
    /// section, with the new version. Deleted members are null, because SDKs merge notifications
    /// into their copy: Microsoft's own test "can null out all desired properties" requires it.
    pub(crate) fn notice(self, before: &Section, after: &Section) -> DesiredNotice {
        let mut notice = match self {
            Self::Patch(SectionPatch::Merge(patch)) => patch,
            Self::Patch(SectionPatch::Clear | SectionPatch::Keep) | Self::Replace => {
                let gone = before.properties.iter().map(|property| (property.name.to_string(), Value::Null));
                gone.chain(after.properties.to_object()).collect()
            }
        };
        notice.insert("$version".to_owned(), after.version.into());
        let payload = Value::Object(notice).to_string().into_bytes();
        DesiredNotice { version: after.version, payload }
    }
}

/// A notification of changed desired properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DesiredNotice {
    pub(crate) version: u64,
    /// The payload as JSON.
    pub(crate) payload: Vec<u8>,
}

struct DeviceView<'a>(&'a TwinState);

impl Serialize for DeviceView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("desired", &SectionView(&self.0.desired))?;
        map.serialize_entry("reported", &SectionView(&self.0.reported))?;
        map.end()
    }
}

struct SectionView<'a>(&'a Section);

impl Serialize for SectionView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        Values(&self.0.properties).serialize_members(&mut map)?;
        map.serialize_entry("$version", &self.0.version)?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::properties::Stamp;
    use super::*;

    fn object(value: Value) -> JsonObject {
        value.as_object().cloned().unwrap()
    }

    fn section(value: Value) -> Section {
        Section::new(Stamp { at: Timestamp::NEVER, version: 1 }, SectionPatch::Merge(object(value)))
    }

    fn notice(write: DesiredWrite, before: Value, after: Value) -> Value {
        serde_json::from_slice(&write.notice(&section(before), &section(after)).payload).unwrap()
    }

    #[test]
    fn a_patch_is_passed_on_as_it_was_sent() {
        let patch = DesiredWrite::Patch(SectionPatch::Merge(object(json!({"a": null, "b": {"c": 2}}))));
        let told = notice(patch, json!({"a": 1, "b": {"d": 3}}), json!({"b": {"c": 2, "d": 3}}));
        assert_eq!(told, json!({"a": null, "b": {"c": 2}, "$version": 1}));
    }

    #[test]
    fn what_a_replacement_or_a_clearing_removes_is_null() {
        let told = notice(DesiredWrite::Replace, json!({"a": 1, "b": 2}), json!({"b": 3, "c": 4}));
        assert_eq!(told, json!({"a": null, "b": 3, "c": 4, "$version": 1}));
        let told = notice(DesiredWrite::Patch(SectionPatch::Clear), json!({"a": 1, "b": 2}), json!({}));
        assert_eq!(told, json!({"a": null, "b": null, "$version": 1}));
    }
}
