//! Lookups of what the runs of a ledger did to an identity: the run that keeps a device disabled on
//! purpose, and the last run that changed an identity.

use hub_types::identity::Status;
use hub_types::twin::Twin;
use hub_types::{DeviceId, IdentityId};

use crate::ledger::{LedgerError, LedgerRow, SharedLedger};
use crate::model::compare::is_marked_as_staged;
use crate::model::hold::Hold;
use crate::model::maintenance::Maintenance;
use crate::model::run_id::RunId;
use crate::model::spec::IdentitySpec;

/// The records of a ledger on the identities of a hub.
#[derive(Debug, Clone)]
pub(crate) struct Holds {
    ledger: Option<SharedLedger>,
    hub: String,
}

impl Holds {
    /// Those of a hub that this ledger knows of; none where there is no ledger.
    pub(crate) fn new(ledger: Option<SharedLedger>, hub: impl Into<String>) -> Self {
        Self { ledger, hub: hub.into() }
    }

    /// Those of the hub of a run.
    pub(crate) async fn of_run(ledger: &SharedLedger, run: RunId) -> Result<Self, LedgerError> {
        let hub = ledger.call(move |ledger| ledger.run(Some(run))).await?.hub;
        Ok(Self::new(Some(ledger.clone()), hub))
    }

    /// The run that keeps a device disabled; only runs before `before` count, if it is given.
    pub(crate) async fn of(
        &self,
        device: &DeviceId,
        before: Option<RunId>,
    ) -> Result<Option<Hold>, LedgerError> {
        let Some(ledger) = &self.ledger else { return Ok(None) };
        let (hub, device) = (self.hub.clone(), IdentityId::from(device.clone()));
        ledger.call(move |ledger| ledger.hold(&hub, &device, before)).await
    }

    /// The last run after `run` that changed an identity.
    pub(crate) async fn last_change(
        &self,
        identity: &IdentityId,
        run: RunId,
    ) -> Result<Option<RunId>, LedgerError> {
        let Some(ledger) = &self.ledger else { return Ok(None) };
        let (hub, identity) = (self.hub.clone(), identity.clone());
        ledger.call(move |ledger| ledger.last_change(&hub, &identity, run)).await
    }

    /// The row of an identity in a run of this ledger.
    pub(crate) async fn row(
        &self,
        run: RunId,
        identity: &IdentityId,
    ) -> Result<Option<LedgerRow>, LedgerError> {
        let Some(ledger) = &self.ledger else { return Ok(None) };
        let identity = identity.clone();
        ledger.call(move |ledger| ledger.row(run, &identity)).await
    }

    /// The run that was interrupted and is to disable a device when it is resumed; only runs before `before`
    /// count, if it is given.
    async fn unfinished(
        &self,
        device: &DeviceId,
        before: Option<RunId>,
    ) -> Result<Option<Hold>, LedgerError> {
        let Some(ledger) = &self.ledger else { return Ok(None) };
        let (hub, device) = (self.hub.clone(), IdentityId::from(device.clone()));
        ledger.call(move |ledger| ledger.unfinished_hold(&hub, &device, before)).await
    }

    /// The run that keeps a device disabled or is still to disable it, if the operation of `run` needs it and
    /// changes the device itself; a dry run is no run.
    pub(crate) async fn for_maintenance(
        &self,
        maintenance: &Maintenance,
        run: Option<RunId>,
        identity: &IdentityId,
        twin: Option<&Twin>,
    ) -> Result<Option<Hold>, LedgerError> {
        match (twin, identity.module()) {
            (Some(_), None) if maintenance.minds_unfinished_runs() => {
                match self.unfinished(identity.device(), None).await? {
                    Some(unfinished) => Ok(Some(unfinished)),
                    None => self.of(identity.device(), maintenance.hold_before()).await,
                }
            }
            // What a device that is enabled has to be released to, its twin says, unless a quarantine has
            // replaced its status reason and is still to disable it.
            (Some(twin), None) if maintenance.retires() && twin.status == Status::Enabled => {
                match is_marked_as_staged(twin) {
                    true => self.unfinished(identity.device(), run).await,
                    false => Ok(None),
                }
            }
            (Some(_), None) if maintenance.needs_hold() => {
                self.of(identity.device(), maintenance.hold_before()).await
            }
            _ => Ok(None),
        }
    }

    /// The run that keeps a device of a DPS out or is still to retire it, if the operation needs it.
    pub(crate) async fn for_enrolled(
        &self,
        maintenance: &Maintenance,
        identity: &IdentityId,
    ) -> Result<Option<Hold>, LedgerError> {
        if !maintenance.minds_unfinished_runs() || identity.module().is_some() {
            return Ok(None);
        }
        match self.unfinished(identity.device(), None).await? {
            Some(unfinished) => Ok(Some(unfinished)),
            None => self.of(identity.device(), None).await,
        }
    }

    /// The interrupted run that has prepared a device and is still to disable it, if the batch wants the
    /// device enabled.
    pub(crate) async fn staged_by(
        &self,
        spec: &IdentitySpec,
        twin: Option<&Twin>,
    ) -> Result<Option<RunId>, LedgerError> {
        let is_enabled = spec.identity.module().is_none() && spec.state.status_on_hub() == Status::Enabled;
        if !is_enabled || !twin.is_some_and(is_marked_as_staged) {
            return Ok(None);
        }
        Ok(self.unfinished(spec.identity.device(), None).await?.map(|hold| hold.run))
    }

    /// The run that keeps a device disabled that the batch wants enabled, if the device is still in
    /// the state that this run left.
    pub(crate) async fn found(
        &self,
        spec: &IdentitySpec,
        twin: Option<&Twin>,
    ) -> Result<Option<Hold>, LedgerError> {
        let is_held = spec.identity.module().is_none() && spec.state.status == Status::Enabled;
        let Some(twin) = twin.filter(|twin| is_held && twin.status == Status::Disabled) else {
            return Ok(None);
        };
        let hold = self.of(spec.identity.device(), None).await?;
        Ok(hold.filter(|hold| hold.is_as_left(twin)))
    }
}
