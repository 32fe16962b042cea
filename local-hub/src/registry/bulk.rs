//! Bulk operations: up to 100 items, each done or refused on its own.

use hub_types::bulk::{BulkError, BulkItem, BulkResult, ImportMode};
use hub_types::identity::{DeviceSpec, ModuleSpec};
use hub_types::twin::{JsonObject, TwinPatch};
use hub_types::{Etag, IdentityId, IfMatch, ModuleId, Timestamp};
use serde_json::{Value, json};

use super::{Journal, Registry};
use crate::api_error::{ApiError, ApiResult};
use crate::twin::{DesiredWrite, TwinState};

/// One parsed item of a bulk call.
#[derive(Debug)]
pub(crate) struct BulkEntry {
    pub(crate) device: String,
    pub(crate) module: Option<String>,
    /// The item, or the reason why it is not valid.
    pub(crate) item: Result<BulkItem, ApiError>,
}

impl Registry {
    /// Performs the items in order. Successful items persist, regardless of the others.
    pub(crate) fn bulk(
        &mut self,
        entries: Vec<BulkEntry>,
        now: Timestamp,
        journal: &mut Journal,
    ) -> BulkResult {
        let mut errors = Vec::new();
        for entry in entries {
            let mode = entry.item.as_ref().ok().map(mode_of);
            let done = entry.item.and_then(|item| self.bulk_item(item, now, journal));
            if let Err(error) = done {
                journal.counts.failed += 1;
                errors.push(BulkError {
                    device_id: entry.device,
                    module_id: entry.module,
                    error_code: error.name.to_owned(),
                    error_status: Some(error.text),
                    operation: mode.map(|mode| mode.to_string()),
                });
            }
        }
        BulkResult { is_successful: errors.is_empty(), errors, warnings: Vec::new() }
    }

    fn bulk_item(&mut self, mut item: BulkItem, now: Timestamp, journal: &mut Journal) -> ApiResult<()> {
        let identity = item.identity();
        let twin = twin_patch(&mut item)?;
        match mode_of(&item) {
            ImportMode::Create => self.bulk_create(item, twin, now, journal),
            ImportMode::CreateOrUpdate if !self.has(&identity) => self.bulk_create(item, twin, now, journal),
            ImportMode::CreateOrUpdateIfMatchETag if !self.has(&identity) => {
                self.bulk_create(item, twin, now, journal)
            }
            ImportMode::CreateOrUpdate | ImportMode::Update => {
                self.bulk_update(item, twin, &IfMatch::Any, now, journal)
            }
            ImportMode::CreateOrUpdateIfMatchETag | ImportMode::UpdateIfMatchETag => {
                let demand = demand(item.etag.as_ref());
                self.bulk_update(item, twin, &demand, now, journal)
            }
            ImportMode::Delete => self.bulk_delete(&identity, &IfMatch::Any, journal),
            ImportMode::DeleteIfMatchETag => {
                self.bulk_delete(&identity, &demand(item.etag.as_ref()), journal)
            }
            ImportMode::UpdateTwin => self.bulk_twin(&identity, twin, &IfMatch::Any, now, journal),
            ImportMode::UpdateTwinIfMatchETag => {
                self.bulk_twin(&identity, twin, &demand(item.twin_etag.as_ref()), now, journal)
            }
            other => Err(ApiError::argument(format!("importMode {other} is not known here"))),
        }
    }

    fn bulk_create(
        &mut self,
        item: BulkItem,
        twin: TwinPatch,
        now: Timestamp,
        journal: &mut Journal,
    ) -> ApiResult<()> {
        match item.module_id.clone() {
            None => self.create_device(device_spec(item), twin, now, journal),
            Some(module) => {
                let device = item.id.clone();
                let twin = TwinState::of_module_in_bulk(now, twin);
                self.create_module(&device, module_spec(item, module), twin, now, journal)
            }
        }
    }

