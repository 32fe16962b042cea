//! The registry's documents: those that a client writes for a device or a module ([`DeviceSpec`],
//! [`ModuleSpec`]) and those that the hub returns ([`Device`], [`Module`]).
//!
//! A spec ignores every member it does not know: clients send whole documents back.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::authentication::Authentication;
use crate::etag::Etag;
use crate::id::{DeviceId, ModuleId};
use crate::limits::MAX_STATUS_REASON_CHARS;
use crate::timestamp::Timestamp;

/// The permission of a device to connect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The device may not connect.
    #[serde(alias = "Disabled")]
    Disabled,
    /// The device may connect.
    #[default]
    #[serde(alias = "Enabled")]
    Enabled,
}

impl Status {
    /// The value on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Enabled => "enabled",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The present state of the connection of a device or a module.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ConnectionState {
    /// The device or module is connected.
    Connected,
    /// The device or module is not connected.
    #[default]
    Disconnected,
}

impl ConnectionState {
    /// The value on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "Connected",
            Self::Disconnected => "Disconnected",
        }
    }
}

/// The reason for a device's status: free text of at most 128 characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StatusReason(String);

impl StatusReason {
    /// Takes the text if it is not too long.
    pub fn new(text: &str) -> Result<Self, StatusReasonError> {
        match text.chars().count() {
            length if length > MAX_STATUS_REASON_CHARS => Err(StatusReasonError { length }),
            _ => Ok(Self(text.to_owned())),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StatusReason {
    type Err = StatusReasonError;

    fn from_str(text: &str) -> Result<Self, StatusReasonError> {
        Self::new(text)
    }
}

impl TryFrom<String> for StatusReason {
    type Error = StatusReasonError;

    fn try_from(text: String) -> Result<Self, StatusReasonError> {
        Self::new(&text)
    }
}

impl From<StatusReason> for String {
    fn from(reason: StatusReason) -> Self {
        reason.0
    }
}

/// A status reason is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a status reason has at most {MAX_STATUS_REASON_CHARS} characters, this has {length}")]
pub struct StatusReasonError {
    /// The number of characters in the text.
    pub length: usize,
}

/// The optional abilities of a device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capabilities {
    /// It runs the IoT Edge runtime and may be the parent of other devices.
    #[serde(default)]
    pub iot_edge: bool,
}

/// A device as a client writes it. A PUT replaces the whole: what is absent gets its default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceSpec {
    /// The id; must be the one in the path.
    pub device_id: DeviceId,
    /// Absent means enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// The reason for its status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<StatusReason>,
    /// Absent means SAS with keys that the hub generates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
    /// Absent means that it has no capabilities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// A leaf device's parent; an edge device's own scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_scope: Option<String>,
    /// The scopes of an edge device's parents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_scopes: Option<Vec<String>>,
}

/// A device as the hub returns it, in the hub's member order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// The id.
    pub device_id: DeviceId,
    /// Distinguishes devices that had the same id one after the other. Opaque.
    pub generation_id: String,
    /// The identity's version.
    pub etag: Etag,
    /// The state of its connection.
    #[serde(default)]
    pub connection_state: ConnectionState,
    /// The permission to connect.
    #[serde(default)]
    pub status: Status,
    /// The reason for its status.
    pub status_reason: Option<StatusReason>,
    /// The time of its last connection or disconnection.
    pub connection_state_updated_time: Timestamp,
    /// The time of the last change of its status.
    pub status_updated_time: Timestamp,
    /// The time when it last connected, sent or received.
    pub last_activity_time: Timestamp,
    /// Messages that wait for it.
    #[serde(default)]
    pub cloud_to_device_message_count: u32,
    /// The identity's authentication.
    pub authentication: Authentication,
    /// The device's optional abilities.
    #[serde(default)]
    pub capabilities: Capabilities,
    /// A leaf device's parent; an edge device's own scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_scope: Option<String>,
    /// The scopes of its parents. An edge device whose client wrote an empty list has an empty list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_scopes: Option<Vec<String>>,
}

