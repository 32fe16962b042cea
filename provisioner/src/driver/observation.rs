//! Reads of the hub, and the meaning of failed reads.

use hub_types::DeviceId;
use hub_types::identity::Status;
use hub_types::twin::Twin;
use serde_json::json;

use super::event::Event;
use super::parent_scopes::ParentScopes;
use crate::hub::{ErrorClass, Hub, HubError, about_its_device};
use crate::ledger::Holds;
use crate::model::compare::{Comparison, Difference, DifferencePath, Observation};
use crate::model::etags::Etags;
use crate::model::options::TwinPolicy;
use crate::model::spec::{AuthSpec, GivenKeys, IdentitySpec};
use crate::workers::RunError;

/// Compares identities on the hub with their specifications.
pub(crate) struct Comparer<'c, H> {
    /// The hub.
    pub(crate) hub: &'c H,
    /// The scopes of the parents.
    pub(crate) parent_scopes: &'c ParentScopes,
    /// The symmetric keys that the batch gives.
    pub(crate) keys: &'c GivenKeys,
    /// What the run may do with twins.
    pub(crate) policy: TwinPolicy,
}

impl<H: Hub> Comparer<'_, H> {
    /// Reads an identity and compares it.
    pub(super) async fn read(&self, spec: &IdentitySpec) -> Result<Observation, HubError> {
        let twin = self.hub.twin(&spec.identity).await?;
        self.compare(spec, twin.as_ref()).await
    }

    /// Reads an identity and compares it. A run may keep it disabled.
    pub(crate) async fn read_held(
        &self,
        holds: &Holds,
        spec: &IdentitySpec,
    ) -> Result<Observation, RunError> {
        let twin = self.hub.twin(&spec.identity).await?;
        self.compare_held(holds, spec, twin.as_ref()).await
    }

    /// Compares a twin that was read. Keys and the scopes of parents, which twins do not show, are read
    /// separately.
    pub(crate) async fn compare(
        &self,
        spec: &IdentitySpec,
        twin: Option<&Twin>,
    ) -> Result<Observation, HubError> {
        let mut comparison = Comparison::under(self.policy, spec, twin);
        if let AuthSpec::Sas { given: true } = spec.state.auth
            && !matches!(
                comparison,
                Comparison::Missing | Comparison::IdentityDiffers(_) | Comparison::Staged(_)
            )
            && self.hub.keys(&spec.identity).await?.as_ref() != self.keys.get(&spec.identity)
        {
            comparison = Comparison::IdentityDiffers(vec![other_keys()]);
        }
        if let Some(stale_parent) = self.parent_scopes.stale(self.hub, spec, twin).await? {
            comparison = comparison.and_differs(stale_parent);
        }
        let is_disabled = twin.is_some_and(|twin| twin.status == Status::Disabled);
        Ok(Observation { comparison, etags: Etags::of(twin), is_disabled, hold: None })
    }

    /// Compares a twin that was read. A device that a run has disabled on purpose must stay disabled until it
    /// is released.
    pub(crate) async fn compare_held(
        &self,
        holds: &Holds,
        spec: &IdentitySpec,
        twin: Option<&Twin>,
    ) -> Result<Observation, RunError> {
        let Some(hold) = holds.found(spec, twin).await? else {
            let seen = self.compare(spec, twin).await?;
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
        let seen = self.compare(&held, twin).await?;
        Ok(Observation { hold: Some(hold), ..seen })
    }
}

fn other_keys() -> Difference {
    Difference { path: DifferencePath::Keys, expected: json!("those of the batch"), found: json!("others") }
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
