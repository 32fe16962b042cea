//! The content of a configuration, written to one device and its modules.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use hub_types::identity::ModuleSpec;
use hub_types::twin::{JsonObject, SectionPatch, TwinPatch};
use hub_types::{DeviceId, IdentityId, IfMatch, ModuleId, Timestamp};
use serde_json::Value;

use super::record::DeviceRecord;
use super::{Journal, Registry};
use crate::api_error::{ApiError, ApiResult};
use crate::configuration_content::{TwinSettings, invalid as invalid_content};
use crate::twin::{DesiredWrite, Properties, RolledOut, TwinState, WriteOrigin};

/// The content of a configuration for one device.
#[derive(Debug)]
pub(crate) struct DeviceContent {
    pub(crate) device: Option<TwinSettings>,
    pub(crate) modules: BTreeMap<ModuleId, TwinSettings>,
}

impl Registry {
    /// Writes the content into the twins. If it has settings for `$edgeAgent`, the device's modules
    /// become those that the settings name: missing modules are created, others deleted.
    pub(crate) fn apply_content(
        &mut self,
        device: &DeviceId,
        content: DeviceContent,
        now: Timestamp,
        journal: &mut Journal,
    ) -> ApiResult<()> {
        let record = self.device(device)?;
        if !content.modules.is_empty() && !record.is_edge() {
            return Err(invalid_content(format!("device {device} is no IoT Edge device")));
        }
        self.all_or_nothing(device, journal, |registry, journal| {
            if let Some(settings) = content.device {
                registry.apply_settings(&device.clone().into(), settings, now, journal)?;
            }
            // The agent's settings decide which modules there are for the others.
            let (agent, others): (Vec<_>, Vec<_>) =
                content.modules.into_iter().partition(|(module, _)| module.as_str() == EDGE_AGENT);
            for (module, settings) in agent {
                let identity = IdentityId::new(device.clone(), Some(module));
                registry.apply_settings(&identity, settings, now, journal)?;
                let wanted = deployed_modules(&registry.twin_mut(&identity)?.desired.properties.to_object())?;
                registry.reconcile_modules(device, &wanted, now, journal)?;
            }
            for (module, settings) in others {
                let identity = IdentityId::new(device.clone(), Some(module));
                registry.apply_settings(&identity, settings, now, journal)?;
            }
            Ok(())
        })
    }

    /// Records which configurations target an identity. The applied one writes its settings, unless
    /// it already has.
    pub(crate) fn roll_out(
        &mut self,
        identity: &IdentityId,
        wanted: Option<(RolledOut, JsonObject, WriteOrigin)>,
        now: Timestamp,
        journal: &mut Journal,
    ) -> ApiResult<()> {
        let Ok(twin) = self.twin_mut(identity) else {
            // It has gone since it was found.
            return Ok(());
        };
        let Some((wanted, settings, origin)) = wanted else {
            twin.configurations = None;
            journal.touch(identity.device(), identity.module());
            return Ok(());
        };
        if twin.configurations.as_deref().is_some_and(|before| before.applies_same(&wanted)) {
            twin.configurations = Some(Box::new(wanted));
            journal.touch(identity.device(), identity.module());
            return Ok(());
        }
        let next = twin.rolled_out(settings.clone(), origin, now);
        let mut next = next.map_err(|error| ApiError::argument(error.to_string()))?;
        next.configurations = Some(Box::new(wanted));
        let write = DesiredWrite::Patch(SectionPatch::Merge(settings));
        self.put_twin(identity, next, write, journal)?;
        journal.updated(identity.device(), identity.module(), true);
        Ok(())
    }

    /// The next targets of configurations after `after`, and the position of the search; `None` at
    /// the end.
    pub(crate) fn rolled_out(&self, after: Option<&DeviceId>) -> (Vec<IdentityId>, Option<DeviceId>) {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let (mut found, mut reached, mut left) = (Vec::new(), None, DEVICES_PER_STEP);
        for (id, device) in self.devices_from(start) {
            if device.identity.twin.configurations.is_some() {
                found.push(id.clone().into());
            }
            let modules = device.modules.iter();
            let modules = modules.filter(|(_, module)| module.identity.twin.configurations.is_some());
            found.extend(modules.map(|(module, _)| IdentityId::new(id.clone(), Some(module.clone()))));
            left -= 1;
            if left == 0 {
                reached = Some(id.clone());
                break;
            }
        }
        (found, reached)
    }

