//! Maintenance of existing identities, as a run of the ledger: the driver of [`Course`].
//!
//! In a chunk all devices are processed before their modules, except for deletions: there a device
//! and its modules are read together, because deleting the device deletes the modules.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::join_all;
use hub_types::identity::{Status, StatusReason};
use hub_types::twin::Twin;
use hub_types::{Etag, IdentityId};

use crate::apply::{Change, Creator};
use crate::hub::{ErrorClass, Hub, HubError, pause_after};
use crate::ledger::{Chunk, Effect, Ended, Hold, LedgerRow, Record, RowState, RunId, RunState, Sent};
use crate::maintain::change::{Alteration, Answer, Course, Ending, Next, Refusal};
use crate::model::causes::with_causes;
use crate::model::compare::Etags;
use crate::model::failure::ReasonCode;
use crate::model::holds::Holds;
use crate::model::lifecycle::Event;
use crate::model::spec::GivenKeys;
use crate::workers::{ChunkWork, ChunkWriter, RunError, WorkerPool};
pub use check::Check;
pub use connect_check::{Proof, Unproven, by_connecting};
pub use dry_run::{Forecast, Preview};

pub mod change;
mod check;
mod connect_check;
mod dry_run;
#[cfg(test)]
mod tests;
mod units;

/// The parameters of a maintenance run.
pub struct Alter<H> {
    /// The hub.
    pub hub: Arc<H>,
    /// The operation on the run's identities.
    pub alteration: Alteration,
    /// The check before an old thumbprint is removed, if one is required.
    pub proof: Option<Proof>,
    /// The run, and who works on it.
    pub pool: WorkerPool,
}

impl<H: Hub> Alter<H> {
    /// Works on the run until it is complete or stopped, and returns its state.
    pub async fn run(self) -> Result<RunState, RunError> {
        let (ledger, undo) = (self.pool.ledger.clone(), self.pool.run);
        let undone = match self.alteration {
            Alteration::Undo { run } => Some(run),
            _ => None,
        };
        let worker = Worker {
            creator: Creator::new(self.hub.clone()),
            hub: self.hub,
            holds: Holds::of_run(&ledger, undo).await?,
            alteration: self.alteration,
            proof: self.proof,
        };
        let state = self.pool.run(worker).await?;
        if let (Some(run), RunState::Finished) = (undone, state) {
            // What was taken back may be given to others: a wrong label can be corrected.
            ledger.call(move |ledger| ledger.forget_undone(run, undo)).await?;
        }
        Ok(state)
    }
}

struct Worker<H> {
    hub: Arc<H>,
    creator: Creator<H>,
    holds: Holds,
    alteration: Alteration,
    proof: Option<Proof>,
}

