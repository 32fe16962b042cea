//! Reading and writing the twins of devices and modules.

use hub_types::twin::{TwinPatch, TwinRuleError};
use hub_types::{IdentityId, IfMatch, Timestamp};

use super::{Answer, Journal, Registry, TwinDocument, check_etag};
use crate::refusal::Refusal;
use crate::twin::TwinState;

impl Registry {
    /// A twin; that of a missing module is refused as a missing device, as on a live hub.
    pub(crate) fn twin(&self, identity: &IdentityId) -> Answer<TwinDocument<'_>> {
        let (id, device) =
            self.devices.get_key_value(identity.device()).ok_or_else(|| not_found(identity))?;
        let Some(module) = identity.module() else {
            return Ok(TwinDocument::of_device(id, device));
        };
        let (module, record) = device.modules.get_key_value(module).ok_or_else(|| not_found(identity))?;
        Ok(TwinDocument::of_module(id, module, record))
    }

    /// A PATCH of tags and desired properties.
    pub(crate) fn patch_twin(
        &mut self,
        identity: &IdentityId,
        patch: TwinPatch,
        demand: &IfMatch,
        now: Timestamp,
        journal: &mut Journal,
    ) -> Answer<()> {
        self.write_twin(identity, demand, journal, |twin| twin.patched(patch, now))
    }

    /// A PUT of tags and desired properties.
    pub(crate) fn replace_twin(
        &mut self,
        identity: &IdentityId,
        with: TwinPatch,
        demand: &IfMatch,
        now: Timestamp,
        journal: &mut Journal,
    ) -> Answer<()> {
        self.write_twin(identity, demand, journal, |twin| Ok(twin.replaced(with, now)))
    }

    /// What a write would make of a twin, and whether that changes any value.
    pub(super) fn twin_after(
        &mut self,
        identity: &IdentityId,
        demand: &IfMatch,
        write: impl FnOnce(&TwinState) -> Result<TwinState, TwinRuleError>,
    ) -> Answer<(TwinState, bool)> {
        let twin = self.twin_mut(identity)?;
        check_etag(demand, &twin.etag())?;
        let next = write(twin).map_err(|error| Refusal::argument(error.to_string()))?;
        let changed = !next.has_values_of(twin);
        Ok((next, changed))
    }

    fn write_twin(
        &mut self,
        identity: &IdentityId,
        demand: &IfMatch,
        journal: &mut Journal,
        write: impl FnOnce(&TwinState) -> Result<TwinState, TwinRuleError>,
    ) -> Answer<()> {
        let (next, changed) = self.twin_after(identity, demand, write)?;
        *self.twin_mut(identity)? = next;
        journal.updated(identity.device(), identity.module(), changed);
        Ok(())
    }

    pub(super) fn twin_mut(&mut self, identity: &IdentityId) -> Answer<&mut TwinState> {
        let found = match identity.module() {
            None => self.device_mut(identity.device()).map(|device| &mut device.identity),
            Some(module) => self.module_mut(identity.device(), module).map(|module| &mut module.identity),
        };
        found.map(|found| &mut found.twin).map_err(|_| not_found(identity))
    }
}

fn not_found(identity: &IdentityId) -> Refusal {
    match identity.module() {
        None => Refusal::device_not_found(identity.device()),
        Some(module) => Refusal {
            text: Refusal::module_not_found(identity.device(), module).text,
            ..Refusal::device_not_found(identity.device())
        },
    }
}
