//! The registry: every device and module of the hub with its twin, in memory.
//!
//! It is a plain structure without locks, I/O or a clock. A write takes the time and a
//! [`Journal`], into which it notes what it touched; it either happens as a whole or is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use hub_types::identity::{Device, Status};
use hub_types::{Authentication, DeviceId, ErrorCode, Etag, IdentityId, IfMatch, ModuleId, Timestamp};

use self::module_index::ModuleIndex;
use self::record::ModuleRecord;
use crate::random;
use crate::refusal::Refusal;

pub(crate) use bulk::BulkEntry;
pub(crate) use commands::{Command, Message};
pub(crate) use content::DeviceContent;
pub(crate) use document::{Datum, Shape, TwinDocument, column_problem};
pub(crate) use export::write_export_lines;
pub(crate) use journal::{Change, Counts, Journal, Notice};
pub(crate) use keys::KeySlot;
pub(crate) use presence::{Feed, Quality, Subscriptions};
pub(crate) use record::DeviceRecord;
pub(crate) use state_file::{DevicesFile, ExportedDevices};

mod bulk;
mod commands;
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
    /// The modules themselves are with their devices.
    modules: ModuleIndex,
    /// How many devices and modules there may be; none is no bound.
    capacity: Option<usize>,
    connected: usize,
    last_generation: u64,
    /// When the next cloud-to-device message expires, for each device that has one. Of devices that
    /// are gone something may be left, which does no harm.
    expiries: BTreeSet<(Timestamp, DeviceId)>,
}

/// The answer of every operation.
pub(crate) type Answer<T> = Result<T, Refusal>;

impl Registry {
    pub(crate) fn device(&self, id: &DeviceId) -> Answer<&DeviceRecord> {
        let found = self.devices.get(id).map(AsRef::as_ref);
        found.ok_or_else(|| Refusal::device_not_found(id))
    }

    /// The first `top` devices by id.
    pub(crate) fn first_devices(&self, top: usize) -> Vec<Device> {
        let first = self.devices.iter().take(top);
        first.map(|(id, record)| record.document(id)).collect()
    }

    /// The device as it stands in the registry, id included.
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

    /// Refuses new devices and modules from so many on; those there are already stay.
    pub(crate) fn limit_to(&mut self, capacity: usize) {
        self.capacity = Some(capacity);
    }

    /// The registry of what a store kept. Of devices in order, the index is built in one go.
    pub(crate) fn restored(devices: Vec<(DeviceId, Box<DeviceRecord>)>) -> Self {
        let mut registry = Self::default();
        for (id, device) in &devices {
            registry.disabled += usize::from(device.settings.status == Status::Disabled);
            let modules = device.modules.values().map(|module| module.identity.generation);
            let newest = modules.fold(device.identity.generation, u64::max);
            registry.last_generation = registry.last_generation.max(newest);
            let expires = device.commands.as_ref().and_then(|queue| queue.next_expiry());
            registry.expiries.extend(expires.map(|expires| (expires, id.clone())));
        }
        let modules =
            devices.iter().flat_map(|(id, device)| device.modules.keys().map(move |module| (id, module)));
        registry.modules = modules.map(|(device, module)| (device.clone(), module.clone())).collect();
        registry.devices = devices.into_iter().collect();
        registry
    }

    /// The record as a store keeps it; `None` when there is no such identity.
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

    /// Puts a module into a device that is there. Every new module goes through here.
    fn add_module(&mut self, device: &DeviceId, id: &ModuleId, record: ModuleRecord) -> Answer<()> {
        self.device_mut(device)?.modules.insert(id.clone(), Box::new(record));
        self.modules.insert(device, id);
        Ok(())
    }

    fn remove_module(&mut self, device: &DeviceId, id: &ModuleId) -> Answer<()> {
        self.device_mut(device)?.modules.remove(id);
        self.modules.remove(device, id);
        Ok(())
    }

    fn device_mut(&mut self, id: &DeviceId) -> Answer<&mut DeviceRecord> {
        let found = self.devices.get_mut(id).map(AsMut::as_mut);
        found.ok_or_else(|| Refusal::device_not_found(id))
    }

    /// Refuses when there is no room for another identity.
    fn check_room(&self) -> Answer<()> {
        match self.capacity {
            Some(capacity) if self.devices.len() + self.modules.len() >= capacity => Err(Refusal::new(
                ErrorCode::IotHubQuotaExceeded,
                format!("the hub is full: it has {capacity} devices and modules"),
            )),
            _ => Ok(()),
        }
    }

    fn identity_mut(&mut self, identity: &IdentityId) -> Answer<&mut record::IdentityRecord> {
        match identity.module() {
            None => self.device_mut(identity.device()).map(|device| &mut device.identity),
            Some(module) => self.module_mut(identity.device(), module).map(|module| &mut module.identity),
        }
    }

    /// The ticks of now, moved on where an earlier identity has them.
    fn next_generation(&mut self, now: Timestamp) -> u64 {
        self.last_generation = now.ticks().max(self.last_generation + 1);
        self.last_generation
    }
}

/// Refuses an etag that is not the identity's current one.
fn check_etag(demand: &IfMatch, current: &Etag) -> Answer<()> {
    if demand.allows(current) { Ok(()) } else { Err(Refusal::version_mismatch(current, demand)) }
}

/// Fills in what the client left to the hub: keys.
fn with_keys(authentication: Authentication) -> Authentication {
    match authentication {
        Authentication::Sas(None) => Authentication::Sas(Some(random::symmetric_keys())),
        given => given,
    }
}
