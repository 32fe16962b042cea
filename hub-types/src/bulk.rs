//! Bulk registry operations: the items of `POST /devices` and of import files, and their result.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::authentication::Authentication;
use crate::error_code::ErrorCode;
use crate::etag::Etag;
use crate::id::{DeviceId, IdentityId, ModuleId};
use crate::identity::{Capabilities, Status, StatusReason};

/// The operation to perform on an item.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum ImportMode {
    /// Create; an error if it exists.
    Create,
    /// Create or replace. The default of import files.
    #[default]
    CreateOrUpdate,
    /// Create, or replace if the item's etag is the current one.
    CreateOrUpdateIfMatchETag,
    /// Delete; an error if it is missing.
    Delete,
    /// Delete if the item's etag is the current one.
    DeleteIfMatchETag,
    /// Replace; an error if it is missing.
    Update,
    /// Replace if the item's etag is the current one.
    UpdateIfMatchETag,
    /// Write tags and desired properties; an error if it is missing.
    UpdateTwin,
    /// Write tags and desired properties if the item's twin etag is the current one.
    UpdateTwinIfMatchETag,
}

impl ImportMode {
    const ALL: [Self; 9] = [
        Self::Create,
        Self::CreateOrUpdate,
        Self::CreateOrUpdateIfMatchETag,
        Self::Delete,
        Self::DeleteIfMatchETag,
        Self::Update,
        Self::UpdateIfMatchETag,
        Self::UpdateTwin,
        Self::UpdateTwinIfMatchETag,
    ];

    /// The value on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::CreateOrUpdate => "createOrUpdate",
            Self::CreateOrUpdateIfMatchETag => "createOrUpdateIfMatchETag",
            Self::Delete => "delete",
            Self::DeleteIfMatchETag => "deleteIfMatchETag",
            Self::Update => "update",
            Self::UpdateIfMatchETag => "updateIfMatchETag",
            Self::UpdateTwin => "updateTwin",
            Self::UpdateTwinIfMatchETag => "updateTwinIfMatchETag",
        }
    }

    /// Reads a mode in any case: the Node client writes some in Pascal case and some in camel case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str().eq_ignore_ascii_case(text))
    }
}

impl fmt::Display for ImportMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ImportMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("`{text}` is no importMode")))
    }
}

/// One item of a bulk call or one line of an import file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkItem {
    /// The device.
    pub id: DeviceId,
    /// The module; absent when the item is the device itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module_id: Option<ModuleId>,
    /// Absent means create or update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub import_mode: Option<ImportMode>,
    /// The identity's etag, for the `IfMatchETag` modes.
    #[serde(default, rename = "eTag", skip_serializing_if = "Option::is_none")]
    pub etag: Option<Etag>,
    /// Absent means enabled; import files need it on every line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// The reason for its status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<StatusReason>,
    /// Absent means SAS with keys that the hub generates, and does not return.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
    /// The twin's etag, for `updateTwinIfMatchETag`.
    #[serde(default, rename = "twinETag", skip_serializing_if = "Option::is_none")]
    pub twin_etag: Option<Etag>,
    /// Tags of the twin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Map<String, Value>>,
    /// Properties of the twin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties: Option<BulkProperties>,
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

impl BulkItem {
    /// An item that performs `mode` on `identity`, with all other members absent.
    pub fn new(identity: &IdentityId, mode: ImportMode) -> Self {
        Self {
            id: identity.device().clone(),
            module_id: identity.module().cloned(),
            import_mode: Some(mode),
            etag: None,
            status: None,
            status_reason: None,
            authentication: None,
            twin_etag: None,
            tags: None,
            properties: None,
            capabilities: None,
            device_scope: None,
            parent_scopes: None,
        }
    }

    /// The identity the item is about.
    pub fn identity(&self) -> IdentityId {
        IdentityId::new(self.id.clone(), self.module_id.clone())
    }
}

/// The `properties` member of a bulk item.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BulkProperties {
    /// Desired properties.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<Map<String, Value>>,
    /// Reported properties; a service may not write them, clients send the empty section.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported: Option<Map<String, Value>>,
}

/// The answer to a bulk call: HTTP 200 when every item succeeded, else 400 with the same shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkResult {
    /// True if every item succeeded.
    pub is_successful: bool,
    /// The items that failed.
    #[serde(default)]
    pub errors: Vec<BulkError>,
    /// The items that succeeded in part.
    #[serde(default)]
    pub warnings: Vec<BulkWarning>,
}

/// An item that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkError {
    /// The device.
    pub device_id: String,
    /// The module, if the item was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module_id: Option<String>,
    /// The error's name. Hubs also send the number, which is replaced by the name if it is known.
    #[serde(deserialize_with = "name_or_number")]
    pub error_code: String,
    /// The error in words.
    #[serde(default)]
    pub error_status: Option<String>,
    /// The operation that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
}

impl BulkError {
    /// Returns the error code, if it is a known one.
    pub fn code(&self) -> Option<ErrorCode> {
        ErrorCode::from_name(&self.error_code)
    }
}

/// An item that succeeded in part, for example a device that was registered without its twin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkWarning {
    /// The device.
    pub device_id: String,
    /// The warning's name, for example `DeviceRegisteredWithoutTwin`.
    #[serde(default)]
    pub warning_code: String,
    /// The warning in words.
    #[serde(default)]
    pub warning_status: Option<String>,
}

fn name_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(name) => name,
        Value::Number(number) => number
            .as_u64()
            .and_then(|number| u32::try_from(number).ok())
            .and_then(ErrorCode::from_number)
            .map_or_else(|| number.to_string(), |code| code.name().to_owned()),
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_str, json, to_value};

    #[test]
    fn modes_are_read_in_any_case_and_written_in_camel_case() {
        for text in ["UpdateIfMatchETag", "updateIfMatchETag", "updateifmatchetag"] {
            assert_eq!(ImportMode::parse(text), Some(ImportMode::UpdateIfMatchETag));
        }
        assert_eq!(ImportMode::parse("upsert"), None);
        for mode in ImportMode::ALL {
            assert_eq!(to_value(mode).unwrap(), json!(mode.as_str()));
        }
    }

    #[test]
    fn an_error_code_is_read_as_name_or_number() {
        let text = r#"{"isSuccessful":false,"errors":[
            {"deviceId":"a","errorCode":"DeviceAlreadyExists","errorStatus":"x"},
            {"deviceId":"b","moduleId":"m","errorCode":409301},
            {"deviceId":"c","errorCode":999999}]}"#;
        let result: BulkResult = from_str(text).unwrap();
        let codes: Vec<_> = result.errors.iter().map(BulkError::code).collect();
        assert_eq!(
            codes,
            [Some(ErrorCode::DeviceAlreadyExists), Some(ErrorCode::ModuleAlreadyExistsOnDevice), None]
        );
        assert_eq!(result.errors[2].error_code, "999999");
    }

    #[test]
    fn an_item_sends_only_what_is_set() {
        let identity = IdentityId::parse("d", Some("m")).unwrap();
        let item = BulkItem::new(&identity, ImportMode::Create);
        assert_eq!(to_value(&item).unwrap(), json!({"id": "d", "moduleId": "m", "importMode": "create"}));
        assert_eq!(item.identity(), identity);
    }
}
