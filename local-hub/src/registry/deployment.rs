//! The application of IoT Edge deployments to one device.

use std::collections::BTreeSet;

use hub_types::twin::JsonObject;
use hub_types::{DeviceId, IdentityId, ModuleId, Timestamp};

use super::content::{EDGE_AGENT, deployed_modules};
use super::record::DeviceRecord;
use super::{Journal, Registry};
use crate::api_error::{ApiError, ApiResult};
use crate::configuration_content::DeploymentStack;
use crate::twin::{DesiredWrite, RolledOut, TwinState};

/// The change of a module's twin.
struct TwinChange {
    /// The new desired properties, if they change.
    desired: Option<JsonObject>,
    states: RolledOut,
}

impl Registry {
    /// Returns true if a device already has the content of the deployments. A deleted device needs
    /// nothing.
    pub(crate) fn is_deployed(&self, device: &DeviceId, stack: &DeploymentStack<'_>) -> ApiResult<bool> {
        let Ok(record) = self.device(device) else { return Ok(true) };
        let there: BTreeSet<&ModuleId> = record.modules.keys().filter(|id| !id.is_system()).collect();
        let wanted = wanted_modules(record, stack)?;
        let modules_are_there = wanted.is_none_or(|wanted| wanted.iter().collect::<BTreeSet<_>>() == there);
        let mut modules = record.modules.iter();
        Ok(modules_are_there
            && modules.all(|(id, module)| change(id, &module.identity.twin, stack).is_none()))
    }

    /// Applies the deployments to a device, atomically: `$edgeAgent` determines the modules, and
    /// each module's twin gets its settings.
    pub(crate) fn deploy(
        &mut self,
        device: &DeviceId,
        stack: &DeploymentStack<'_>,
        now: Timestamp,
        journal: &mut Journal,
    ) -> ApiResult<()> {
        let Ok(record) = self.device(device) else { return Ok(()) };
        let wanted = wanted_modules(record, stack)?;
        self.all_or_nothing(device, journal, |registry, journal| {
            if let Some(wanted) = &wanted {
                registry.reconcile_modules(device, wanted, now, journal)?;
            }
            let modules: Vec<ModuleId> = registry.device(device)?.modules.keys().cloned().collect();
            for module in modules {
                registry.deploy_to(&IdentityId::new(device.clone(), Some(module)), stack, now, journal)?;
            }
            Ok(())
        })
    }

    fn deploy_to(
        &mut self,
        identity: &IdentityId,
        stack: &DeploymentStack<'_>,
        now: Timestamp,
        journal: &mut Journal,
    ) -> ApiResult<()> {
        let Some(module) = identity.module() else { return Ok(()) };
        let twin = self.twin_mut(identity)?;
        let Some(TwinChange { desired, states }) = change(module, twin, stack) else { return Ok(()) };
        let (Some(desired), Some(origin)) = (desired, stack.origin(module)) else {
            twin.configurations = Some(Box::new(states));
            journal.touch(identity.device(), identity.module());
            return Ok(());
        };
        let next = twin.deployed(desired, origin, now);
        let mut next = next.map_err(|error| ApiError::argument(format!("module {module}: {error}")))?;
        next.configurations = Some(Box::new(states));
        self.put_twin(identity, next, DesiredWrite::Replace, journal)?;
        journal.updated(identity.device(), identity.module(), true);
        Ok(())
    }
}

/// The modules that a device must have; `None` if the deployments do not change them.
fn wanted_modules(
    record: &DeviceRecord,
    stack: &DeploymentStack<'_>,
) -> ApiResult<Option<BTreeSet<ModuleId>>> {
    let agent = record.modules.iter().find(|(id, _)| id.as_str() == EDGE_AGENT);
    let Some((id, agent)) = agent.filter(|(id, _)| stack.has_settings(id)) else { return Ok(None) };
    let current = agent.identity.twin.desired.properties.to_object();
    deployed_modules(&stack.desired(id, &current)).map(Some)
}

fn change(module: &ModuleId, twin: &TwinState, stack: &DeploymentStack<'_>) -> Option<TwinChange> {
    let states = stack.states(module);
    let current = twin.desired.properties.to_object();
    let desired = stack.desired(module, &current);
    let desired = (desired != current).then_some(desired);
    let is_shown = twin.configurations.as_deref() == Some(&states);
    (desired.is_some() || !is_shown).then_some(TwinChange { desired, states })
}
