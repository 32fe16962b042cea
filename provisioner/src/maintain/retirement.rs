//! Retiring the devices of a DPS, and releasing them. What lets a device in is taken from it in an order in which it can't come
//! back: its enrolment first, then its identity on the hub, and last the record of its registration, which
//! names the hub.

use std::sync::Arc;

use futures_util::future::join_all;
use hub_types::dps::attestation::Attestation;
use hub_types::dps::bulk::BulkMode;
use hub_types::dps::enrollment::ProvisioningStatus;
use hub_types::dps::registration::RegistrationStatus;
use hub_types::dps::{IndividualEnrollment, RegistrationState};
use hub_types::identity::{Status, StatusReason};
use hub_types::twin::{JsonObject, Twin};
use hub_types::{DeviceId, IdentityId};
use serde_json::json;

use super::Rehearsal;
use super::change::{ChangeDecision, ChangeRequest, ChangeStep, EnrolledDevice};
use super::check::drift;
use super::operation::{Changing, mind_later_runs};
use super::units::follow_devices;
use crate::dps::{AssignedHubs, Dps, delete, delete_registration, registration_id, write_enrollments};
use crate::driver::{
    Event, HubWriter, IdentityUpdate, Operation, RunDriver, Task, outdated, refused_or_fatal,
};
use crate::hub::{Hub, HubError, is_missing, pause_after};
use crate::ledger::{Chunk, Holds, LedgerRow, RowFilter, RunState, SharedLedger, VerifiedRow};
use crate::model::hold::Hold;
use crate::model::maintenance::Maintenance;
use crate::model::run_id::RunId;
use crate::model::scopes::Scopes;
use crate::model::spec::{GivenKeys, IdentitySpec};
use crate::verify::Verified;
use crate::workers::concurrent_reads::ReadBack;
use crate::workers::{ChunkEnd, ChunkWork, ChunkWriter, RunError, WorkerPool};

/// The parameters of retiring or releasing devices of a DPS.
pub(crate) struct Retire<D, H> {
    /// The DPS.
    pub(crate) dps: Arc<D>,
    /// The hubs that devices are assigned to.
    pub(crate) hubs: Arc<H>,
    /// The operation: disable, delete or release.
    pub(crate) maintenance: Maintenance,
    /// The run, and who works on it.
    pub(crate) pool: WorkerPool,
}

impl<D: Dps, H: AssignedHubs> Retire<D, H> {
    /// Works on the run until it is complete or stopped, and returns its state.
    pub(crate) async fn run(self) -> Result<RunState, RunError> {
        let Self { dps, hubs, maintenance, pool } = self;
        let holds = Holds::of_run(&pool.ledger, pool.run).await?;
        let operation = RetireOperation::open(dps, hubs, maintenance, holds, Some(pool.run)).await?;
        pool.run(RetireWorker { driver: RunDriver::new(operation) }).await
    }
}

struct RetireWorker<D, H> {
    driver: RunDriver<RetireOperation<D, H>>,
}

impl<D: Dps, H: AssignedHubs> ChunkWork for RetireWorker<D, H> {
    async fn work_on(&self, chunk: Chunk, writer: &ChunkWriter) -> Result<ChunkEnd, RunError> {
        let operation = self.driver.operation();
        let tasks = chunk.rows.into_iter().map(|row| operation.task(row));
        let is_device = |task: &Task<Changing>| task.identity().module().is_none();
        let (devices, modules): (Vec<_>, Vec<_>) = tasks.partition(is_device);
        self.driver.settle(writer, devices).await?;
        // Modules go with their devices: what is left is to see that they have.
        self.driver.settle(writer, modules).await?;
        Ok(ChunkEnd::Complete)
    }
}

/// The reads and requests of retiring devices of one DPS.
pub(crate) struct RetireOperation<D, H> {
    dps: Arc<D>,
    hubs: Arc<H>,
    maintenance: Arc<Maintenance>,
    holds: Holds,
    /// The run that carries it out; a dry run is none.
    run: Option<RunId>,
    /// True if the DPS has enrolment groups, so that enrolments stay to keep devices out.
    has_groups: bool,
}

