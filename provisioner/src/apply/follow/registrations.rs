//! The devices that have registered: those that are on the hub, confirmed by the DPS if there is one.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use hub_types::DeviceId;
use hub_types::dps::RegistrationState;
use hub_types::dps::registration::RegistrationStatus;

use crate::dps::{Dps, registration_id};
use crate::hub::{Hub, HubError};

/// A source of registrations.
pub(crate) trait Registrations: Send + Sync + 'static {
    /// Looks for the registrations of some devices.
    fn find(&self, devices: &[DeviceId]) -> impl Future<Output = Result<Found, HubError>> + Send;
}

/// The registrations that were found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The devices that have registered.
    pub(crate) registered: Vec<(DeviceId, RegisteredHub)>,
    /// The devices that the DPS could not assign, and why.
    pub(crate) failed: Vec<(DeviceId, String)>,
}

/// The hub of a device that has registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RegisteredHub {
    /// A different hub, by its name.
    Elsewhere(String),
    /// The hub of the run.
    Here,
}

/// The registrations as a hub shows them: a device that exists has registered.
pub(crate) struct HubRegistrations<H> {
    /// The hub.
    pub(crate) hub: Arc<H>,
}

impl<H: Hub> Registrations for HubRegistrations<H> {
    async fn find(&self, devices: &[DeviceId]) -> Result<Found, HubError> {
        let existing = self.hub.existing(devices).await?;
        let registered = existing.into_iter().map(|device| (device, RegisteredHub::Here)).collect();
        Ok(Found { registered, failed: Vec::new() })
    }
}

/// The registrations of a DPS. The query of the hub tells cheaply which devices may have registered. The DPS is
/// asked only for these, and for some others in turn, which may be on a different hub or may have failed.
pub(crate) struct DpsRegistrations<H, D> {
    hub: Arc<H>,
    dps: Arc<D>,
    /// The name of the hub, by which the DPS knows it.
    name: String,
    /// The number of other devices that were asked for so far.
    turn: AtomicUsize,
}

impl<H: Hub, D: Dps> DpsRegistrations<H, D> {
    /// The registrations of a DPS with a hub of this host.
    pub(crate) fn new(hub: Arc<H>, host: &str, dps: Arc<D>) -> Self {
        Self { hub, dps, name: name_of(host).to_owned(), turn: AtomicUsize::new(0) }
    }

    /// Asks the DPS for one device.
    async fn ask(&self, device: &DeviceId) -> Result<Option<RegistrationState>, HubError> {
        match registration_id(&device.clone().into()) {
            Ok(id) => self.dps.registration(&id).await,
            // No device can register by this id.
            Err(_) => Ok(None),
        }
    }

    fn judge(&self, device: &DeviceId, state: RegistrationState, found: &mut Found) {
        match (state.status, state.assigned_hub) {
            (RegistrationStatus::Assigned, Some(hub)) if name_of(&hub).eq_ignore_ascii_case(&self.name) => {
                found.registered.push((device.clone(), RegisteredHub::Here));
            }
            (RegistrationStatus::Assigned, Some(hub)) => {
                found.registered.push((device.clone(), RegisteredHub::Elsewhere(hub)));
            }
            (RegistrationStatus::Failed, _) => {
                let code = state.error_code.map(|code| code.to_string());
                let reason: Vec<String> = code.into_iter().chain(state.error_message).collect();
                found.failed.push((device.clone(), reason.join(" ")));
            }
            _ => {}
        }
    }
}

impl<H: Hub, D: Dps> Registrations for DpsRegistrations<H, D> {
    async fn find(&self, devices: &[DeviceId]) -> Result<Found, HubError> {
        let existing: HashSet<DeviceId> = self.hub.existing(devices).await?.into_iter().collect();
        let (candidates, others): (Vec<_>, Vec<_>) =
            devices.iter().partition(|device| existing.contains(*device));
        let turn = self.turn.fetch_add(OTHERS, Ordering::Relaxed).checked_rem(others.len()).unwrap_or(0);
        let others = others.iter().cycle().skip(turn).take(OTHERS.min(others.len()));
        let asked: Vec<&DeviceId> = candidates.into_iter().chain(others.copied()).collect();
        let answers = join_all(asked.iter().map(|device| self.ask(device))).await;
        let mut found = Found::default();
        for (device, answer) in asked.into_iter().zip(answers) {
            if let Some(state) = answer? {
                self.judge(device, state, &mut found);
            }
        }
        Ok(found)
    }
}

/// The name of a hub without its port.
fn name_of(host: &str) -> &str {
    host.split_once(':').map_or(host, |(name, _)| name)
}

/// Devices that are not on the hub, and are asked for with each thousand.
const OTHERS: usize = 20;