/// A module as a client writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModuleSpec {
    /// The module's id; must be the one in the path.
    pub module_id: ModuleId,
    /// The device's id; must be the one in the path where it is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<DeviceId>,
    /// The manager of the module, for example `iotEdge`; absent clears it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_by: Option<String>,
    /// Absent means SAS with keys that the hub generates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
}

/// A module as the hub returns it, in the hub's member order. A module has no status of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Module {
    /// The module's id.
    pub module_id: ModuleId,
    /// The manager of the module, null if there is no manager.
    pub managed_by: Option<String>,
    /// The device it belongs to.
    pub device_id: DeviceId,
    /// Distinguishes modules that had the same id one after the other. Opaque.
    pub generation_id: String,
    /// The identity's version.
    pub etag: Etag,
    /// The state of its connection.
    #[serde(default)]
    pub connection_state: ConnectionState,
    /// The time of its last connection or disconnection.
    pub connection_state_updated_time: Timestamp,
    /// The time when it last connected, sent or received.
    pub last_activity_time: Timestamp,
    /// Messages that wait for it.
    #[serde(default)]
    pub cloud_to_device_message_count: u32,
    /// The identity's authentication.
    pub authentication: Authentication,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_str, from_value, json, to_value};

    #[test]
    fn a_spec_takes_what_each_client_sends() {
        // Python and az leave out what they have no value for; Node sends empty keys; C# sends
        // every member there is.
        for body in [
            r#"{"deviceId":"d","status":"enabled","authentication":{"symmetricKey":{},"type":"sas"},"capabilities":{"iotEdge":false}}"#,
            r#"{"deviceId":"d","authentication":{"type":"sas","symmetricKey":{"primaryKey":"","secondaryKey":""}}}"#,
            r#"{"deviceId":"d","generationId":null,"etag":null,"connectionState":"Disconnected","status":"enabled","statusReason":null,"connectionStateUpdatedTime":"0001-01-01T00:00:00","authentication":null,"capabilities":null,"parentScopes":null}"#,
        ] {
            let spec: DeviceSpec = from_str(body).unwrap();
            assert_eq!(spec.device_id.as_str(), "d");
            assert_eq!(spec.authentication.unwrap_or_default(), Authentication::Sas(None), "{body}");
        }
    }

    #[test]
    fn a_spec_sends_only_what_is_set() {
        let spec = ModuleSpec {
            module_id: "m".parse().unwrap(),
            device_id: Some("d".parse().unwrap()),
            managed_by: None,
            authentication: None,
        };
        assert_eq!(to_value(spec).unwrap(), json!({"moduleId": "m", "deviceId": "d"}));
    }

    #[test]
    fn a_device_keeps_the_hubs_order_and_nulls() {
        let text = r#"{"deviceId":"pump-0001","generationId":"639000000000000001","etag":"NTgwMDg5MDAz","connectionState":"Disconnected","status":"enabled","statusReason":null,"connectionStateUpdatedTime":"0001-01-01T00:00:00Z","statusUpdatedTime":"0001-01-01T00:00:00Z","lastActivityTime":"0001-01-01T00:00:00Z","cloudToDeviceMessageCount":0,"authentication":{"symmetricKey":{"primaryKey":null,"secondaryKey":null},"x509Thumbprint":{"primaryThumbprint":null,"secondaryThumbprint":null},"type":"certificateAuthority"},"capabilities":{"iotEdge":false}}"#;
        let device: Device = from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&device).unwrap(), text);
    }

    #[test]
    fn a_status_reason_of_129_characters_is_refused() {
        assert!(StatusReason::new(&"ü".repeat(128)).is_ok());
        assert_eq!(StatusReason::new(&"ü".repeat(129)), Err(StatusReasonError { length: 129 }));
        let spec = from_value::<DeviceSpec>(json!({"deviceId": "d", "statusReason": "r".repeat(129)}));
        assert!(spec.unwrap_err().to_string().contains("128"));
    }
}
