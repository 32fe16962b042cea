//! Maintenance of existing identities, as a run of the ledger: the driver of [`ChangeMachine`].
//!
//! In a chunk all devices are processed before their modules, except for deletions: there a device
//! and its modules are read together, because deleting the device deletes the modules.

use std::collections::HashMap;
use std::sync::Arc;

use cli_support::causes::with_causes;
use futures_util::future::join_all;
use hub_types::identity::{Status, StatusReason};
use hub_types::twin::Twin;
use hub_types::{Etag, IdentityId};

use crate::apply::lifecycle::Event;
use crate::apply::{HubWriter, IdentityUpdate};
use crate::hub::{ErrorClass, Hub, HubError, pause_after};
use crate::ledger::{Chunk, Ended, Holds, LedgerRow, Record, RowState, RunState, Sent};
use crate::maintain::change::{ChangeMachine, ChangeOutcome, ChangeResponse, ChangeStep, Refusal};
use crate::model::compare::Etags;
use crate::model::effect::Effect;
use crate::model::failure::ReasonCode;
use crate::model::hold::Hold;
use crate::model::maintenance::Maintenance;
use crate::model::run_id::RunId;
use crate::model::spec::GivenKeys;
use crate::workers::{ChunkWork, ChunkWriter, RunError, WorkerPool};
pub(crate) use check::VerifyMaintenance;
pub(crate) use connect_check::{CertificateCheck, CheckFailed, connect_check};
pub(crate) use dry_run::{DryRun, DryRunSummary};

pub(crate) mod change;
mod check;
mod connect_check;
mod dry_run;
#[cfg(test)]
mod tests;
mod units;

/// The parameters of a maintenance run.
pub(crate) struct Maintain<H> {
    /// The hub.
    pub(crate) hub: Arc<H>,
    /// The operation on the run's identities.
    pub(crate) maintenance: Maintenance,
    /// The check before an old thumbprint is removed, if one is required.
    pub(crate) certificate_check: Option<CertificateCheck>,
    /// The run, and who works on it.
    pub(crate) pool: WorkerPool,
}

impl<H: Hub> Maintain<H> {
    /// Works on the run until it is complete or stopped, and returns its state.
    pub(crate) async fn run(self) -> Result<RunState, RunError> {
        let (ledger, undo) = (self.pool.ledger.clone(), self.pool.run);
        let undone = match self.maintenance {
            Maintenance::Undo { run } => Some(run),
            _ => None,
        };
        let worker = MaintenanceWorker {
            hub_writer: HubWriter::new(self.hub.clone()),
            hub: self.hub,
            holds: Holds::of_run(&ledger, undo).await?,
            maintenance: self.maintenance,
            certificate_check: self.certificate_check,
        };
        let state = self.pool.run(worker).await?;
        if let (Some(run), RunState::Finished) = (undone, state) {
            // What was taken back may be given to others: a wrong label can be corrected.
            ledger.call(move |ledger| ledger.forget_undone(run, undo)).await?;
        }
        Ok(state)
    }
}

struct MaintenanceWorker<H> {
    hub: Arc<H>,
    hub_writer: HubWriter<H>,
    holds: Holds,
    maintenance: Maintenance,
    certificate_check: Option<CertificateCheck>,
}

/// An identity during its maintenance.
struct MaintenanceTask {
    row: LedgerRow,
    machine: ChangeMachine,
    step: ChangeStep,
    /// The etags of the first read.
    before: Etags,
    /// The etags of the last read.
    etags: Etags,
    /// The status of the last read, and its reason.
    status: Status,
    status_reason: Option<StatusReason>,
    /// The run that keeps the device disabled, if the operation needs it.
    hold: Option<Hold>,
    /// True if the identity may have changed since the last read.
    is_outdated: bool,
    /// True for a module that is deleted with its device.
    goes_with_device: bool,
}

impl MaintenanceTask {
    fn new(row: LedgerRow, effect: Effect) -> Self {
        let machine = match row.record.state {
            RowState::Sent => ChangeMachine::resumed(effect),
            _ => ChangeMachine::new(effect),
        };
        Self {
            row,
            machine,
            step: ChangeStep::Observe,
            before: Etags::default(),
            etags: Etags::default(),
            status: Status::Enabled,
            status_reason: None,
            hold: None,
            is_outdated: false,
            goes_with_device: false,
        }
    }

    fn identity(&self) -> &IdentityId {
        &self.row.spec.identity
    }

    fn is_about_to_change(&self) -> bool {
        matches!(self.step, ChangeStep::Delete | ChangeStep::Replace(_))
    }

