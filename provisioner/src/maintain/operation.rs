//! The reads and requests of a maintenance run, and its decisions about one identity.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use cli_support::causes::with_causes;
use futures_util::future::join_all;
use hub_types::identity::{Status, StatusReason};
use hub_types::twin::Twin;
use hub_types::{DeviceId, Etag, IdentityId, Thumbprint};

use super::Rehearsal;
use super::change::{
    ChangeDecision, ChangeMachine, ChangeOutcome, ChangeRequest, ChangeResponse, ChangeStep, EnrolledDevice,
    Refusal,
};
use super::connect_check::{CertificateCheck, CheckFailed};
use super::units::{self, StayingChildren};
use crate::driver::{Decider, Event, HubWriter, IdentityUpdate, Operation, Task};
use crate::hub::{Hub, HubError, pause_after};
use crate::ledger::{Holds, LedgerRow, Record, RowState, Sent};
use crate::model::compare::is_marked_as_staged;
use crate::model::effect::Effect;
use crate::model::etags::Etags;
use crate::model::failure::ReasonCode;
use crate::model::hold::Hold;
use crate::model::maintenance::Maintenance;
use crate::model::run_id::RunId;
use crate::model::scopes::{Scopes, own_scope};
use crate::model::spec::{AuthSpec, GivenKeys};
use crate::workers::RunError;

/// The change of existing identities on one hub.
pub(crate) struct ChangeOperation<H> {
    hub: Arc<H>,
    hub_writer: HubWriter<H>,
    holds: Holds,
    maintenance: Arc<Maintenance>,
    /// The run that carries it out; a dry run is none.
    run: Option<RunId>,
    certificate_check: Option<CertificateCheck>,
    /// The children that it has left alone.
    staying: Mutex<StayingChildren>,
}

/// The decisions about one identity of a maintenance run.
pub(crate) struct Changing {
    pub(super) row: LedgerRow,
    maintenance: Arc<Maintenance>,
    pub(super) machine: ChangeMachine,
    /// The version of the identity that a deletion was sent for, or another request before this session.
    pub(super) sent_for: Option<Etag>,
    /// The status of the last read, and its reason.
    status: Status,
    status_reason: Option<StatusReason>,
    /// The scope of the last read, if it is an edge device.
    pub(super) scope: Option<String>,
    /// True for a module that is deleted with its device.
    pub(super) goes_with_device: bool,
    /// On a DPS: all that lets the device in, as of the last read.
    pub(super) enrolled: Option<Box<EnrolledDevice>>,
}

impl Changing {
    /// The identity of a row, before it is read.
    pub(super) fn new(row: LedgerRow, maintenance: Arc<Maintenance>) -> Self {
        let effect = maintenance.effect();
        let (machine, sent_for) = match row.record.state {
            RowState::Sent => (ChangeMachine::resumed(effect), row.before.identity.clone()),
            _ => (ChangeMachine::new(effect), None),
        };
        Self {
            row,
            maintenance,
            machine,
            sent_for,
            status: Status::Enabled,
            status_reason: None,
            scope: None,
            goes_with_device: false,
            enrolled: None,
        }
    }

    /// The run that keeps the device disabled after `run` has processed it.
    fn held_by(&self, hold: Option<&Hold>, run: RunId) -> Option<RunId> {
        match *self.maintenance {
            _ if self.identity().module().is_some() => None,
            Maintenance::Disable { .. } => Some(run),
            Maintenance::UndoRelease { .. } => hold.map(|hold| hold.run),
            _ => None,
        }
    }
}

impl Decider for Changing {
    type Request = ChangeRequest;
    type Outcome = ChangeOutcome;

    fn identity(&self) -> &IdentityId {
        &self.row.spec.identity
    }

    fn retries(&self) -> u32 {
        self.machine.retries()
    }

    fn answered(&mut self, event: Event) -> ChangeStep {
        self.goes_with_device = false;
        self.machine.answered(response(event))
    }

    fn unreadable(&mut self, error: &HubError) -> ChangeStep {
        let text = format!("it can't be read: {}", with_causes(error));
        ChangeStep::failed(Record::failed(error.reason(), text))
    }

    fn effect(&self, _request: &ChangeRequest) -> Effect {
        self.maintenance.effect()
    }

    const MAY_LOSE_UNCLAIMED: bool = true;

    fn thumbprints(&self, _request: &ChangeRequest) -> [Option<Thumbprint>; 2] {
        match (&*self.maintenance, &self.row.spec.state.auth) {
            // The old one is there already, and so are those of all other changes.
            (Maintenance::AddThumbprint, AuthSpec::Thumbprint { primary, .. }) => [*primary, None],
            _ => [None, None],
        }
    }