    /// Replaces the identity and merges the given twin sections, atomically.
    fn bulk_update(
        &mut self,
        item: BulkItem,
        twin: TwinPatch,
        demand: &IfMatch,
        now: Timestamp,
        journal: &mut Journal,
    ) -> ApiResult<()> {
        let identity = item.identity();
        self.check_exists(&identity)?;
        let twin_demand = self::demand(item.twin_etag.as_ref());
        let wanted = DesiredWrite::Patch(twin.desired.clone());
        let written = self.twin_after(&identity, &twin_demand, |twin_now| twin_now.patched(twin, now));
        let (next, twin_changed) = written?;
        let changed = match item.module_id.clone() {
            None => self.replace_device(device_spec(item), demand, now, journal),
            Some(module) => self.replace_module(identity.device(), module_spec(item, module), demand),
        }?;
        self.put_twin(&identity, next, wanted, journal)?;
        journal.updated(identity.device(), identity.module(), changed || twin_changed);
        Ok(())
    }

    fn bulk_delete(
        &mut self,
        identity: &IdentityId,
        demand: &IfMatch,
        journal: &mut Journal,
    ) -> ApiResult<()> {
        match identity.module() {
            None => self.delete_device(identity.device(), demand, journal),
            Some(module) => self.delete_module(identity.device(), module, demand, journal),
        }
    }

    fn bulk_twin(
        &mut self,
        identity: &IdentityId,
        twin: TwinPatch,
        demand: &IfMatch,
        now: Timestamp,
        journal: &mut Journal,
    ) -> ApiResult<()> {
        self.check_exists(identity)?;
        self.patch_twin(identity, twin, demand, now, journal)
    }

    fn has(&self, identity: &IdentityId) -> bool {
        self.twin(identity).is_ok()
    }

    /// The error of a bulk item for a missing object, which names the device or its module.
    fn check_exists(&self, identity: &IdentityId) -> ApiResult<()> {
        let device = self.device(identity.device())?;
        match identity.module() {
            Some(module) if !device.modules.contains_key(module) => {
                Err(ApiError::module_not_found(identity.device(), module))
            }
            _ => Ok(()),
        }
    }
}

fn mode_of(item: &BulkItem) -> ImportMode {
    item.import_mode.unwrap_or_default()
}

/// The condition of an `IfMatchETag` mode: without an etag there is none, as on a live hub.
fn demand(etag: Option<&Etag>) -> IfMatch {
    etag.and_then(|etag| IfMatch::parse(etag.as_str())).unwrap_or(IfMatch::Any)
}

/// The twin sections of the item, parsed like the body of a PATCH.
fn twin_patch(item: &mut BulkItem) -> ApiResult<TwinPatch> {
    let given = |section: Option<JsonObject>| section.filter(|object| !object.is_empty());
    let mut body = JsonObject::new();
    if let Some(tags) = given(item.tags.take()) {
        body.insert("tags".to_owned(), Value::Object(tags));
    }
    if let Some(desired) = given(item.properties.take().and_then(|properties| properties.desired)) {
        body.insert("properties".to_owned(), json!({ "desired": desired }));
    }
    TwinPatch::from_body(Value::Object(body)).map_err(|error| ApiError::argument(error.to_string()))
}

fn device_spec(item: BulkItem) -> DeviceSpec {
    DeviceSpec {
        device_id: item.id,
        status: item.status,
        status_reason: item.status_reason,
        authentication: item.authentication,
        capabilities: item.capabilities,
        device_scope: item.device_scope,
        parent_scopes: item.parent_scopes,
    }
}

/// The module of a bulk item, which has no member for `managedBy`.
fn module_spec(item: BulkItem, module: ModuleId) -> ModuleSpec {
    ModuleSpec {
        module_id: module,
        device_id: Some(item.id),
        managed_by: None,
        authentication: item.authentication,
    }
}