impl<D: Dps, H: AssignedHubs> RetireOperation<D, H> {
    /// The operation on a DPS, which is asked whether it has groups.
    pub(crate) async fn open(
        dps: Arc<D>,
        hubs: Arc<H>,
        maintenance: Maintenance,
        holds: Holds,
        run: Option<RunId>,
    ) -> Result<Self, HubError> {
        let has_groups = dps.has_groups().await?;
        Ok(Self { dps, hubs, maintenance: Arc::new(maintenance), holds, run, has_groups })
    }

    /// Reads all that lets a device in.
    async fn look_up(&self, device: &IdentityId) -> Result<EnrolledDevice, HubError> {
        let id = registration_id(device).map_err(HubError::NotEnrollable)?;
        let enrollment = self.dps.enrollment(&id).await?;
        let shown = enrollment.as_ref().and_then(|found| found.registration_state.as_deref().cloned());
        let registration = match shown.filter(has_registered) {
            Some(state) => Some(state),
            None => self.dps.registration(&id).await?.filter(has_registered),
        };
        let assigned = registration.as_ref().and_then(|state| state.assigned_hub.as_ref());
        let twin = match assigned.map(|name| self.hubs.find(name)) {
            None => None,
            Some(Err(reason)) => Some(Err(reason)),
            Some(Ok(hub)) => hub.twin(&device_on_hub(device, registration.as_ref())).await?.map(Ok),
        };
        Ok(EnrolledDevice { enrollment, registration, twin })
    }
}

impl<D: Dps, H: AssignedHubs> Operation for RetireOperation<D, H> {
    type Decider = Changing;
    type Document = EnrolledDevice;

    fn subject(&self, identity: &IdentityId) -> IdentityId {
        identity.device().clone().into()
    }

    async fn read(&self, subject: &IdentityId) -> Result<Option<EnrolledDevice>, HubError> {
        self.look_up(subject).await.map(Some)
    }

    async fn pause_after(&self, retries: u32) -> Result<(), HubError> {
        pause_after(retries, &*self.dps).await
    }

    async fn look(&self, task: &mut Task<Changing>, found: Option<&EnrolledDevice>) -> Result<(), RunError> {
        let found = found.cloned().unwrap_or_default();
        let is_device = task.identity().module().is_none();
        task.observed(is_device.then(|| found.etags()));
        task.hold = self.holds.for_enrolled(&self.maintenance, task.identity()).await?;
        let row = &task.decider.row;
        let hold = task.hold.as_ref();
        let decision = self.maintenance.decide_enrolled(&row.spec, &found, self.has_groups, hold);
        let decision = match &found.enrollment {
            // An enrolment that has gone by the request that was sent is as it is to be. What is disabled takes
            // several requests, of which each changes the version.
            Some(_) => {
                let (sent_for, found) = (task.decider.sent_for.as_ref(), task.etags.identity.as_ref());
                decision.unless_made_anew(false, sent_for, found)
            }
            None => decision,
        };
        let decision = mind_later_runs(&self.holds, &self.maintenance, self.run, row, decision).await?;
        task.decider.enrolled = Some(Box::new(found));
        task.step = task.decider.machine.observed(decision);
        Ok(())
    }

    async fn send(&self, tasks: &mut [Task<Changing>]) -> Result<(), RunError> {
        self.disable(tasks).await?;
        self.release(tasks).await?;
        self.delete(tasks).await
    }
}

