//! Deleting units: a device takes its modules with it, so whether it may go depends on them.

use std::collections::{HashMap, HashSet};

use futures_util::future::join_all;
use hub_types::{DeviceId, IdentityId, ModuleId};

use super::operation::Changing;
use crate::driver::{Event, Task};
use crate::hub::{ErrorClass, Hub, HubError};
use crate::ledger::RowState;
use crate::maintain::change::{ChangeOutcome, ChangeRequest, ChangeStep, Refusal};
use crate::model::failure::ReasonCode;
use crate::model::maintenance::Maintenance;

/// Separates the modules of devices that stayed before: a unit goes as a whole, or stays as a whole.
pub(super) fn split_closed(
    tasks: Vec<Task<Changing>>,
    closed: &[(DeviceId, RowState)],
) -> (Vec<Task<Changing>>, Vec<Task<Changing>>) {
    let has_gone = |state: &RowState| matches!(state, RowState::Done | RowState::Unchanged);
    let stays = |task: &Task<Changing>| {
        let device = task.identity().device();
        task.identity().module().is_some()
            && closed.iter().any(|(closed, state)| closed == device && !has_gone(state))
    };
    let (mut left, tasks): (Vec<_>, Vec<_>) = tasks.into_iter().partition(stays);
    for task in &mut left {
        task.step = ChangeStep::Finish(stays_with(task.identity().device()));
    }
    (tasks, left)
}

/// Decides for each device that is to go whether it may, and lets its modules go with it.
pub(super) async fn bind(
    hub: &impl Hub,
    maintenance: &Maintenance,
    tasks: &mut [Task<Changing>],
) -> Result<(), HubError> {
    let others = match maintenance.minds_other_modules() {
        true => with_other_modules(hub, tasks).await?,
        false => HashSet::new(),
    };
    let mut refusals = HashMap::new();
    for task in tasks.iter().filter(|task| task.identity().module().is_none()) {
        let device = task.identity().device();
        match &task.step {
            ChangeStep::Send(ChangeRequest::Delete) => {
                let refusal = match module_that_stays(tasks, device) {
                    Some(module) => Some((ReasonCode::ModuleStays, format!("its module `{module}` stays"))),
                    None => others.contains(device).then(|| {
                        (ReasonCode::ForeignModules, "it has modules that the run did not create".to_owned())
                    }),
                };
                refusals.insert(device.clone(), refusal);
            }
            ChangeStep::Finish(ChangeOutcome::Failed(_) | ChangeOutcome::Refused(_)) => {
                refusals.insert(device.clone(), Some((ReasonCode::DeviceStays, String::new())));
            }
            _ => {}
        }
    }
    for task in tasks.iter_mut().filter(|task| matches!(task.step, ChangeStep::Send(ChangeRequest::Delete))) {
        let device = task.identity().device();
        match (task.identity().module(), refusals.get(device)) {
            (None, Some(Some((code, reason)))) => {
                let refusal = Refusal { code: *code, reason: reason.clone(), differences: Vec::new() };
                task.step = ChangeStep::Finish(ChangeOutcome::Refused(refusal));
            }
            (Some(_), Some(Some(_))) => task.step = ChangeStep::Finish(stays_with(device)),
            (Some(_), Some(None)) => task.decider.goes_with_device = true,
            _ => {}
        }
    }
    Ok(())
}

/// Tells an identity what the hub answered, and if it is a device the modules that go with it.
pub(super) fn tell(tasks: &mut [Task<Changing>], identity: &IdentityId, event: Event) {
    if identity.module().is_none() {
        let modules = tasks
            .iter_mut()
            .filter(|task| task.decider.goes_with_device && task.identity().device() == identity.device());
        for task in modules {
            match &event {
                Event::Lost(_) => task.answered(Event::Lost(HubError::NoAnswer)),
                Event::Outdated(_) => task.answered(Event::Outdated(HubError::NoAnswer)),
                Event::Refused(_) => task.step = ChangeStep::Finish(stays_with(identity.device())),
                Event::Created | Event::CreatedWithoutTwin | Event::IdentityUpdated | Event::TwinWritten => {
                    task.answered(Event::IdentityUpdated)
                }
                // That is no answer to a change.
                Event::AlreadyExists | Event::Observed(_) => task.answered(Event::Lost(HubError::Unclear)),
            }
        }
    }
    if let Some(task) = tasks.iter_mut().find(|task| task.identity() == identity) {
        task.answered(event);
    }
}

fn stays_with(device: &DeviceId) -> ChangeOutcome {
    let reason = format!("nothing was done, because its device `{device}` stays");
    ChangeOutcome::Skipped(Refusal { code: ReasonCode::DeviceStays, reason, differences: Vec::new() })
}

/// A module of the device that was looked at and is to be left alone.
fn module_that_stays<'t>(tasks: &'t [Task<Changing>], device: &DeviceId) -> Option<&'t ModuleId> {
    tasks
        .iter()
        .filter(|task| task.identity().device() == device)
        .filter(|task| {
            matches!(task.step, ChangeStep::Finish(ChangeOutcome::Failed(_) | ChangeOutcome::Refused(_)))
        })
        .find_map(|task| task.identity().module())
}

/// The devices that are to go and have more modules than those that go with them. A query counts those
/// of many devices at once, but may be late: where it counts too many, the registry is asked.
async fn with_other_modules(hub: &impl Hub, tasks: &[Task<Changing>]) -> Result<HashSet<DeviceId>, HubError> {
    let going = |task: &&Task<Changing>| matches!(task.step, ChangeStep::Send(ChangeRequest::Delete));
    let devices: Vec<DeviceId> = tasks
        .iter()
        .filter(going)
        .filter(|task| task.identity().module().is_none())
        .map(|task| task.identity().device().clone())
        .filter(|device| module_that_stays(tasks, device).is_none())
        .collect();
    if devices.is_empty() {
        return Ok(HashSet::new());
    }
    let of_run: HashSet<&IdentityId> = tasks.iter().filter(going).map(Task::identity).collect();
    let own =
        |device: &DeviceId| of_run.iter().filter(|id| id.device() == device && id.module().is_some()).count();
    let counts = hub.count_modules(&devices).await?;
    let crowded = devices
        .into_iter()
        .filter(|device| counts.get(device).is_some_and(|count| *count > own(device) as u64));
    let crowded: Vec<DeviceId> = crowded.collect();
    let modules = join_all(crowded.iter().map(|device| hub.modules(device))).await;
    let mut others = HashSet::new();
    for (device, modules) in crowded.into_iter().zip(modules) {
        let is_other = |module: &ModuleId| {
            !module.is_system() && !of_run.contains(&IdentityId::new(device.clone(), Some(module.clone())))
        };
        let has_others = match modules {
            Ok(modules) => modules.iter().any(is_other),
            // Of the modules of a disabled device a hub says nothing to a caller with a key: the query holds.
            // Whatever else the trouble of one device is, it stays, and the others go.
            Err(error) if matches!(error.class(), ErrorClass::Auth | ErrorClass::Input) => true,
            Err(error) => return Err(error),
        };
        if has_others {
            others.insert(device);
        }
    }
    Ok(others)
}
