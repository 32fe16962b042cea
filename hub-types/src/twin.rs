//! Twins: the documents ([`Twin`]), the part that a service may write ([`TwinPatch`]), and the
//! rules for tags and properties ([`check_section`]). The hub implements the merging of writes.
//!
//! Source of the rules: "Understand and use device twins in IoT Hub", and what a live hub did.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::authentication::X509Thumbprint;
use crate::etag::Etag;
use crate::id::{DeviceId, IdentityId, ModuleId};
use crate::identity::{Capabilities, ConnectionState, Status, StatusReason};
use crate::timestamp::Timestamp;

pub use numbers::{check_numbers, number_errors};
pub use rules::{Nulls, Section, TwinRuleError, check_section, section_size};

mod numbers;
mod rules;

/// A JSON object.
pub type JsonObject = Map<String, Value>;

/// The twin of a device or a module as the hub returns it, in the hub's member order.
///
/// Members that a live hub leaves out are left out here: a null in `tags` or `capabilities` breaks
/// the C# client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Twin {
    /// The device.
    pub device_id: DeviceId,
    /// The module, in the twin of a module.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module_id: Option<ModuleId>,
    /// The twin's ETag.
    pub etag: Etag,
    /// The version tag of the identity that the twin belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_etag: Option<Etag>,
    /// The permission of the device to connect; `enabled` in twins of modules.
    #[serde(default)]
    pub status: Status,
    /// The reason for its status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<StatusReason>,
    /// The time of the last change of its status.
    #[serde(default = "never")]
    pub status_update_time: Timestamp,
    /// The state of its connection.
    #[serde(default)]
    pub connection_state: ConnectionState,
    /// The time when it last connected, sent or received.
    #[serde(default = "never")]
    pub last_activity_time: Timestamp,
    /// Messages that wait for it.
    #[serde(default)]
    pub cloud_to_device_message_count: u32,
    /// The `type` of the identity's authentication.
    #[serde(default)]
    pub authentication_type: String,
    /// The identity's thumbprints.
    #[serde(default)]
    pub x509_thumbprint: X509Thumbprint,
    /// The device's model, empty if it announced no model.
    #[serde(default)]
    pub model_id: String,
    /// Counts every write to the twin.
    #[serde(default)]
    pub version: u64,
    /// Written and read by services only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<JsonObject>,
    /// Desired and reported properties.
    pub properties: TwinProperties,
    /// In twins of devices only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// A leaf device's parent; an edge device's own scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_scope: Option<String>,
    /// The scopes of its parents.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parent_scopes: Vec<String>,
}

impl Twin {
    /// The identity that the twin belongs to.
    pub fn identity(&self) -> IdentityId {
        IdentityId::new(self.device_id.clone(), self.module_id.clone())
    }
}

/// The two sections of properties.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TwinProperties {
    /// The properties that the service sets.
    pub desired: PropertySection,
    /// The properties that the device reports.
    pub reported: PropertySection,
}

/// One section of properties with the hub's bookkeeping.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PropertySection {
    /// The properties themselves.
    #[serde(flatten)]
    pub values: JsonObject,
    /// The time of the last write to each property, in the same structure as the properties.
    #[serde(rename = "$metadata", default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Value>,
    /// Counts the writes to this section; 1 when it was never written.
    #[serde(rename = "$version", default)]
    pub version: u64,
}

/// The effect of a write on one section of a twin.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum SectionPatch {
    /// `null`: all content is deleted.
    Clear,
    /// Absent: the section stays unchanged.
    #[default]
    Keep,
    /// An object to merge: nulls delete.
    Merge(JsonObject),
}

/// The part of a twin that a service may write, read from a request's body.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TwinPatch {
    /// The change to the tags.
    pub tags: SectionPatch,
    /// The change to the desired properties.
    pub desired: SectionPatch,
}

impl TwinPatch {
    /// Reads the body of a PATCH, where a null deletes, and checks it against the rules.
    ///
    /// Clients send whole twins back, so everything that a service can't write is ignored: reported
    /// properties, `$metadata` and `$version`, and all members of the identity. A member that no
    /// twin has is an error, because it would have no effect.
    pub fn from_body(body: Value) -> Result<Self, TwinRuleError> {
        Self::read(body, Nulls::Delete)
    }

    /// Reads the body of a PUT, which will be stored as it is: a null in a section is an error.
    pub fn replacement(body: Value) -> Result<Self, TwinRuleError> {
        Self::read(body, Nulls::Refuse)
    }

    /// Checks the content to merge against the rules.
    pub fn check(&self) -> Result<(), TwinRuleError> {
        for (patch, section) in [(&self.tags, Section::Tags), (&self.desired, Section::Desired)] {
            if let SectionPatch::Merge(object) = patch {
                check_section(section, object, Nulls::Delete)?;
            }
        }
        Ok(())
    }

    fn read(body: Value, nulls: Nulls) -> Result<Self, TwinRuleError> {
        let Value::Object(mut body) = body else {
            return Err(TwinRuleError::not_an_object("the body"));
        };
        check_members("", &body, &TWIN_MEMBERS)?;
        let desired = match body.remove("properties") {
            None | Some(Value::Null) => SectionPatch::Keep,
            Some(Value::Object(mut properties)) => {
                check_members("properties.", &properties, &["desired", "reported"])?;
                read_section(properties.remove("desired"), Section::Desired, nulls)?
            }
            Some(_) => return Err(TwinRuleError::not_an_object("properties")),
        };
        Ok(Self { tags: read_section(body.remove("tags"), Section::Tags, nulls)?, desired })
    }
}