impl<D: Dps, H: AssignedHubs> RetireOperation<D, H> {
    /// Disables enrolments in bulk, and then the identities of those that were disabled.
    async fn disable(&self, tasks: &mut [Task<Changing>]) -> Result<(), RunError> {
        let Maintenance::Disable { reason } = &*self.maintenance else { return Ok(()) };
        let mut tasks: Vec<&mut Task<Changing>> = tasks
            .iter_mut()
            .filter(|task| matches!(task.step, ChangeStep::Send(ChangeRequest::Replace(_))))
            .collect();
        let mut events: Vec<Option<Event>> = tasks.iter().map(|_| None).collect();
        for mode in [BulkMode::UpdateIfMatchEtag, BulkMode::Create] {
            let (places, made): (Vec<_>, Vec<_>) = tasks
                .iter()
                .enumerate()
                .filter_map(|(place, task)| Some((place, self.blocking(task, mode)?)))
                .unzip();
            let made = join_all(made.into_iter().map(|made| self.with_keys(made, mode))).await;
            let made = made.into_iter().collect::<Result<Vec<_>, HubError>>()?;
            let answers = write_enrollments(&*self.dps, mode, made).await?;
            for (place, event) in places.into_iter().zip(answers) {
                if let Some(slot) = events.get_mut(place) {
                    *slot = Some(event);
                }
            }
        }
        let steps = tasks.iter().zip(events).map(|(task, event)| async {
            match event {
                Some(Event::Created | Event::IdentityUpdated) | None => {
                    self.set_status(task, Status::Disabled, Some(reason)).await
                }
                Some(event) => Ok(event),
            }
        });
        let answers: Vec<Event> = join_all(steps).await.into_iter().collect::<Result<_, HubError>>()?;
        for (task, event) in tasks.iter_mut().zip(answers) {
            task.answered(event);
        }
        Ok(())
    }

    /// The enrolment that keeps a device out, if one has to be written in this mode: its own, disabled, or where
    /// it has none a new one, which counts before groups.
    fn blocking(
        &self,
        task: &Task<Changing>,
        mode: BulkMode,
    ) -> Option<Result<IndividualEnrollment, String>> {
        let found = task.decider.enrolled.as_ref()?.enrollment.as_ref();
        match (found, mode) {
            (Some(found), BulkMode::UpdateIfMatchEtag) if found.settings.is_enabled() => {
                Some(Ok(with_status(found, ProvisioningStatus::Disabled)))
            }
            (None, BulkMode::Create) if self.has_groups => Some(registration_id(task.identity()).map(|id| {
                let mut blocking = IndividualEnrollment::new(id, Attestation::SymmetricKey(None));
                blocking.device_id = Some(task.identity().device().clone());
                let note = JsonObject::from_iter([(BLOCKS.to_owned(), json!(true))]);
                blocking.optional_device_information = Some(Box::new(note));
                with_status(&blocking, ProvisioningStatus::Disabled)
            })),
            _ => None,
        }
    }

    /// The enrolment with the keys that it has: a DPS would make others for one without.
    async fn with_keys(
        &self,
        made: Result<IndividualEnrollment, String>,
        mode: BulkMode,
    ) -> Result<Result<IndividualEnrollment, String>, HubError> {
        let Ok(mut enrollment) = made else { return Ok(made) };
        if mode != BulkMode::Create && enrollment.attestation == Attestation::SymmetricKey(None) {
            let keys = self.dps.keys(&enrollment.registration_id).await?;
            enrollment.attestation = Attestation::SymmetricKey(keys);
        }
        Ok(Ok(enrollment))
    }

    /// Enables identities, and then the enrolments of those that were enabled. One that only kept its device out
    /// is deleted.
    async fn release(&self, tasks: &mut [Task<Changing>]) -> Result<(), RunError> {
        let Maintenance::Release { .. } = &*self.maintenance else { return Ok(()) };
        let released =
            tasks.iter_mut().filter(|task| matches!(task.step, ChangeStep::Send(ChangeRequest::Replace(_))));
        let releases = released.map(|task| async {
            let event = self.let_in(task).await?;
            task.answered(event);
            Ok(())
        });
        join_all(releases).await.into_iter().collect()
    }

    async fn let_in(&self, task: &Task<Changing>) -> Result<Event, HubError> {
        let reason = task.hold.as_ref().and_then(|hold| hold.released_reason.as_ref());
        match self.set_status(task, Status::Enabled, reason).await? {
            Event::IdentityUpdated => {}
            event => return Ok(event),
        }
        let enrollment = task.decider.enrolled.as_ref().and_then(|found| found.enrollment.as_ref());
        let Some(enrollment) = enrollment.filter(|found| !found.settings.is_enabled()) else {
            return Ok(Event::IdentityUpdated);
        };
        if only_keeps_out(enrollment) {
            return delete(&*self.dps, task.identity(), enrollment.settings.etag.as_ref()).await;
        }
        let enabled = with_status(enrollment, ProvisioningStatus::Enabled);
        let mode = BulkMode::UpdateIfMatchEtag;
        let enabled = self.with_keys(Ok(enabled), mode).await?;
        let events = write_enrollments(&*self.dps, mode, vec![enabled]).await?;
        Ok(events.into_iter().next().unwrap_or(Event::Lost(HubError::NoAnswer)))
    }