/// An identity during its maintenance.
struct Task {
    row: LedgerRow,
    course: Course,
    next: Next,
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

impl Task {
    fn new(row: LedgerRow, effect: Effect) -> Self {
        let course = match row.record.state {
            RowState::Sent => Course::resumed(effect),
            _ => Course::new(effect),
        };
        Self {
            row,
            course,
            next: Next::Observe,
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
        matches!(self.next, Next::Delete | Next::Replace(_))
    }

    fn observed(&mut self, alteration: &Alteration, twin: Option<&Twin>) {
        // The tags of a module's device are not its own.
        if alteration.subject(self.identity()) == *self.identity() {
            self.etags = Etags::of(twin);
        }
        self.is_outdated = false;
        if self.before == Etags::default() {
            self.before = self.etags.clone();
        }
        self.status = twin.map_or(Status::Enabled, |twin| twin.status);
        self.status_reason = twin.and_then(|twin| twin.status_reason.clone());
        self.next = self.course.observed(alteration.judge(&self.row, twin, self.hold.as_ref()));
    }

    /// The request that is about to leave.
    fn about_to_send(&mut self, alteration: &Alteration, run: RunId) -> Sent {
        self.is_outdated = true;
        let replaced = self.status_reason.clone().filter(|_| alteration.is_about_status());
        Sent {
            identity: self.identity().clone(),
            effect: alteration.effect(),
            before: self.before.clone(),
            held_by: self.held_by(alteration, run),
            status_reason_before: replaced,
        }
    }

    /// The run that keeps the device disabled after `run` has processed it.
    fn held_by(&self, alteration: &Alteration, run: RunId) -> Option<RunId> {
        match alteration {
            _ if self.identity().module().is_some() => None,
            Alteration::Disable { .. } => Some(run),
            Alteration::UndoRelease { .. } => self.hold.as_ref().map(|hold| hold.run),
            _ => None,
        }
    }

    /// Leaves it unchanged, because a disabled device can't connect.
    fn skip_disabled(&mut self) {
        let reason = match self.identity().module() {
            None => "it is disabled: its new certificate was not tried",
            Some(_) => "its device is disabled: its new certificate was not tried",
        };
        self.next = Next::Finish(Ending::Skipped(Refusal {
            code: ReasonCode::DeviceDisabled,
            reason: reason.to_owned(),
            differences: Vec::new(),
        }));
    }

    /// The result of the identity in `run`, if it has finished.
    fn ended(self, alteration: &Alteration, run: RunId) -> Option<Ended> {
        let held_by = self.held_by(alteration, run);
        let Next::Finish(ending) = self.next else { return None };
        let after = if self.is_outdated { Etags::default() } else { self.etags };
        let mut record = Record::from(ending);
        record.held_by = match (record.state, alteration) {
            (RowState::Done, _) | (RowState::Unchanged, Alteration::UndoRelease { .. }) => held_by,
            _ => None,
        };
        Some(Ended { identity: self.row.spec.identity, record, before: self.before, after })
    }

    fn answered(&mut self, answer: Answer) {
        self.goes_with_device = false;
        self.next = self.course.answered(answer);
    }
}

impl<H: Hub> ChunkWork for Worker<H> {
    async fn work_on(&self, chunk: Chunk, writer: &ChunkWriter) -> Result<(), RunError> {
        let Chunk { rows, closed, .. } = chunk;
        let effect = self.alteration.effect();
        let tasks: Vec<Task> = rows.into_iter().map(|row| Task::new(row, effect)).collect();
        match self.alteration.deletes() {
            true => {
                let (tasks, left) = units::split_closed(&self.alteration, tasks, &closed);
                let ended = left.into_iter().filter_map(|task| task.ended(&self.alteration, writer.run()));
                writer.record(ended.collect()).await?;
                self.settle(writer, tasks).await
            }
            false => {
                let is_device = |task: &Task| task.identity().module().is_none();
                let (devices, modules): (Vec<_>, Vec<_>) = tasks.into_iter().partition(is_device);
                self.settle(writer, devices).await?;
                self.settle(writer, modules).await
            }
        }
    }
}

impl<H: Hub> Worker<H> {
    /// Completes identities and records the results.
    async fn settle(&self, writer: &ChunkWriter, mut tasks: Vec<Task>) -> Result<(), RunError> {
        while tasks.iter().any(|task| !matches!(task.next, Next::Finish(_))) {
            writer.release().await;
            let retries = tasks.iter().filter(|task| matches!(task.next, Next::Observe));
            let retries = retries.map(|task| task.course.retries()).max().unwrap_or_default();
            pause_after(retries, &*self.hub).await?;
            self.observe(&mut tasks).await?;
            if self.alteration.deletes() {
                units::bind(&*self.hub, &self.alteration, &mut tasks).await?;
            }
            self.prove(&mut tasks).await?;
            let changing = tasks.iter_mut().filter(|task| task.is_about_to_change());
            let sent: Vec<Sent> =
                changing.map(|task| task.about_to_send(&self.alteration, writer.run())).collect();
            if !sent.is_empty() {
                writer.mark_sent(sent).await?;
            }
            self.replace(&mut tasks).await?;
            self.delete(&mut tasks).await?;
        }
        let ended = tasks.into_iter().filter_map(|task| task.ended(&self.alteration, writer.run()));
        Ok(writer.record(ended.collect()).await?)
    }