    fn observed(&mut self, maintenance: &Maintenance, twin: Option<&Twin>) {
        // The tags of a module's device are not its own.
        if maintenance.subject(self.identity()) == *self.identity() {
            self.etags = Etags::of(twin);
        }
        self.is_outdated = false;
        if self.before == Etags::default() {
            self.before = self.etags.clone();
        }
        self.status = twin.map_or(Status::Enabled, |twin| twin.status);
        self.status_reason = twin.and_then(|twin| twin.status_reason.clone());
        self.step = self.machine.observed(maintenance.decide(&self.row, twin, self.hold.as_ref()));
    }

    /// The request that is about to leave.
    fn about_to_send(&mut self, maintenance: &Maintenance, run: RunId) -> Sent {
        self.is_outdated = true;
        let replaced = match (maintenance, &self.hold) {
            // After its release it is as it was before the quarantine, not in it.
            (Maintenance::Disable { .. }, Some(hold)) => hold.released_reason.clone(),
            _ => self.status_reason.clone().filter(|_| maintenance.is_about_status()),
        };
        Sent {
            identity: self.identity().clone(),
            effect: maintenance.effect(),
            before: self.before.clone(),
            held_by: self.held_by(maintenance, run),
            status_reason_before: replaced,
        }
    }

    /// The run that keeps the device disabled after `run` has processed it.
    fn held_by(&self, maintenance: &Maintenance, run: RunId) -> Option<RunId> {
        match maintenance {
            _ if self.identity().module().is_some() => None,
            Maintenance::Disable { .. } => Some(run),
            Maintenance::UndoRelease { .. } => self.hold.as_ref().map(|hold| hold.run),
            _ => None,
        }
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

    /// The result of the identity in `run`, if it has finished.
    fn ended(self, maintenance: &Maintenance, run: RunId) -> Option<Ended> {
        let held_by = self.held_by(maintenance, run);
        let ChangeStep::Finish(outcome) = self.step else { return None };
        let after = if self.is_outdated { Etags::default() } else { self.etags };
        let mut record = Record::from(outcome);
        record.held_by = match (record.state, maintenance) {
            (RowState::Done, _) | (RowState::Unchanged, Maintenance::UndoRelease { .. }) => held_by,
            _ => None,
        };
        Some(Ended { identity: self.row.spec.identity, record, before: self.before, after })
    }

    fn answered(&mut self, response: ChangeResponse) {
        self.goes_with_device = false;
        self.step = self.machine.answered(response);
    }
}

impl<H: Hub> ChunkWork for MaintenanceWorker<H> {
    async fn work_on(&self, chunk: Chunk, writer: &ChunkWriter) -> Result<(), RunError> {
        let Chunk { rows, closed, .. } = chunk;
        let effect = self.maintenance.effect();
        let tasks: Vec<MaintenanceTask> =
            rows.into_iter().map(|row| MaintenanceTask::new(row, effect)).collect();
        match self.maintenance.deletes() {
            true => {
                let (tasks, left) = units::split_closed(tasks, &closed);
                let ended = left.into_iter().filter_map(|task| task.ended(&self.maintenance, writer.run()));
                writer.record(ended.collect()).await?;
                self.settle(writer, tasks).await
            }
            false => {
                let is_device = |task: &MaintenanceTask| task.identity().module().is_none();
                let (devices, modules): (Vec<_>, Vec<_>) = tasks.into_iter().partition(is_device);
                self.settle(writer, devices).await?;
                self.settle(writer, modules).await
            }
        }
    }
}

impl<H: Hub> MaintenanceWorker<H> {
    /// Completes identities and records the results.
    async fn settle(&self, writer: &ChunkWriter, mut tasks: Vec<MaintenanceTask>) -> Result<(), RunError> {
        while tasks.iter().any(|task| !matches!(task.step, ChangeStep::Finish(_))) {
            writer.release().await;
            let retries = tasks.iter().filter(|task| matches!(task.step, ChangeStep::Observe));
            let retries = retries.map(|task| task.machine.retries()).max().unwrap_or_default();
            pause_after(retries, &*self.hub).await?;
            self.observe(&mut tasks).await?;
            if self.maintenance.deletes() {
                units::bind(&*self.hub, &self.maintenance, &mut tasks).await?;
            }
            self.check_certificates(&mut tasks).await?;
            let changing = tasks.iter_mut().filter(|task| task.is_about_to_change());
            let sent: Vec<Sent> =
                changing.map(|task| task.about_to_send(&self.maintenance, writer.run())).collect();
            if !sent.is_empty() {
                writer.mark_sent(sent).await?;
            }
            self.replace(&mut tasks).await?;
            self.delete(&mut tasks).await?;
        }
        let ended = tasks.into_iter().filter_map(|task| task.ended(&self.maintenance, writer.run()));
        Ok(writer.record(ended.collect()).await?)
    }

