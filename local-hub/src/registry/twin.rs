//! The reading and writing of twins of devices and modules.

use hub_types::twin::{JsonObject, TwinPatch, TwinRuleError};
use hub_types::{IdentityId, IfMatch, Timestamp};

use super::{Journal, Registry, TwinDocument};
use crate::api_error::{ApiError, ApiResult};
use crate::twin::{DesiredWrite, TwinState};

impl Registry {
    /// Returns a twin. A missing module is refused as a missing device, as on a live hub.
    pub(crate) fn twin(&self, identity: &IdentityId) -> ApiResult<TwinDocument<'_>> {
        let (id, device) =
            self.devices.get_key_value(identity.device()).ok_or_else(|| not_found(identity))?;
        let Some(module) = identity.module() else {
            return Ok(TwinDocument::of_device(id, device));
        };
        let (module, record) = device.modules.get_key_value(module).ok_or_else(|| not_found(identity))?;
        Ok(TwinDocument::of_module(id, module, record))
    }

    /// Performs a PATCH of tags and desired properties.
    pub(crate) fn patch_twin(
        &mut self,
        identity: &IdentityId,
        patch: TwinPatch,
        demand: &IfMatch,
        now: Timestamp,
        journal: &mut Journal,
    ) -> ApiResult<()> {
        let wanted = DesiredWrite::Patch(patch.desired.clone());
        self.write_twin(identity, demand, journal, wanted, |twin| twin.patched(patch, now))
    }

    /// Performs a PUT of tags and desired properties.
    pub(crate) fn replace_twin(
        &mut self,
        identity: &IdentityId,
        with: TwinPatch,
        demand: &IfMatch,
        now: Timestamp,
        journal: &mut Journal,
    ) -> ApiResult<()> {
        self.write_twin(identity, demand, journal, DesiredWrite::Replace, |twin| Ok(twin.replaced(with, now)))
    }

    /// Performs a device's or module's own PATCH of its reported properties. Returns their new
    /// version.
    pub(crate) fn patch_reported(
        &mut self,
        identity: &IdentityId,
        patch: JsonObject,
        base: Option<u64>,
        now: Timestamp,
        journal: &mut Journal,
    ) -> ApiResult<u64> {
        let twin = self.twin_mut(identity)?;
        if base.is_some_and(|base| base != twin.reported.version) {
            return Err(ApiError::etag_mismatch());
        }
        let next = twin.reported(patch, now).map_err(|error| ApiError::argument(error.to_string()))?;
        let version = next.reported.version;
        journal.twin_changed(identity, twin, &next);
        *twin = next;
        journal.updated(identity.device(), identity.module(), true);
        Ok(version)
    }

    /// The twin after a write, and true if the write changes any value.
    pub(super) fn twin_after(
        &mut self,
        identity: &IdentityId,
        demand: &IfMatch,
        write: impl FnOnce(&TwinState) -> Result<TwinState, TwinRuleError>,
    ) -> ApiResult<(TwinState, bool)> {
        let twin = self.twin_mut(identity)?;
        if !demand.allows(&twin.etag()) {
            return Err(ApiError::twin_mismatch(identity.device()));
        }
        let next = write(twin).map_err(|error| ApiError::argument(error.to_string()))?;
        let changed = !next.has_values_of(twin);
        Ok((next, changed))
    }

    fn write_twin(
        &mut self,
        identity: &IdentityId,
        demand: &IfMatch,
        journal: &mut Journal,
        wanted: DesiredWrite,
        write: impl FnOnce(&TwinState) -> Result<TwinState, TwinRuleError>,
    ) -> ApiResult<()> {
        let (next, changed) = self.twin_after(identity, demand, write)?;
        self.put_twin(identity, next, wanted, journal)?;
        journal.updated(identity.device(), identity.module(), changed);
        Ok(())
    }

    /// Stores the twin after a write of a service. All these writes use this function, so that a
    /// connected device or module is notified.
    pub(super) fn put_twin(
        &mut self,
        identity: &IdentityId,
        next: TwinState,
        wanted: DesiredWrite,
        journal: &mut Journal,
    ) -> ApiResult<()> {
        let record = self.identity_mut(identity).map_err(|_| not_found(identity))?;
        journal.twin_changed(identity, &record.twin, &next);
        let before = std::mem::replace(&mut record.twin, next);
        if record.is_connected() && before.desired.version != record.twin.desired.version {
            journal.desired(identity, wanted.notice(&before.desired, &record.twin.desired));
        }
        Ok(())
    }

    pub(super) fn twin_mut(&mut self, identity: &IdentityId) -> ApiResult<&mut TwinState> {
        self.identity_mut(identity).map(|found| &mut found.twin).map_err(|_| not_found(identity))
    }
}

fn not_found(identity: &IdentityId) -> ApiError {
    match identity.module() {
        None => ApiError::device_not_found(identity.device()),
        Some(module) => ApiError {
            text: ApiError::module_not_found(identity.device(), module).text,
            ..ApiError::device_not_found(identity.device())
        },
    }
}
