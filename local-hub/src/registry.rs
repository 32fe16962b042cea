//! The registry: every device and module of the hub with its twin, in memory.
//!
//! It is a plain structure without locks, I/O or a clock. A write takes the time and a [`Journal`],
//! in which it records the touched identities. Every write is atomic.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use hub_types::identity::{Device, Status};
use hub_types::{Authentication, DeviceId, ErrorCode, Etag, IdentityId, IfMatch, ModuleId, Timestamp};

use self::module_index::ModuleIndex;
use self::record::ModuleRecord;
use crate::api_error::{ApiError, ApiResult};
use crate::ids::random;

pub(crate) use bulk::BulkEntry;
pub(crate) use cloud_to_device::{CloudToDeviceMessage, NewMessage};
pub(crate) use content::DeviceContent;
pub(crate) use document::{Datum, Shape, TwinDocument, column_problem};
pub(crate) use export::write_export_lines;
pub(crate) use journal::{Change, Counts, Journal, Notice};
pub(crate) use keys::KeySlot;
pub(crate) use presence::{Feed, Quality, Subscriptions};
pub(crate) use record::DeviceRecord;
pub(crate) use state_file::{DevicesFile, ExportedDevices};

pub(crate) mod attributes;
mod bulk;
mod cloud_to_device;
mod content;
mod deployment;
mod device;
mod document;
mod export;
mod journal;
mod keys;
mod module;
mod module_index;
mod presence;
mod record;
mod scope;
mod state_file;
#[cfg(test)]
mod tests;
mod twin;

/// All identities of the hub.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Registry {
    devices: BTreeMap<DeviceId, Box<DeviceRecord>>,
    disabled: usize,
    /// The index of modules. The modules themselves are in the records of their devices.
    modules: ModuleIndex,
    /// The largest number of devices and modules; `None` is no bound.
    capacity: Option<usize>,
    connected: usize,
    last_generation: u64,
    /// The next expiry of a cloud-to-device message, for each device that has one. Entries of
    /// deleted devices may remain, without any effect.
    expiries: BTreeSet<(Timestamp, DeviceId)>,
}

impl Registry {
    pub(crate) fn device(&self, id: &DeviceId) -> ApiResult<&DeviceRecord> {
        let found = self.devices.get(id).map(AsRef::as_ref);
        found.ok_or_else(|| ApiError::device_not_found(id))
    }

    /// The first `top` devices by id.
    pub(crate) fn first_devices(&self, top: usize) -> Vec<Device> {
        let first = self.devices.iter().take(top);
        first.map(|(id, record)| record.document(id)).collect()
    }

    /// The registry's entry of a device, with its id.
    pub(crate) fn device_entry(&self, id: &DeviceId) -> Option<(&DeviceId, &DeviceRecord)> {
        self.devices.get_key_value(id).map(|(id, record)| (id, record.as_ref()))
    }

    /// The devices from a bound on, in order.
    pub(crate) fn devices_from<'r>(
        &'r self,
        start: Bound<&DeviceId>,
    ) -> impl Iterator<Item = (&'r DeviceId, &'r DeviceRecord)> + use<'r> {
        let range = self.devices.range::<DeviceId, _>((start, Bound::Unbounded));
        range.map(|(id, record)| (id, record.as_ref()))
    }

    pub(crate) fn device_count(&self) -> usize {
        self.devices.len()
    }

    pub(crate) fn disabled_count(&self) -> usize {
        self.disabled
    }

    /// Refuses new devices and modules once there are `capacity` of them; existing ones stay.
    pub(crate) fn limit_to(&mut self, capacity: usize) {
        self.capacity = Some(capacity);
    }

    /// A registry of stored devices. If they are in order, the index is built in one pass.
    pub(crate) fn restored(devices: Vec<(DeviceId, Box<DeviceRecord>)>) -> Self {
        let mut registry = Self::default();
        for (id, device) in &devices {
            registry.disabled += usize::from(device.settings.status == Status::Disabled);
            let modules = device.modules.values().map(|module| module.identity.generation);
            let newest = modules.fold(device.identity.generation, u64::max);
            registry.last_generation = registry.last_generation.max(newest);
            let expires = device.messages.as_ref().and_then(|queue| queue.next_expiry());
            registry.expiries.extend(expires.map(|expires| (expires, id.clone())));
        }
        let modules =
            devices.iter().flat_map(|(id, device)| device.modules.keys().map(move |module| (id, module)));
        registry.modules = modules.map(|(device, module)| (device.clone(), module.clone())).collect();
        registry.devices = devices.into_iter().collect();
        registry
    }

    /// The record in its stored form; `None` if the identity does not exist.
    pub(crate) fn stored_form(&self, identity: &IdentityId) -> serde_json::Result<Option<Vec<u8>>> {
        let Some(device) = self.devices.get(identity.device()) else {
            return Ok(None);
        };
        match identity.module() {
            None => serde_json::to_vec(device).map(Some),
            Some(module) => device.modules.get(module).map(serde_json::to_vec).transpose(),
        }
    }

    /// The devices from a bound on that have a module of this id, in order.
    pub(crate) fn devices_with_module(
        &self,
        module: &ModuleId,
        start: Bound<&DeviceId>,
    ) -> impl Iterator<Item = &DeviceId> {
        self.modules.devices(module, start)
    }

    /// Adds a module to an existing device. All new modules are added by this function.
    fn add_module(&mut self, device: &DeviceId, id: &ModuleId, record: ModuleRecord) -> ApiResult<()> {
        self.device_mut(device)?.modules.insert(id.clone(), Box::new(record));
        self.modules.insert(device, id);
        Ok(())
    }

    fn remove_module(&mut self, device: &DeviceId, id: &ModuleId) -> ApiResult<()> {
        self.device_mut(device)?.modules.remove(id);
        self.modules.remove(device, id);
        Ok(())
    }

    fn device_mut(&mut self, id: &DeviceId) -> ApiResult<&mut DeviceRecord> {
        let found = self.devices.get_mut(id).map(AsMut::as_mut);
        found.ok_or_else(|| ApiError::device_not_found(id))
    }

    /// Refuses a new identity if the hub is full.
    fn check_room(&self) -> ApiResult<()> {
        match self.capacity {
            Some(capacity) if self.devices.len() + self.modules.len() >= capacity => Err(ApiError::new(
                ErrorCode::IotHubQuotaExceeded,
                format!("the hub is full: it has {capacity} devices and modules"),
            )),
            _ => Ok(()),
        }
    }

    fn identity_mut(&mut self, identity: &IdentityId) -> ApiResult<&mut record::IdentityRecord> {
        match identity.module() {
            None => self.device_mut(identity.device()).map(|device| &mut device.identity),
            Some(module) => self.module_mut(identity.device(), module).map(|module| &mut module.identity),
        }
    }

    /// The ticks of the present time, increased if an earlier identity already has them.
    fn next_generation(&mut self, now: Timestamp) -> u64 {
        self.last_generation = now.ticks().max(self.last_generation + 1);
        self.last_generation
    }
}

/// Refuses an etag that is not the identity's current one.
fn check_etag(demand: &IfMatch, current: &Etag) -> ApiResult<()> {
    if demand.allows(current) { Ok(()) } else { Err(ApiError::version_mismatch(current, demand)) }
}

/// Generates the keys that the client left to the hub.
fn with_keys(authentication: Authentication) -> Authentication {
    match authentication {
        Authentication::Sas(None) => Authentication::Sas(Some(random::symmetric_keys())),
        given => given,
    }
}