    fn ends_with(record: Record) -> ChangeOutcome {
        ChangeOutcome::Failed(Box::new(record))
    }

    fn sent(&self, effect: Effect, before: Etags, hold: Option<&Hold>, run: RunId) -> Sent {
        let status_reason_before = match (&*self.maintenance, hold) {
            // After its release it is as it was before the quarantine, not in it.
            (Maintenance::Disable { .. }, Some(hold)) => hold.released_reason.clone(),
            (maintenance, _) => self.status_reason.clone().filter(|_| maintenance.is_about_status()),
        };
        let (identity, held_by) = (self.identity().clone(), self.held_by(hold, run));
        Sent { identity, effect, before, held_by, status_reason_before }
    }

    fn record(&self, outcome: ChangeOutcome, hold: Option<&Hold>, run: RunId) -> Record {
        let mut record = Record::from(outcome);
        record.held_by = match (record.state, &*self.maintenance) {
            (RowState::Done, _) | (RowState::Unchanged, Maintenance::UndoRelease { .. }) => {
                self.held_by(hold, run)
            }
            _ => None,
        };
        // A request whose answer was lost counts even if the identity is left alone in the end.
        if record.state.is_left_alone() && self.machine.is_lost() {
            (record.effect, record.presumed) = (Some(self.maintenance.effect()), true);
        }
        record
    }
}

impl Task<Changing> {
    /// Returns true if its request is about to leave.
    pub(super) fn is_about_to_change(&self) -> bool {
        matches!(self.step, ChangeStep::Send(_))
    }

    /// Leaves it unchanged, because a disabled device can't connect.
    fn skip_disabled(&mut self) {
        let reason = match self.identity().module() {
            None => "it is disabled: its new certificate was not tried",
            Some(_) => "its device is disabled: its new certificate was not tried",
        };
        self.step = ChangeStep::Finish(ChangeOutcome::Skipped(Refusal {
            code: ReasonCode::DeviceDisabled,
            reason: reason.to_owned(),
            differences: Vec::new(),
        }));
    }
}

impl<H: Hub> Operation for ChangeOperation<H> {
    type Decider = Changing;
    type Document = Twin;

    async fn read(&self, subject: &IdentityId) -> Result<Option<Twin>, HubError> {
        self.hub.twin(subject).await
    }

    async fn pause_after(&self, retries: u32) -> Result<(), HubError> {
        pause_after(retries, &*self.hub).await
    }

    fn subject(&self, identity: &IdentityId) -> IdentityId {
        self.maintenance.subject(identity)
    }

    async fn look(&self, task: &mut Task<Changing>, twin: Option<&Twin>) -> Result<(), RunError> {
        task.scopes = Scopes::of_twin(twin);
        task.hold = self.holds.for_maintenance(&self.maintenance, self.run, task.identity(), twin).await?;
        // The tags of a module's device are not its own.
        let is_own = self.maintenance.subject(task.identity()) == *task.identity();
        task.observed(is_own.then(|| Etags::of(twin)));
        let changing = &mut task.decider;
        changing.status = twin.map_or(Status::Enabled, |twin| twin.status);
        // The mark of a quarantine that was not finished is nobody's reason.
        let marked_by_others = twin.filter(|twin| !is_marked_as_staged(twin));
        changing.status_reason = marked_by_others.and_then(|twin| twin.status_reason.clone());
        changing.scope = twin.and_then(own_scope).map(str::to_owned);
        let decision = match is_missing_module(&*self.hub, &self.maintenance, &changing.row, twin).await? {
            true => ChangeDecision::missing(),
            false => self.maintenance.decide(&changing.row, twin, task.hold.as_ref()),
        };
        let found = twin.and_then(|twin| twin.device_etag.as_ref());
        let decision =
            decision.unless_made_anew(self.maintenance.retires(), changing.sent_for.as_ref(), found);
        let decision =
            mind_later_runs(&self.holds, &self.maintenance, self.run, &changing.row, decision).await?;
        task.step = changing.machine.observed(decision);
        Ok(())
    }

    async fn check(&self, tasks: &mut [Task<Changing>]) -> Result<(), RunError> {
        if self.maintenance.deletes() {
            self.bind_units(tasks).await?;
        }
        self.check_certificates(tasks).await
    }

    async fn send(&self, tasks: &mut [Task<Changing>]) -> Result<(), RunError> {
        self.replace(tasks).await?;
        Ok(self.delete(tasks).await?)
    }