    async fn observe(&self, tasks: &mut [Task]) -> Result<(), RunError> {
        let mut subjects: Vec<IdentityId> = tasks
            .iter()
            .filter(|task| matches!(task.next, Next::Observe))
            .map(|task| self.alteration.subject(task.identity()))
            .collect();
        // The modules of a device may all have it for their subject.
        subjects.dedup();
        let looks = join_all(subjects.iter().map(|subject| self.hub.twin(subject))).await;
        let seen: HashMap<IdentityId, Result<Option<Twin>, HubError>> =
            subjects.into_iter().zip(looks).collect();
        let observing = |task: &&mut Task| matches!(task.next, Next::Observe);
        for task in tasks.iter_mut().filter(observing) {
            let twin = match seen.get(&self.alteration.subject(task.identity())) {
                Some(Ok(twin)) => twin.as_ref(),
                Some(Err(error)) if error.class() == ErrorClass::Input => {
                    let text = format!("it can't be read: {}", with_causes(error));
                    task.next = Next::failed(Record::failed(error.reason(), text));
                    continue;
                }
                _ => continue,
            };
            task.hold = self.holds.for_alteration(&self.alteration, &task.row.spec.identity, twin).await?;
            task.observed(&self.alteration, twin);
        }
        let fatal = |error: &HubError| error.class() != ErrorClass::Input;
        seen.into_values().filter_map(Result::err).find(fatal).map_or(Ok(()), |error| Err(error.into()))
    }

    /// Excludes identities without a proof that they can connect with their new certificate.
    async fn prove(&self, tasks: &mut [Task]) -> Result<(), RunError> {
        let Some(proof) = &self.proof else { return Ok(()) };
        let replacing = tasks.iter_mut().filter(|task| matches!(task.next, Next::Replace(_)));
        let (disabled, tasks): (Vec<_>, Vec<_>) =
            replacing.partition(|task| task.identity().module().is_none() && task.status == Status::Disabled);
        disabled.into_iter().for_each(Task::skip_disabled);
        let proofs = join_all(tasks.iter().map(|task| proof(task.row.spec.clone()))).await;
        for (task, proven) in tasks.into_iter().zip(proofs) {
            match proven {
                Ok(()) => {}
                Err(Unproven::This(ReasonCode::NotLetIn, _)) if self.is_device_disabled(task).await? => {
                    task.skip_disabled();
                }
                Err(Unproven::This(code, text)) => task.next = Next::failed(Record::failed(code, text)),
                Err(Unproven::All(error)) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Returns true for a module of a disabled device.
    async fn is_device_disabled(&self, task: &Task) -> Result<bool, HubError> {
        let identity = task.identity();
        if identity.module().is_none() {
            return Ok(false);
        }
        let device = self.hub.twin(&identity.device().clone().into()).await?;
        Ok(device.is_some_and(|device| device.status == Status::Disabled))
    }

    async fn replace(&self, tasks: &mut [Task]) -> Result<(), HubError> {
        let (mut changing, mut changes) = (Vec::new(), Vec::new());
        for task in tasks.iter_mut() {
            if let Next::Replace(spec) = &task.next {
                changes.push((spec.clone(), task.etags.identity.clone()));
                changing.push(task);
            }
        }
        let changes: Vec<Change<'_>> =
            changes.iter().map(|(spec, etag)| Change { spec, etag: etag.clone() }).collect();
        let events = self.creator.update(&changes, &GivenKeys::new()).await?;
        for (task, event) in changing.into_iter().zip(events) {
            task.answered(answer(event));
        }
        Ok(())
    }

    async fn delete(&self, tasks: &mut [Task]) -> Result<(), HubError> {
        let doomed: Vec<(IdentityId, Option<Etag>)> = tasks
            .iter()
            .filter(|task| matches!(task.next, Next::Delete) && !task.goes_with_device)
            .map(|task| (task.identity().clone(), task.etags.identity.clone()))
            .collect();
        let events = self.creator.delete(&doomed).await?;
        for ((identity, _), event) in doomed.into_iter().zip(events) {
            units::tell(tasks, &identity, answer(event));
        }
        Ok(())
    }
}

/// The meaning of an event for an identity that was to be changed.
fn answer(event: Event) -> Answer {
    match event {
        Event::Lost(error) => Answer::Lost(error),
        Event::Outdated(error) => Answer::Outdated(error),
        Event::Refused(error) => Answer::Refused(error),
        Event::Created | Event::CreatedWithoutTwin | Event::IdentityUpdated | Event::TwinWritten => {
            Answer::Done
        }
        // That is no answer to a change.
        Event::AlreadyExists | Event::Observed(_) => Answer::Lost(HubError::Unclear),
    }
}
