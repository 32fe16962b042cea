//! The registry as the `devices` of a JSON document in the shape of `az iot hub state export`.
//!
//! It holds the values that clients write: identities with their keys, tags, desired properties,
//! parents. The hub's counters and reported properties are left out.

use cli_support::wrong_form::JsonMistake;
use std::collections::BTreeMap;

use hub_types::identity::{Capabilities, DeviceSpec, ModuleSpec, Status, StatusReason};
use hub_types::twin::TwinPatch;
use hub_types::{Authentication, DeviceId, IdentityId, IfMatch, ModuleId, Timestamp};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::record::{DeviceRecord, IdentityRecord, ModuleRecord};
use super::{Journal, Registry};
use crate::api_error::{ApiError, ApiResult};
use crate::registry::attributes;
use crate::twin::{TwinState, Values};

/// The `devices` of the document, serialized directly from the records.
pub(crate) struct ExportedDevices<'a>(pub(crate) &'a Registry);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExportedDevice<'a> {
    identity: ExportedIdentity<'a>,
    modules: ExportedModules<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<&'a str>,
    twin: ExportedTwin<'a>,
}

#[derive(Serialize)]
struct ExportedModule<'a> {
    identity: ExportedIdentity<'a>,
    twin: ExportedTwin<'a>,
}

/// The entry of a device or, without capabilities and status, of a module.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExportedIdentity<'a> {
    authentication: &'a Authentication,
    #[serde(skip_serializing_if = "Option::is_none")]
    capabilities: Option<&'a Capabilities>,
    #[serde(skip_serializing_if = "Option::is_none")]
    managed_by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_reason: Option<&'a StatusReason>,
}

struct ExportedModules<'a>(&'a DeviceRecord);

#[derive(Serialize)]
struct ExportedTwin<'a> {
    properties: ExportedProperties<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Values<'a>>,
}

#[derive(Serialize)]
struct ExportedProperties<'a> {
    desired: Values<'a>,
}

impl Serialize for ExportedDevices<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.devices.iter().map(|(id, record)| (id, ExportedDevice::new(record))))
    }
}

impl Serialize for ExportedModules<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.modules.iter().map(|(id, record)| (id, ExportedModule::new(record))))
    }
}

impl<'a> ExportedDevice<'a> {
    fn new(record: &'a DeviceRecord) -> Self {
        let settings = &record.settings;
        let identity = ExportedIdentity {
            authentication: &record.identity.authentication,
            capabilities: Some(&settings.capabilities),
            managed_by: None,
            status: Some(settings.status),
            status_reason: settings.status_reason.as_ref(),
        };
        let parent = settings.parents().first().and_then(|scope| Registry::device_of_scope(scope));
        Self { identity, modules: ExportedModules(record), parent, twin: ExportedTwin::new(&record.identity) }
    }
}

impl<'a> ExportedModule<'a> {
    fn new(record: &'a ModuleRecord) -> Self {
        let identity = ExportedIdentity {
            authentication: &record.identity.authentication,
            capabilities: None,
            managed_by: record.managed_by.as_deref(),
            status: None,
            status_reason: None,
        };
        Self { identity, twin: ExportedTwin::new(&record.identity) }
    }
}

impl<'a> ExportedTwin<'a> {
    fn new(record: &'a IdentityRecord) -> Self {
        Self {
            properties: ExportedProperties { desired: Values(&record.twin.desired.properties) },
            tags: record.twin.tags.as_ref().map(Values),
        }
    }
}

/// The `devices` member for reading. Members that only the hub writes are ignored.
#[derive(Debug, Deserialize)]
pub(crate) struct DevicesFile(BTreeMap<DeviceId, DeviceState>);

#[derive(Debug, Deserialize)]
struct DeviceState {
    identity: Map<String, Value>,
    #[serde(default)]
    twin: Map<String, Value>,
    #[serde(default)]
    modules: BTreeMap<ModuleId, ModuleState>,
    #[serde(default)]
    parent: Option<DeviceId>,
}

#[derive(Debug, Deserialize)]
struct ModuleState {
    identity: Map<String, Value>,
    #[serde(default)]
    twin: Map<String, Value>,
}

impl Registry {
    /// Imports a document: its devices replace those with the same id. The import is atomic.
    pub(crate) fn import(
        &mut self,
        devices: DevicesFile,
        now: Timestamp,
        journal: &mut Journal,
    ) -> ApiResult<()> {
        let mut next = self.clone();
        let mut written = Journal::default();
        for (id, device) in &devices.0 {
            let refused = |error: ApiError| named(error, id);
            next.import_device(id, device, now, &mut written).map_err(refused)?;
        }
        for (id, device) in &devices.0 {
            let refused = |error: ApiError| named(error, id);
            next.import_parent(id, device, now, &mut written).map_err(refused)?;
        }
        *self = next;
        journal.absorb(written);
        Ok(())
    }

