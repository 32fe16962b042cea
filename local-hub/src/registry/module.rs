//! The creation, replacement, reading and deletion of modules.

use hub_types::identity::{Module, ModuleSpec, Status};
use hub_types::limits::MAX_MODULES_PER_DEVICE;
use hub_types::twin::TwinPatch;
use hub_types::{Authentication, DeviceId, ErrorCode, IfMatch, ModuleId, Timestamp};

use super::record::{DeviceRecord, IdentityRecord, ModuleRecord};
use super::{Journal, Registry, check_etag, with_keys};
use crate::api_error::{ApiError, ApiResult};
use crate::twin::TwinState;

impl Registry {
    /// The device that owns the modules. With a shared access signature a live hub responds with
    /// 401 if it is missing, and also if it is disabled.
    pub(crate) fn device_for_modules(&self, id: &DeviceId) -> ApiResult<&DeviceRecord> {
        match self.device(id) {
            Ok(device) if device.settings.status == Status::Enabled => Ok(device),
            _ => Err(ApiError::no_device_for_modules()),
        }
    }

    pub(crate) fn modules(&self, device: &DeviceId) -> ApiResult<Vec<Module>> {
        let modules = self.device_for_modules(device)?.modules.iter();
        Ok(modules.map(|(id, record)| record.document(device, id)).collect())
    }

    pub(crate) fn module(&self, device: &DeviceId, id: &ModuleId) -> ApiResult<Module> {
        let record = self.device_for_modules(device)?;
        Ok(find(record, device, id)?.document(device, id))
    }

    /// Performs a PUT: without a condition it only creates, with one it only replaces.
    pub(crate) fn put_module(
        &mut self,
        device: &DeviceId,
        spec: ModuleSpec,
        demand: Option<&IfMatch>,
        now: Timestamp,
        journal: &mut Journal,
    ) -> ApiResult<Module> {
        self.device_for_modules(device)?;
        let id = spec.module_id.clone();
        match demand {
            None => {
                // A module's twin comes into being with its first write, so until then it has no time.
                let twin = TwinState::new(Timestamp::NEVER, TwinPatch::default());
                self.create_module(device, spec, twin, now, journal)?;
            }
            Some(demand) => {
                let changed = self.replace_module(device, spec, demand)?;
                journal.updated(device, Some(&id), changed);
            }
        }
        self.module(device, &id)
    }

    /// Creates a module with its twin; refuses if it exists already.
    pub(super) fn create_module(
        &mut self,
        device: &DeviceId,
        spec: ModuleSpec,
        twin: TwinState,
        now: Timestamp,
        journal: &mut Journal,
    ) -> ApiResult<()> {
        let id = spec.module_id;
        check_not_system(&id)?;
        let modules = &self.device(device)?.modules;
        if modules.contains_key(&id) {
            return Err(ApiError::module_exists(device, &id));
        }
        if modules.keys().filter(|id| !id.is_system()).count() >= MAX_MODULES_PER_DEVICE {
            let text = format!("Device {device} has {MAX_MODULES_PER_DEVICE} modules, the most it can have");
            return Err(ApiError::new(ErrorCode::TooManyModulesOnDevice, text));
        }
        self.check_room()?;
        let authentication = module_authentication(spec.authentication);
        let generation = self.next_generation(now);
        let record = ModuleRecord {
            identity: IdentityRecord::new(generation, authentication, twin),
            managed_by: spec.managed_by.map(Into::into),
        };
        self.add_module(device, &id, record)?;
        journal.created(device, Some(&id));
        Ok(())
    }

    /// Replaces a module's identity and returns true if it changed; its twin stays.
    pub(super) fn replace_module(
        &mut self,
        device: &DeviceId,
        spec: ModuleSpec,
        demand: &IfMatch,
    ) -> ApiResult<bool> {
        let id = spec.module_id;
        check_not_system(&id)?;
        let record = self.module_mut(device, &id)?;
        check_etag(demand, &record.identity.etag())?;
        let authentication = module_authentication(spec.authentication);
        let managed_by = spec.managed_by.map(Into::into);
        let changed = record.identity.authentication != authentication || record.managed_by != managed_by;
        record.identity.authentication = authentication;
        record.managed_by = managed_by;
        record.identity.bump_etag();
        Ok(changed)
    }

    pub(crate) fn delete_module(
        &mut self,
        device: &DeviceId,
        id: &ModuleId,
        demand: &IfMatch,
        journal: &mut Journal,
    ) -> ApiResult<()> {
        check_not_system(id)?;
        check_etag(demand, &self.module_mut(device, id)?.identity.etag())?;
        self.remove_module(device, id)?;
        journal.deleted(device, Some(id));
        Ok(())
    }

    pub(super) fn module_mut(&mut self, device: &DeviceId, id: &ModuleId) -> ApiResult<&mut ModuleRecord> {
        let found = self.device_mut(device)?.modules.get_mut(id).map(AsMut::as_mut);
        found.ok_or_else(|| ApiError::module_not_found(device, id))
    }
}

fn find<'a>(record: &'a DeviceRecord, device: &DeviceId, id: &ModuleId) -> ApiResult<&'a ModuleRecord> {
    let found = record.modules.get(id).map(AsRef::as_ref);
    found.ok_or_else(|| ApiError::module_not_found(device, id))
}

fn check_not_system(id: &ModuleId) -> ApiResult<()> {
    if id.is_system() {
        let text = format!("Module ids that begin with $ belong to the system, `{id}` does");
        return Err(ApiError::argument(text));
    }
    Ok(())
}

/// The authentication of a module. A live hub generates keys if it is absent, instead of refusing
/// it.
fn module_authentication(given: Option<Authentication>) -> Authentication {
    match given.unwrap_or_default() {
        Authentication::None => with_keys(Authentication::Sas(None)),
        given => with_keys(given),
    }
}