    /// Gives the identity on the hub this status, unless it has it or there is none.
    async fn set_status(
        &self,
        task: &Task<Changing>,
        status: Status,
        reason: Option<&StatusReason>,
    ) -> Result<Event, HubError> {
        let Some((hub, twin)) = self.on_hub(task) else { return Ok(Event::IdentityUpdated) };
        if twin.status == status {
            return Ok(Event::IdentityUpdated);
        }
        let mut spec = match IdentitySpec::of_twin(twin) {
            Ok(spec) => spec,
            Err(error) => return Ok(Event::Refused(HubError::NotEnrollable(error.to_string()))),
        };
        (spec.state.status, spec.state.status_reason) = (status, reason.cloned());
        let scopes = Scopes::of_twin(Some(twin));
        let change =
            IdentityUpdate { spec: &spec, etag: twin.device_etag.clone(), scopes, changes_parent: false };
        let events = HubWriter::new(hub).update(&[change], &GivenKeys::new()).await?;
        Ok(events.into_iter().next().unwrap_or(Event::Lost(HubError::NoAnswer)))
    }

    async fn delete(&self, tasks: &mut [Task<Changing>]) -> Result<(), RunError> {
        let doomed =
            tasks.iter_mut().filter(|task| matches!(task.step, ChangeStep::Send(ChangeRequest::Delete)));
        let deletions = doomed.map(|task| async {
            task.decider.sent_for.clone_from(&task.etags.identity);
            let event = self.take_out(task).await?;
            task.answered(event);
            Ok(())
        });
        join_all(deletions).await.into_iter().collect()
    }

    /// Takes from a device what lets it in, each in the version of the last read. It stops at the first part
    /// that stays.
    async fn take_out(&self, task: &Task<Changing>) -> Result<Event, HubError> {
        let Some(found) = &task.decider.enrolled else { return Ok(Event::Lost(HubError::Unclear)) };
        if let Some(enrollment) = found.enrollment.as_ref().filter(|_| !self.has_groups) {
            let etag = enrollment.settings.etag.as_ref();
            match delete(&*self.dps, task.identity(), etag).await? {
                Event::IdentityUpdated => {}
                event => return Ok(event),
            }
        }
        if let Some((hub, twin)) = self.on_hub(task) {
            match hub.delete(&twin.identity(), twin.device_etag.as_ref()).await {
                Ok(()) => {}
                Err(error) if outdated(&error) || is_missing(&error) => return Ok(Event::Outdated(error)),
                Err(error) => return refused_or_fatal(error, Some(Event::Lost)),
            }
        }
        match &found.registration {
            Some(state) => delete_registration(&*self.dps, &state.registration_id, state.etag.as_ref()).await,
            None => Ok(Event::IdentityUpdated),
        }
    }

    /// The hub of a device, and its twin there, if it is there.
    fn on_hub<'t>(&self, task: &'t Task<Changing>) -> Option<(Arc<H::Hub>, &'t Twin)> {
        let found = task.decider.enrolled.as_ref()?;
        let hub = self.hubs.find(found.registration.as_ref()?.assigned_hub.as_ref()?).ok()?;
        Some((hub, found.on_hub()?))
    }
}

impl<D: Dps, H: AssignedHubs> Rehearsal for RetireOperation<D, H> {
    fn task(&self, row: LedgerRow) -> Task<Changing> {
        Task::new(Changing::new(row, self.maintenance.clone()), ChangeStep::Observe)
    }

    async fn foresee(&self, tasks: &mut [Task<Changing>]) -> Result<(), RunError> {
        follow_devices(tasks);
        Ok(())
    }
}