    async fn finished(&self, tasks: &mut [Task<Changing>]) -> Result<(), RunError> {
        let mut staying = self.staying.lock().unwrap_or_else(PoisonError::into_inner);
        for task in tasks.iter().filter(|task| task.identity().module().is_none()) {
            if let (ChangeStep::Finish(ChangeOutcome::Failed(_) | ChangeOutcome::Refused(_)), Some(parent)) =
                (&task.step, &task.decider.row.spec.state.parent)
            {
                staying.entry(parent.clone()).or_default().push(task.identity().device().clone());
            }
        }
        Ok(())
    }
}

impl<H: Hub> Rehearsal for ChangeOperation<H> {
    fn task(&self, row: LedgerRow) -> Task<Changing> {
        Task::new(Changing::new(row, self.maintenance.clone()), ChangeStep::Observe)
    }

    async fn foresee(&self, tasks: &mut [Task<Changing>]) -> Result<(), RunError> {
        if self.maintenance.is_about_status() {
            units::follow_devices(tasks);
        } else if self.maintenance.deletes() {
            self.bind_units(tasks).await?;
        }
        Ok(())
    }
}

impl<H: Hub> ChangeOperation<H> {
    pub(super) fn new(
        hub: Arc<H>,
        holds: Holds,
        maintenance: Maintenance,
        run: Option<RunId>,
        certificate_check: Option<CertificateCheck>,
    ) -> Self {
        let (hub_writer, maintenance) = (HubWriter::new(hub.clone()), Arc::new(maintenance));
        Self { hub, hub_writer, holds, maintenance, run, certificate_check, staying: Mutex::default() }
    }

    /// The operation of the run.
    pub(super) fn maintenance(&self) -> &Maintenance {
        &self.maintenance
    }

    /// Decides for each device that is to go whether it may, and lets its modules go with it.
    pub(super) async fn bind_units(&self, tasks: &mut [Task<Changing>]) -> Result<(), RunError> {
        self.mind_changed_devices(tasks).await?;
        let staying = self.staying.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(units::bind(&*self.hub, &self.maintenance, &staying, tasks).await?)
    }

    /// Refuses to undo modules whose device the run did not create, and that was changed since: the unit may be
    /// in use.
    async fn mind_changed_devices(&self, tasks: &mut [Task<Changing>]) -> Result<(), RunError> {
        let Maintenance::Undo { run } = *self.maintenance else { return Ok(()) };
        let with_row: HashSet<DeviceId> = tasks
            .iter()
            .filter(|task| task.identity().module().is_none())
            .map(|task| task.identity().device().clone())
            .collect();
        let alone = tasks
            .iter_mut()
            .filter(|task| matches!(task.step, ChangeStep::Send(ChangeRequest::Delete)))
            .filter(|task| !with_row.contains(task.identity().device()));
        for task in alone {
            let device = task.identity().device().clone();
            if let Some(change) = self.change_of_device(&device, run).await? {
                let reason = format!("its device `{device}` was changed since run {run} created it{change}");
                let refusal = Refusal { code: ReasonCode::ChangedSinceRun, reason, differences: Vec::new() };
                task.step = ChangeStep::Finish(ChangeOutcome::Refused(refusal));
            }
        }
        Ok(())
    }

    /// What is known of a change of a device since a run; `None` if it was not changed.
    async fn change_of_device(&self, device: &DeviceId, run: RunId) -> Result<Option<String>, RunError> {
        let device = IdentityId::from(device.clone());
        if let Some(by) = self.holds.last_change(&device, run).await? {
            return Ok(Some(format!(", last by run {by}")));
        }
        let Some(left) = self.holds.row(run, &device).await?.and_then(|row| row.etags.identity) else {
            return Ok(None);
        };
        let found = self.hub.twin(&device).await?;
        let is_changed = found.is_some_and(|twin| twin.device_etag.as_ref() != Some(&left));
        Ok(is_changed.then(String::new))
    }