    async fn observe(&self, tasks: &mut [MaintenanceTask]) -> Result<(), RunError> {
        let mut subjects: Vec<IdentityId> = tasks
            .iter()
            .filter(|task| matches!(task.step, ChangeStep::Observe))
            .map(|task| self.maintenance.subject(task.identity()))
            .collect();
        // The modules of a device may all have it for their subject.
        subjects.dedup();
        let looks = join_all(subjects.iter().map(|subject| self.hub.twin(subject))).await;
        let seen: HashMap<IdentityId, Result<Option<Twin>, HubError>> =
            subjects.into_iter().zip(looks).collect();
        let observing = |task: &&mut MaintenanceTask| matches!(task.step, ChangeStep::Observe);
        for task in tasks.iter_mut().filter(observing) {
            let twin = match seen.get(&self.maintenance.subject(task.identity())) {
                Some(Ok(twin)) => twin.as_ref(),
                Some(Err(error)) if error.class() == ErrorClass::Input => {
                    let text = format!("it can't be read: {}", with_causes(error));
                    task.step = ChangeStep::failed(Record::failed(error.reason(), text));
                    continue;
                }
                _ => continue,
            };
            task.hold = self.holds.for_maintenance(&self.maintenance, &task.row.spec.identity, twin).await?;
            task.observed(&self.maintenance, twin);
            self.name_changing_run(task).await?;
        }
        let fatal = |error: &HubError| error.class() != ErrorClass::Input;
        seen.into_values().filter_map(Result::err).find(fatal).map_or(Ok(()), |error| Err(error.into()))
    }

    /// Adds the run of this ledger that changed an identity last to the reason why the identity is not
    /// undone.
    async fn name_changing_run(&self, task: &mut MaintenanceTask) -> Result<(), RunError> {
        let Maintenance::Undo { run } = self.maintenance else { return Ok(()) };
        let ChangeStep::Finish(ChangeOutcome::Refused(refusal)) = &mut task.step else { return Ok(()) };
        if refusal.code == ReasonCode::ChangedSinceRun
            && let Some(changed_by) = self.holds.last_change(&task.row.spec.identity, run).await?
        {
            refusal.reason.push_str(&format!(", last by run {changed_by}"));
        }
        Ok(())
    }

    /// Excludes identities without a proof that they can connect with their new certificate.
    async fn check_certificates(&self, tasks: &mut [MaintenanceTask]) -> Result<(), RunError> {
        let Some(certificate_check) = &self.certificate_check else { return Ok(()) };
        let replacing = tasks.iter_mut().filter(|task| matches!(task.step, ChangeStep::Replace(_)));
        let (disabled, tasks): (Vec<_>, Vec<_>) =
            replacing.partition(|task| task.identity().module().is_none() && task.status == Status::Disabled);
        disabled.into_iter().for_each(MaintenanceTask::skip_disabled);
        let checks = join_all(tasks.iter().map(|task| certificate_check(task.row.spec.clone()))).await;
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
    async fn is_device_disabled(&self, task: &MaintenanceTask) -> Result<bool, HubError> {
        let identity = task.identity();
        if identity.module().is_none() {
            return Ok(false);
        }
        let device = self.hub.twin(&identity.device().clone().into()).await?;
        Ok(device.is_some_and(|device| device.status == Status::Disabled))
    }

    async fn replace(&self, tasks: &mut [MaintenanceTask]) -> Result<(), HubError> {
        let (mut changing, mut changes) = (Vec::new(), Vec::new());
        for task in tasks.iter_mut() {
            if let ChangeStep::Replace(spec) = &task.step {
                changes.push((spec.clone(), task.etags.identity.clone()));
                changing.push(task);
            }
        }
        let changes: Vec<IdentityUpdate<'_>> =
            changes.iter().map(|(spec, etag)| IdentityUpdate { spec, etag: etag.clone() }).collect();
        let events = self.hub_writer.update(&changes, &GivenKeys::new()).await?;
        for (task, event) in changing.into_iter().zip(events) {
            task.answered(response(event));
        }
        Ok(())
    }

    async fn delete(&self, tasks: &mut [MaintenanceTask]) -> Result<(), HubError> {
        let doomed: Vec<(IdentityId, Option<Etag>)> = tasks
            .iter()
            .filter(|task| matches!(task.step, ChangeStep::Delete) && !task.goes_with_device)
            .map(|task| (task.identity().clone(), task.etags.identity.clone()))
            .collect();
        let events = self.hub_writer.delete(&doomed).await?;
        for ((identity, _), event) in doomed.into_iter().zip(events) {
            units::tell(tasks, &identity, response(event));
        }
        Ok(())
    }
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
