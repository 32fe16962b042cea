//! The creation, replacement and deletion of devices.

use hub_types::identity::{Device, DeviceSpec, Status};
use hub_types::twin::TwinPatch;
use hub_types::{Authentication, DeviceId, ErrorCode, IfMatch, ModuleId, Timestamp};

use super::record::{DeviceRecord, DeviceSettings, IdentityRecord, ModuleRecord};
use super::{Journal, Registry, check_etag, with_keys};
use crate::api_error::{ApiError, ApiResult};
use crate::twin::TwinState;

impl Registry {
    /// Performs a PUT: without a condition it only creates, with one it only replaces.
    pub(crate) fn put_device(
        &mut self,
        spec: DeviceSpec,
        demand: Option<&IfMatch>,
        now: Timestamp,
        journal: &mut Journal,
    ) -> ApiResult<Device> {
        let id = spec.device_id.clone();
        match demand {
            None => self.create_device(spec, TwinPatch::default(), now, journal)?,
            Some(demand) => {
                let changed = self.replace_device(spec, demand, now, journal)?;
                journal.updated(&id, None, changed);
            }
        }
        Ok(self.device(&id)?.document(&id))
    }

    /// Creates a device with its twin; refuses if it exists already.
    pub(super) fn create_device(
        &mut self,
        spec: DeviceSpec,
        twin: TwinPatch,
        now: Timestamp,
        journal: &mut Journal,
    ) -> ApiResult<()> {
        let id = spec.device_id.clone();
        if self.devices.contains_key(&id) {
            return Err(ApiError::device_exists(&id));
        }
        self.check_room()?;
        let authentication = device_authentication(spec.authentication.clone())?;
        let generation = self.next_generation(now);
        let settings = self.settings_of_new(spec, generation)?;
        let identity = IdentityRecord::new(generation, authentication, TwinState::new(now, twin));
        self.disabled += usize::from(settings.status == Status::Disabled);
        let record = DeviceRecord::new(identity, settings);
        self.devices.insert(id.clone(), Box::new(record));
        journal.created(&id, None);
        self.reconcile_system_modules(&id, now, journal)
    }

    /// Replaces a device's identity and returns true if it changed; its twin and its modules stay.
    pub(super) fn replace_device(
        &mut self,
        spec: DeviceSpec,
        demand: &IfMatch,
        now: Timestamp,
        journal: &mut Journal,
    ) -> ApiResult<bool> {
        let id = spec.device_id.clone();
        let current = self.device(&id)?;
        check_etag(demand, &current.identity.etag())?;
        let authentication = device_authentication(spec.authentication.clone())?;
        let settings = self.settings_of_existing(spec, current)?;
        let was_disabled = current.settings.status == Status::Disabled;
        let is_disabled = settings.status == Status::Disabled;

        let record = self.device_mut(&id)?;
        let changed = record.identity.authentication != authentication || record.settings != settings;
        if was_disabled != is_disabled {
            record.status_updated = now;
        }
        record.identity.authentication = authentication;
        record.settings = settings;
        record.identity.bump_etag();
        self.disabled = self.disabled + usize::from(is_disabled) - usize::from(was_disabled);
        self.reconcile_system_modules(&id, now, journal)?;
        Ok(changed)
    }

    /// Deletes a device with its modules and their twins.
    pub(crate) fn delete_device(
        &mut self,
        id: &DeviceId,
        demand: &IfMatch,
        journal: &mut Journal,
    ) -> ApiResult<()> {
        check_etag(demand, &self.device(id)?.identity.etag())?;
        let Some(record) = self.devices.remove(id) else {
            return Err(ApiError::device_not_found(id));
        };
        self.disabled -= usize::from(record.settings.status == Status::Disabled);
        self.connected -= usize::from(record.identity.is_connected());
        for module in record.modules.keys() {
            self.modules.remove(id, module);
            journal.deleted(id, Some(module));
        }
        journal.deleted(id, None);
        Ok(())
    }

    fn settings_of_new(&self, spec: DeviceSpec, generation: u64) -> ApiResult<DeviceSettings> {
        let id = spec.device_id.clone();
        let scopes = self.scopes_of_new(&id, generation, &spec)?;
        Ok(settings(spec, scopes))
    }

    fn settings_of_existing(&self, spec: DeviceSpec, current: &DeviceRecord) -> ApiResult<DeviceSettings> {
        let scopes = self.scopes_of_existing(&spec, current)?;
        Ok(settings(spec, scopes))
    }

    /// Creates `$edgeAgent` and `$edgeHub` for an edge device, and deletes them for any other
    /// device.
    fn reconcile_system_modules(
        &mut self,
        id: &DeviceId,
        now: Timestamp,
        journal: &mut Journal,
    ) -> ApiResult<()> {
        for name in SYSTEM_MODULES {
            let module = ModuleId::new(name).map_err(|error| ApiError::argument(error.to_string()))?;
            let device = self.device(id)?;
            match (device.is_edge(), device.modules.contains_key(&module)) {
                (true, false) => {
                    let generation = self.next_generation(now);
                    self.add_module(id, &module, ModuleRecord::system(generation))?;
                    journal.created(id, Some(&module));
                }
                (false, true) => {
                    self.remove_module(id, &module)?;
                    journal.deleted(id, Some(&module));
                }
                (true, true) | (false, false) => {}
            }
        }
        Ok(())
    }
}

fn settings(spec: DeviceSpec, scopes: (Option<Box<str>>, Option<Vec<String>>)) -> DeviceSettings {
    let (device_scope, parent_scopes) = scopes;
    DeviceSettings {
        status: spec.status.unwrap_or_default(),
        status_reason: spec.status_reason,
        capabilities: spec.capabilities.unwrap_or_default(),
        device_scope,
        parent_scopes,
    }
}

fn device_authentication(given: Option<Authentication>) -> ApiResult<Authentication> {
    match given.unwrap_or_default() {
        Authentication::None => Err(ApiError::new(
            ErrorCode::ArgumentInvalid,
            "DeviceAuthenticationTypeIsMissing: a device needs an authentication type",
        )),
        given => Ok(with_keys(given)),
    }
}

const SYSTEM_MODULES: [&str; 2] = ["$edgeAgent", "$edgeHub"];