/// The enrolment with this status.
fn with_status(enrollment: &IndividualEnrollment, status: ProvisioningStatus) -> IndividualEnrollment {
    let mut changed = enrollment.clone();
    changed.registration_state = None;
    changed.settings.provisioning_status = Some(status);
    changed
}

/// Returns true for an enrolment that only keeps its device out.
fn only_keeps_out(enrollment: &IndividualEnrollment) -> bool {
    enrollment.optional_device_information.as_ref().is_some_and(|note| note.contains_key(BLOCKS))
}

/// Returns true for the record of a device that has registered.
fn has_registered(state: &RegistrationState) -> bool {
    state.status != RegistrationStatus::Unassigned
}

/// The id of a device on its hub, which an enrolment may choose.
fn device_on_hub(device: &IdentityId, registration: Option<&RegistrationState>) -> IdentityId {
    let given: Option<&DeviceId> = registration.and_then(|state| state.device_id.as_ref());
    given.map_or_else(|| device.clone(), |given| given.clone().into())
}

/// The parameters of verifying that devices of a DPS are retired or released.
pub(crate) struct VerifyRetired<D, H> {
    /// The DPS.
    pub(crate) dps: Arc<D>,
    /// The hubs that devices are assigned to.
    pub(crate) hubs: Arc<H>,
    /// The ledger that holds the run.
    pub(crate) ledger: SharedLedger,
    /// The run.
    pub(crate) run: RunId,
    /// The operation of the run.
    pub(crate) maintenance: Maintenance,
    /// The number of devices that are read at once.
    pub(crate) concurrency: usize,
    /// Called with the number of rows read since the last call.
    pub(crate) progress: Arc<dyn Fn(usize) + Send + Sync>,
}

impl<D: Dps, H: AssignedHubs> VerifyRetired<D, H> {
    /// Reads everything that the run has taken from devices, and returns what is there.
    pub(crate) async fn run(&self) -> Result<Verified, RunError> {
        let mut verified = Verified::default();
        let (dps, hubs, maintenance) = (self.dps.clone(), self.hubs.clone(), self.maintenance.clone());
        let holds = Holds::of_run(&self.ledger, self.run).await?;
        let operation = RetireOperation::open(dps, hubs, maintenance, holds, Some(self.run)).await?;
        let (operation, progress) = (Arc::new(operation), self.progress.clone());
        let reader = operation.clone();
        let look = move |row: LedgerRow| {
            let (operation, progress) = (reader.clone(), progress.clone());
            async move {
                let identity = &row.spec.identity;
                let found = operation.look_up(&operation.subject(identity)).await?;
                let hold = operation.holds.for_enrolled(&operation.maintenance, identity).await?;
                progress(1);
                Ok((row, found, hold))
            }
        };
        let is_release = matches!(self.maintenance, Maintenance::Release { .. });
        let judge = |(row, found, hold): (LedgerRow, EnrolledDevice, Option<Hold>)| {
            let (has_groups, hold) = (operation.has_groups, hold.as_ref());
            let decision = self.maintenance.decide_enrolled(&row.spec, &found, has_groups, hold);
            let decision = match decision {
                // The batch names a module of a device that is as it is to be, or gone.
                ChangeDecision::Refuse(_) if row.spec.identity.module().is_some() => {
                    ChangeDecision::NothingToDo
                }
                // The enrolment that only kept it out of a group is gone, and it has not registered since.
                ChangeDecision::Refuse(_) if is_release && operation.has_groups && found.is_absent() => {
                    ChangeDecision::NothingToDo
                }
                decision => decision,
            };
            let drift = drift(decision);
            verified.count(&row, drift.as_deref());
            let etags = found.etags();
            VerifiedRow { identity: row.spec.identity, etags, drift }
        };
        let (run, filter, concurrency) = (self.run, RowFilter::Settled, self.concurrency);
        ReadBack { ledger: &self.ledger, run, filter, concurrency }.each(look, judge).await?;
        Ok(verified)
    }
}

/// The member of `optionalDeviceInformation` that marks an enrolment that only keeps a device out.
const BLOCKS: &str = "keptOutByProvisioner";

#[cfg(test)]
mod tests;