    /// Takes over the content of a different registry. Identities that exist in both stay
    /// connected.
    pub(crate) fn replace_with(&mut self, mut next: Self, journal: &mut Journal) {
        next.forget_connections();
        for (id, record) in &self.devices {
            let successor = next.devices.get_mut(id);
            if successor.is_none() {
                journal.deleted(id, None);
            }
            let mut heirs = successor;
            for (module, old) in &record.modules {
                match heirs.as_mut().and_then(|device| device.modules.get_mut(module)) {
                    Some(heir) => heir.identity.presence.clone_from(&old.identity.presence),
                    None => journal.deleted(id, Some(module)),
                }
            }
            if let Some(heir) = heirs {
                heir.identity.presence.clone_from(&record.identity.presence);
            }
        }
        for (id, record) in &next.devices {
            journal.updated(id, None, true);
            for module in record.modules.keys() {
                journal.updated(id, Some(module), true);
            }
        }
        next.recount_connected();
        next.capacity = self.capacity;
        next.last_generation = next.last_generation.max(self.last_generation);
        *self = next;
    }

    fn import_device(
        &mut self,
        id: &DeviceId,
        state: &DeviceState,
        now: Timestamp,
        journal: &mut Journal,
    ) -> ApiResult<()> {
        if self.devices.contains_key(id) {
            self.delete_device(id, &IfMatch::Any, journal)?;
        }
        self.create_device(device_spec(id, state)?, twin_patch(&state.twin)?, now, journal)?;
        for (module, state) in &state.modules {
            let twin = twin_patch(&state.twin)?;
            if module.is_system() {
                let identity = IdentityId::new(id.clone(), Some(module.clone()));
                self.patch_twin(&identity, twin, &IfMatch::Any, now, journal)?;
            } else {
                let twin = TwinState::of_module_in_bulk(now, twin);
                self.create_module(id, module_spec(id, module, state)?, twin, now, journal)?;
            }
        }
        Ok(())
    }

    /// Sets the parent of a device, after all devices exist, because any device may be the parent
    /// of an earlier one.
    fn import_parent(
        &mut self,
        id: &DeviceId,
        state: &DeviceState,
        now: Timestamp,
        journal: &mut Journal,
    ) -> ApiResult<()> {
        let Some(parent) = &state.parent else {
            return Ok(());
        };
        let scope = self.device(parent)?.settings.device_scope.clone().map(String::from);
        let scope = scope.filter(|_| self.device(parent).is_ok_and(DeviceRecord::is_edge));
        let scope =
            scope.ok_or_else(|| ApiError::argument(format!("its parent {parent} is no edge device")))?;
        let own = self.device(id)?.settings.device_scope.clone().map(String::from);
        let spec = DeviceSpec {
            device_scope: own.or_else(|| Some(scope.clone())),
            parent_scopes: Some(vec![scope]),
            authentication: Some(self.device(id)?.identity.authentication.clone()),
            ..device_spec(id, state)?
        };
        self.replace_device(spec, &IfMatch::Any, now, journal).map(|_| ())
    }
}

fn device_spec(id: &DeviceId, state: &DeviceState) -> ApiResult<DeviceSpec> {
    attributes::refuse_in(&state.identity)?;
    let mut identity = state.identity.clone();
    identity.insert("deviceId".to_owned(), json!(id));
    // Scopes name generations, which are another hub's; the parent says the same.
    for member in ["deviceScope", "parentScopes"] {
        identity.remove(member);
    }
    DeviceSpec::deserialize(Value::Object(identity))
        .map_err(|error| ApiError::argument(JsonMistake::new(&error).to_string()))
}

fn module_spec(device: &DeviceId, id: &ModuleId, state: &ModuleState) -> ApiResult<ModuleSpec> {
    attributes::refuse_in(&state.identity)?;
    let mut identity = state.identity.clone();
    identity.insert("deviceId".to_owned(), json!(device));
    identity.insert("moduleId".to_owned(), json!(id));
    ModuleSpec::deserialize(Value::Object(identity))
        .map_err(|error| ApiError::argument(JsonMistake::new(&error).to_string()))
}

/// The twin's tags and desired properties, the only parts that a client may write.
fn twin_patch(twin: &Map<String, Value>) -> ApiResult<TwinPatch> {
    let mut body = Map::new();
    if let Some(tags) = twin.get("tags") {
        body.insert("tags".to_owned(), tags.clone());
    }
    match twin.get("properties") {
        Some(Value::Object(properties)) => {
            let desired = properties.get("desired").map(|desired| ("desired".to_owned(), desired.clone()));
            body.insert("properties".to_owned(), Value::Object(desired.into_iter().collect()));
        }
        Some(other) => {
            body.insert("properties".to_owned(), other.clone());
        }
        None => {}
    }
    attributes::refuse_in(twin)?;
    TwinPatch::from_body(Value::Object(body)).map_err(|error| ApiError::argument(error.to_string()))
}

fn named(error: ApiError, device: &DeviceId) -> ApiError {
    ApiError { text: format!("device {device}: {}", error.text), ..error }
}

#[cfg(test)]
mod tests;