    /// The configurations in a twin.
    pub(crate) fn configurations_of(&self, identity: &IdentityId) -> Option<&RolledOut> {
        self.identity(identity)?.twin.configurations.as_deref()
    }

    fn apply_settings(
        &mut self,
        identity: &IdentityId,
        settings: TwinSettings,
        now: Timestamp,
        journal: &mut Journal,
    ) -> ApiResult<()> {
        if let Some(whole) = settings.whole().cloned() {
            let tags = self.twin_mut(identity)?.tags.as_ref().map(Properties::to_object);
            let with = checked(tags, whole)?;
            self.replace_twin(identity, with, &IfMatch::Any, now, journal)?;
        }
        let parts = settings.parts();
        if parts.is_empty() {
            return Ok(());
        }
        self.patch_twin(identity, checked(None, parts)?, &IfMatch::Any, now, journal)
    }

    pub(super) fn reconcile_modules(
        &mut self,
        device: &DeviceId,
        wanted: &BTreeSet<ModuleId>,
        now: Timestamp,
        journal: &mut Journal,
    ) -> ApiResult<()> {
        let modules = self.device(device)?.modules.keys().filter(|id| !id.is_system());
        let there: BTreeSet<ModuleId> = modules.cloned().collect();
        for module in there.difference(wanted) {
            self.delete_module(device, module, &IfMatch::Any, journal)?;
        }
        for module in wanted.difference(&there) {
            let spec = ModuleSpec {
                module_id: module.clone(),
                device_id: Some(device.clone()),
                managed_by: Some("iotEdge".to_owned()),
                authentication: None,
            };
            let twin = TwinState::new(Timestamp::NEVER, TwinPatch::default());
            self.create_module(device, spec, twin, now, journal)?;
        }
        Ok(())
    }

    /// Performs several writes to one device and its modules atomically.
    pub(super) fn all_or_nothing<T>(
        &mut self,
        device: &DeviceId,
        journal: &mut Journal,
        write: impl FnOnce(&mut Self, &mut Journal) -> ApiResult<T>,
    ) -> ApiResult<T> {
        let before = self.device(device)?.clone();
        let mut written = Journal::default();
        match write(self, &mut written) {
            Ok(value) => {
                journal.absorb(written);
                Ok(value)
            }
            Err(error) => {
                self.put_back(device, before);
                Err(error)
            }
        }
    }

    /// Restores the earlier state of a device and its modules.
    fn put_back(&mut self, device: &DeviceId, before: DeviceRecord) {
        let after = self.devices.get(device).map(|record| record.modules.keys().cloned().collect::<Vec<_>>());
        for module in after.into_iter().flatten() {
            self.modules.remove(device, &module);
        }
        for module in before.modules.keys() {
            self.modules.insert(device, module);
        }
        self.devices.insert(device.clone(), Box::new(before));
    }
}

/// The modules that the desired properties of `$edgeAgent` name.
pub(super) fn deployed_modules(agent: &JsonObject) -> ApiResult<BTreeSet<ModuleId>> {
    let modules = agent.get("modules").and_then(Value::as_object);
    let ids = modules.into_iter().flatten().map(|(module, _)| ModuleId::new(module));
    ids.collect::<Result<_, _>>().map_err(|error| ApiError::argument(error.to_string()))
}

/// The write of tags and desired properties, if it follows the rules.
fn checked(tags: Option<JsonObject>, desired: JsonObject) -> ApiResult<TwinPatch> {
    let section = |object: Option<JsonObject>| object.map_or(SectionPatch::Keep, SectionPatch::Merge);
    let patch = TwinPatch { tags: section(tags), desired: SectionPatch::Merge(desired) };
    patch.check().map_err(|error| ApiError::argument(error.to_string()))?;
    Ok(patch)
}

const DEVICES_PER_STEP: usize = 2000;
pub(super) const EDGE_AGENT: &str = "$edgeAgent";