    /// Excludes identities without a proof that they can connect with their new certificate.
    async fn check_certificates(&self, tasks: &mut [Task<Changing>]) -> Result<(), RunError> {
        let Some(certificate_check) = &self.certificate_check else { return Ok(()) };
        let replacing =
            tasks.iter_mut().filter(|task| matches!(task.step, ChangeStep::Send(ChangeRequest::Replace(_))));
        let (disabled, tasks): (Vec<_>, Vec<_>) = replacing
            .partition(|task| task.identity().module().is_none() && task.decider.status == Status::Disabled);
        disabled.into_iter().for_each(Task::skip_disabled);
        let checks =
            join_all(tasks.iter().map(|task| certificate_check(task.decider.row.spec.clone()))).await;
        for (task, checked) in tasks.into_iter().zip(checks) {
            match checked {
                Ok(()) => {}
                Err(CheckFailed::This(ReasonCode::NotLetIn, _)) if self.is_device_disabled(task).await? => {
                    task.skip_disabled();
                }
                Err(CheckFailed::This(code, text)) => {
                    task.step = ChangeStep::failed(Record::failed(code, text))
                }
                Err(CheckFailed::All(error)) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Returns true for a module of a disabled device.
    async fn is_device_disabled(&self, task: &Task<Changing>) -> Result<bool, HubError> {
        let identity = task.identity();
        if identity.module().is_none() {
            return Ok(false);
        }
        let device = self.hub.twin(&identity.device().clone().into()).await?;
        Ok(device.is_some_and(|device| device.status == Status::Disabled))
    }

    async fn replace(&self, tasks: &mut [Task<Changing>]) -> Result<(), HubError> {
        let mut tasks: Vec<&mut Task<Changing>> = tasks
            .iter_mut()
            .filter(|task| matches!(task.step, ChangeStep::Send(ChangeRequest::Replace(_))))
            .collect();
        let changes: Vec<IdentityUpdate<'_>> = tasks
            .iter()
            .filter_map(|task| match &task.step {
                ChangeStep::Send(ChangeRequest::Replace(spec)) => Some(task.update_to(spec, false)),
                _ => None,
            })
            .collect();
        let events = self.hub_writer.update(&changes, &GivenKeys::new()).await?;
        for (task, event) in tasks.iter_mut().zip(events) {
            task.answered(event);
        }
        Ok(())
    }

    async fn delete(&self, tasks: &mut [Task<Changing>]) -> Result<(), HubError> {
        let mut going: Vec<&mut Task<Changing>> = tasks
            .iter_mut()
            .filter(|task| matches!(task.step, ChangeStep::Send(ChangeRequest::Delete)))
            .collect();
        going.iter_mut().for_each(|task| task.decider.sent_for.clone_from(&task.etags.identity));
        let doomed: Vec<(IdentityId, Option<Etag>)> = going
            .iter()
            .filter(|task| !task.decider.goes_with_device)
            .map(|task| (task.identity().clone(), task.etags.identity.clone()))
            .collect();
        let events = self.hub_writer.delete(&doomed).await?;
        for ((identity, _), event) in doomed.into_iter().zip(events) {
            units::tell(tasks, &identity, event);
        }
        Ok(())
    }
}

/// Returns true for a module that is not on the hub, if `found` is the twin of its device: this does not show it.
pub(super) async fn is_missing_module(
    hub: &impl Hub,
    maintenance: &Maintenance,
    row: &LedgerRow,
    found: Option<&Twin>,
) -> Result<bool, HubError> {
    let identity = &row.spec.identity;
    let is_own = maintenance.subject(identity) == *identity;
    Ok(!is_own && found.is_some() && hub.twin(identity).await?.is_none())
}

/// Refuses to delete an identity that a later run of this ledger changed or created: later than the run
/// that is undone, or than `run`, which deletes. If the run that is undone has read no version of the identity,
/// the identity may look as that run left it.
pub(super) async fn mind_later_runs(
    holds: &Holds,
    maintenance: &Maintenance,
    run: Option<RunId>,
    row: &LedgerRow,
    decision: ChangeDecision,
) -> Result<ChangeDecision, RunError> {
    let may_be_changed = match (maintenance, &decision) {
        (Maintenance::Undo { .. }, ChangeDecision::Delete) => row.before == Etags::default(),
        (Maintenance::Undo { .. }, ChangeDecision::Refuse(refusal)) => {
            refusal.code == ReasonCode::ChangedSinceRun
        }
        (_, decision) => *decision == ChangeDecision::Delete,
    };
    let since = match *maintenance {
        Maintenance::Undo { run } => Some(run),
        _ => run,
    };
    let Some(since) = since.filter(|_| may_be_changed) else { return Ok(decision) };
    Ok(match holds.last_change(&row.spec.identity, since).await? {
        Some(by) => decision.changed_by_run(maintenance, since, by),
        None => decision,
    })
}

/// The meaning of an event for an identity that was to be changed.
fn response(event: Event) -> ChangeResponse {
    match event {
        Event::Lost(error) => ChangeResponse::Lost(error),
        Event::Outdated(error) => ChangeResponse::Outdated(error),
        Event::Refused(error) => ChangeResponse::Refused(error),
        Event::Created | Event::CreatedWithoutTwin | Event::IdentityUpdated | Event::TwinWritten => {
            ChangeResponse::Done
        }
        // That is no answer to a change.
        Event::AlreadyExists | Event::Observed(_) => ChangeResponse::Lost(HubError::Unclear),
    }
}