fn check_members(prefix: &str, object: &JsonObject, known: &[&str]) -> Result<(), TwinRuleError> {
    match object.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(TwinRuleError::unknown_member(prefix, name)),
        None => Ok(()),
    }
}

fn read_section(value: Option<Value>, section: Section, nulls: Nulls) -> Result<SectionPatch, TwinRuleError> {
    match value {
        None => Ok(SectionPatch::Keep),
        Some(Value::Null) => Ok(SectionPatch::Clear),
        Some(Value::Object(mut object)) => {
            object.remove("$metadata");
            object.remove("$version");
            check_section(section, &object, nulls)?;
            Ok(SectionPatch::Merge(object))
        }
        Some(_) => Err(TwinRuleError::not_an_object(section.path())),
    }
}

/// Every member that a hub or one of Microsoft's clients writes into a twin.
const TWIN_MEMBERS: [&str; 23] = [
    "attributes",
    "authenticationType",
    "capabilities",
    "cloudToDeviceMessageCount",
    "configurations",
    "connectionState",
    "connectionStateUpdatedTime",
    "deviceEtag",
    "deviceId",
    "deviceScope",
    "etag",
    "lastActivityTime",
    "modelId",
    "moduleId",
    "parentScopes",
    "properties",
    "status",
    "statusReason",
    "statusUpdateTime",
    "statusUpdatedTime",
    "tags",
    "version",
    "x509Thumbprint",
];

fn never() -> Timestamp {
    Timestamp::NEVER
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json, to_value};

    #[test]
    fn a_patch_takes_a_whole_twin_and_keeps_what_can_be_written() {
        let patch = TwinPatch::from_body(json!({
            "deviceId": "d", "etag": "AAAAAAAAAAE=", "version": 3, "x509Thumbprint": {},
            "tags": {"site": "munich", "old": null},
            "properties": {
                "desired": {"a": {"b": 1}, "$metadata": {"$lastUpdated": "2026-01-01T00:00:00Z"}, "$version": 7},
                "reported": {"fw": "1.2", "$version": 2},
            },
        }));
        let tags = json!({"site": "munich", "old": null}).as_object().cloned().unwrap();
        let desired = json!({"a": {"b": 1}}).as_object().cloned().unwrap();
        assert_eq!(
            patch,
            Ok(TwinPatch { tags: SectionPatch::Merge(tags), desired: SectionPatch::Merge(desired) })
        );
    }

    #[test]
    fn absent_null_and_empty_are_three_things() {
        let desired = |body| TwinPatch::from_body(body).unwrap().desired;
        assert_eq!(desired(json!({})), SectionPatch::Keep);
        assert_eq!(desired(json!({"properties": {"desired": null}})), SectionPatch::Clear);
        assert_eq!(desired(json!({"properties": {"desired": {}}})), SectionPatch::Merge(JsonObject::new()));
        assert!(TwinPatch::from_body(json!([])).is_err());
        assert!(TwinPatch::from_body(json!({"tags": "x"})).is_err());
    }

    #[test]
    fn a_member_that_no_twin_has_is_an_error() {
        for (body, path) in [
            (json!({"tags": {"a": 1}, "desiredProperties": {}}), "desiredProperties"),
            (json!({"Tags": {"a": 1}}), "Tags"),
            (json!({"properties": {"Desired": {"a": 1}}}), "properties.Desired"),
        ] {
            assert_eq!(TwinPatch::from_body(body.clone()).unwrap_err().path, path);
            assert_eq!(TwinPatch::replacement(body).unwrap_err().path, path);
        }
    }

    #[test]
    fn a_replacement_has_no_nulls_in_it() {
        for body in [json!({"tags": {"a": null}}), json!({"properties": {"desired": {"a": {"b": null}}}})] {
            assert!(TwinPatch::replacement(body.clone()).is_err(), "{body}");
            assert!(TwinPatch::from_body(body).is_ok());
        }
        assert!(TwinPatch::replacement(json!({"tags": null})).is_ok());
    }

    #[test]
    fn a_twin_comes_back_as_the_hub_wrote_it() {
        let wire = json!({
            "deviceId": "pump-0001", "moduleId": "telemetry", "etag": "AAAAAAAAAAI=", "deviceEtag": "NTgwMDg5MDA0",
            "status": "enabled", "statusUpdateTime": "0001-01-01T00:00:00Z", "connectionState": "Disconnected",
            "lastActivityTime": "0001-01-01T00:00:00Z", "cloudToDeviceMessageCount": 0,
            "authenticationType": "certificateAuthority",
            "x509Thumbprint": {"primaryThumbprint": null, "secondaryThumbprint": null}, "modelId": "", "version": 3,
            "properties": {
                "desired": {"warning": 75, "$metadata": {"$lastUpdated": "2026-11-22T10:00:00.1234567Z"}, "$version": 2},
                "reported": {"$metadata": {"$lastUpdated": "0001-01-01T00:00:00Z"}, "$version": 1},
            },
        });
        let twin: Twin = from_value(wire.clone()).unwrap();
        assert_eq!(twin.properties.desired.values, json!({"warning": 75}).as_object().cloned().unwrap());
        assert_eq!(to_value(twin).unwrap(), wire);
    }
}
