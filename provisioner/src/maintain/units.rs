//! Deleting units: a device takes its modules with it, so whether it may go depends on them.

use std::collections::{BTreeSet, HashMap, HashSet};

use cli_support::causes::with_causes;
use futures_util::future::{join_all, try_join_all};
use hub_types::{DeviceId, IdentityId, ModuleId};

use super::operation::Changing;
use crate::driver::{Event, Task};
use crate::hub::{ErrorClass, Hub, HubError};
use crate::ledger::RowState;
use crate::maintain::change::{ChangeOutcome, ChangeRequest, ChangeStep, Refusal};
use crate::model::compare::is_unused;
use crate::model::failure::ReasonCode;
use crate::model::maintenance::Maintenance;
use crate::model::run_id::RunId;
use crate::model::scopes::scope_of_parent;

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

/// The reasons why devices that are to go stay, if they do.
type Refusals = HashMap<DeviceId, Option<(ReasonCode, String)>>;

/// The devices that stay, by their parents.
pub(super) type StayingChildren = HashMap<DeviceId, Vec<DeviceId>>;

/// Decides for each device that is to go whether it may, and lets its modules go with it. `staying` are
/// children that the run has left alone before.
pub(super) async fn bind(
    hub: &impl Hub,
    maintenance: &Maintenance,
    staying: &StayingChildren,
    tasks: &mut [Task<Changing>],
) -> Result<(), HubError> {
    let others = match maintenance.minds_other_modules() {
        true => with_other_modules(hub, tasks).await?,
        false => HashSet::new(),
    };
    let mut used = match *maintenance {
        Maintenance::Undo { run } => with_used_system_modules(hub, run, tasks).await?,
        _ => HashMap::new(),
    };
    let mut refusals = Refusals::new();
    for task in tasks.iter().filter(|task| task.identity().module().is_none()) {
        let device = task.identity().device();
        match &task.step {
            ChangeStep::Send(ChangeRequest::Delete) => {
                let refusal = match module_that_stays(tasks, device) {
                    Some(module) => Some((ReasonCode::ModuleStays, format!("its module `{module}` stays"))),
                    None if others.contains(device) => {
                        let reason = "it has modules that the run did not create".to_owned();
                        Some((ReasonCode::ForeignModules, reason))
                    }
                    None => used.remove(device),
                };
                refusals.insert(device.clone(), refusal);
            }
            ChangeStep::Finish(ChangeOutcome::Failed(_) | ChangeOutcome::Refused(_)) => {
                refusals.insert(device.clone(), Some((ReasonCode::DeviceStays, String::new())));
            }
            _ => {}
        }
    }
    refuse_parents(&children_on_hub(hub, staying, tasks).await?, &mut refusals);
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

/// The edge devices that are to go, with their scopes.
fn going_parents(tasks: &[Task<Changing>]) -> impl Iterator<Item = (&DeviceId, &String)> {
    tasks
        .iter()
        .filter(|task| task.identity().module().is_none())
        .filter(|task| matches!(task.step, ChangeStep::Send(ChangeRequest::Delete)))
        .filter_map(|task| Some((task.identity().device(), task.decider.scope.as_ref()?)))
}

/// The edge devices that are to go and that have a deployment, or that have run: others write to the twins of
/// system modules, and so does the runtime.
async fn with_used_system_modules(
    hub: &impl Hub,
    run: RunId,
    tasks: &[Task<Changing>],
) -> Result<HashMap<DeviceId, (ReasonCode, String)>, HubError> {
    let modules = system_modules();
    let looks =
        going_parents(tasks).flat_map(|(device, _)| modules.iter().map(move |module| (device, module)));
    let looks = looks.map(|(device, module)| async move {
        let reason = match hub.twin(&IdentityId::new(device.clone(), Some(module.clone()))).await {
            Ok(twin) if twin.as_ref().is_none_or(is_unused) => return Ok(None),
            Ok(_) => (
                ReasonCode::ChangedSinceRun,
                format!(
                    "its module `{module}` was written to by a deployment, or used by the device, since run {run} created it"
                ),
            ),
            Err(error) if error.class() == ErrorClass::Input => {
                (error.reason(), format!("its module `{module}` can't be read: {}", with_causes(&error)))
            }
            Err(error) => return Err(error),
        };
        Ok(Some((device.clone(), reason)))
    });
    Ok(try_join_all(looks).await?.into_iter().flatten().collect())
}

/// The children of edge devices that are to go, as far as they are on the hub. A query finds them, but may be
/// late: each is read, and so are those that the run knows.
async fn children_on_hub(
    hub: &impl Hub,
    staying: &StayingChildren,
    tasks: &[Task<Changing>],
) -> Result<StayingChildren, HubError> {
    let parents: HashMap<&String, &DeviceId> =
        going_parents(tasks).map(|(device, scope)| (scope, device)).collect();
    if parents.is_empty() {
        return Ok(StayingChildren::new());
    }
    let scopes: Vec<String> = parents.keys().copied().cloned().collect();
    let mut children: BTreeSet<DeviceId> = hub.children(&scopes).await?.into_iter().collect();
    children.extend(parents.values().filter_map(|parent| staying.get(*parent)).flatten().cloned());
    let named = tasks
        .iter()
        .filter(|task| task.identity().module().is_none() && task.decider.row.spec.state.parent.is_some());
    children.extend(named.map(|task| task.identity().device().clone()));
    let twins = try_join_all(children.iter().map(|child| async { hub.twin(&child.clone().into()).await }));
    let mut found = StayingChildren::new();
    for (child, twin) in children.iter().zip(twins.await?) {
        let scope = twin.as_ref().and_then(scope_of_parent);
        if let Some(parent) = scope.and_then(|scope| parents.get(&scope.to_owned())) {
            found.entry((*parent).clone()).or_default().push(child.clone());
        }
    }
    Ok(found)
}

/// Refuses the parents of devices that stay, and the parents of these, up to the topmost one.
fn refuse_parents(children: &StayingChildren, refusals: &mut Refusals) {
    loop {
        let goes = |device: &DeviceId| refusals.get(device).is_some_and(Option::is_none);
        let refused: Vec<_> = children
            .iter()
            .filter(|(parent, _)| goes(parent))
            .filter_map(|(parent, children)| {
                let staying: Vec<&DeviceId> = children.iter().filter(|child| !goes(child)).collect();
                Some((parent.clone(), Some((ReasonCode::ChildrenStay, has_children(&staying)?))))
            })
            .collect();
        if refused.is_empty() {
            return;
        }
        refusals.extend(refused);
    }
}

/// The statement that these devices hang below a device; `None` if there are none.
fn has_children(children: &[&DeviceId]) -> Option<String> {
    let (named, others) = children.split_at(children.len().min(NAMED_CHILDREN));
    let names = named.iter().map(|child| format!("`{child}`")).collect::<Vec<_>>().join(", ");
    match (named.is_empty(), others.len()) {
        (true, _) => None,
        (false, 0) => Some(format!("it is the parent of {names}, on the hub")),
        (false, others) => Some(format!("it is the parent of {names} and {others} more, on the hub")),
    }
}

/// The modules that the hub gives every edge device.
#[expect(clippy::expect_used, reason = "the names are constant")]
fn system_modules() -> [ModuleId; 2] {
    ["$edgeAgent", "$edgeHub"].map(|name| name.parse().expect("the name is that of a module"))
}
/// Modules of devices that would be changed or retired: when it is their turn, their device is as it is to be.
pub(super) fn follow_devices(tasks: &mut [Task<Changing>]) {
    let is_device = |task: &&Task<Changing>| task.identity().module().is_none();
    let changing = tasks.iter().filter(is_device).filter(|task| task.is_about_to_change());
    let changing: HashSet<DeviceId> = changing.map(|task| task.identity().device().clone()).collect();
    for task in tasks.iter_mut().filter(|task| task.identity().module().is_some()) {
        let is_there = !matches!(&task.step, ChangeStep::Finish(ChangeOutcome::Refused(refusal))
            if refusal.code == ReasonCode::IdentityMissing);
        if is_there && changing.contains(task.identity().device()) {
            task.step = ChangeStep::Finish(ChangeOutcome::Unchanged);
        }
    }
}

/// The number of children that a message names.
const NAMED_CHILDREN: usize = 3;

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
