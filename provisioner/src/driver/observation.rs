//! Reads of the hub, and the meaning of failed reads.

use hub_types::DeviceId;
use hub_types::identity::Status;
use hub_types::twin::Twin;
use serde_json::json;

use super::event::Event;
use super::parent_scopes::ParentScopes;
use crate::hub::{ErrorClass, Hub, HubError, about_its_device};
use crate::ledger::Holds;
use crate::model::compare::{Comparison, Difference, Etags, Observation};
use crate::model::options::TwinPolicy;
use crate::model::spec::{AuthSpec, GivenKeys, IdentitySpec};
use crate::workers::RunError;

/// Reads an identity from the hub and compares it with what the batch wants, for a run that may do this with
/// twins.
pub(crate) async fn observe(
    hub: &impl Hub,
    holds: &Holds,
    parent_scopes: &ParentScopes,
    spec: &IdentitySpec,
    keys: &GivenKeys,
    policy: TwinPolicy,
) -> Result<Observation, RunError> {
    let twin = hub.twin(&spec.identity).await?;
    compare_held(hub, holds, parent_scopes, spec, keys, policy, twin.as_ref()).await
}

/// The same for an identity that no run keeps disabled.
pub(super) async fn read(
    hub: &impl Hub,
    parent_scopes: &ParentScopes,
    spec: &IdentitySpec,
    keys: &GivenKeys,
) -> Result<Observation, HubError> {
    let twin = hub.twin(&spec.identity).await?;
    compare_for(hub, parent_scopes, spec, keys, TwinPolicy::Initial, twin.as_ref()).await
}

/// Compares the batch's values with a twin; keys and the scopes of parents, which twins do not show, are read
/// separately.
pub(crate) async fn compare_for(
    hub: &impl Hub,
    parent_scopes: &ParentScopes,
    spec: &IdentitySpec,
    keys: &GivenKeys,
    policy: TwinPolicy,
    twin: Option<&Twin>,
) -> Result<Observation, HubError> {
    let mut comparison = Comparison::under(policy, spec, twin);
    if let AuthSpec::Sas { given: true } = spec.state.auth
        && !matches!(comparison, Comparison::Missing | Comparison::IdentityDiffers(_) | Comparison::Staged(_))
        && hub.keys(&spec.identity).await?.as_ref() != keys.get(&spec.identity)
    {
        comparison = Comparison::IdentityDiffers(vec![other_keys()]);
    }
    if let Some(stale_parent) = parent_scopes.stale(hub, spec, twin).await? {
        comparison = comparison.and_differs(stale_parent);
    }
    let is_disabled = twin.is_some_and(|twin| twin.status == Status::Disabled);
    Ok(Observation { comparison, etags: Etags::of(twin), is_disabled, hold: None })
}

/// The same for a device that a run has disabled on purpose and that must stay disabled until it is
/// released.
pub(crate) async fn compare_held(
    hub: &impl Hub,
    holds: &Holds,
    parent_scopes: &ParentScopes,
    spec: &IdentitySpec,
    keys: &GivenKeys,
    policy: TwinPolicy,
    twin: Option<&Twin>,
) -> Result<Observation, RunError> {
    let Some(hold) = holds.found(spec, twin).await? else {
        let seen = compare_for(hub, parent_scopes, spec, keys, policy, twin).await?;
        return Ok(match holds.staged_by(spec, twin).await? {
            Some(run) => {
                let differences = seen.comparison.differences().to_vec();
                Observation { comparison: Comparison::StagedByRun { run, differences }, ..seen }
            }
            None => seen,
        });
    };
    let mut held = spec.clone();
    held.state.hold = Some(hold.reason.clone());
    let seen = compare_for(hub, parent_scopes, &held, keys, policy, twin).await?;
    Ok(Observation { hold: Some(hold), ..seen })
}

fn other_keys() -> Difference {
    Difference { path: "keys".into(), expected: json!("those of the batch"), found: json!("others") }
}

/// The meaning of an error after all retries: an event for this identity, or the end of the run.
/// `lost` makes the event of an error with an unknown effect.
pub(crate) fn refused_or_fatal(
    error: HubError,
    lost: Option<fn(HubError) -> Event>,
) -> Result<Event, HubError> {
    match lost {
        Some(lost) if error.effect_is_unknown() => Ok(lost(error)),
        _ if error.class() == ErrorClass::Input => Ok(Event::Refused(error)),
        _ => Err(error),
    }
}

/// The same for a call about a module that was made by itself, after a call in bulk: that the caller may call
/// the hub is known, so a hub that denies access means this one.
pub(super) async fn module_refused_or_fatal(
    hub: &impl Hub,
    device: &DeviceId,
    error: HubError,
) -> Result<Event, HubError> {
    let error = about_its_device(hub, device, error).await;
    match error.class() {
        ErrorClass::Auth => Ok(Event::Refused(error)),
        _ => refused_or_fatal(error, Some(Event::Lost)),
    }
}
