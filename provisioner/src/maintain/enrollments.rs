//! The undo of a run on a DPS: enrolments and groups that the run created, and that are unchanged since, are
//! deleted.

use std::sync::Arc;

use futures_util::future::join_all;
use hub_types::IdentityId;
use hub_types::dps::registration::RegistrationStatus;
use hub_types::dps::{EnrollmentGroup, IndividualEnrollment};

use super::Rehearsal;
use super::change::{ChangeDecision, ChangeRequest, ChangeStep, Refusal, undo_unused};
use super::check::drift;
use super::operation::{Changing, mind_later_runs};
use crate::dps::{Dps, EnrollmentReader, delete, delete_group};
use crate::driver::{Operation, RunDriver, Task};
use crate::hub::{HubError, pause_after};
use crate::ledger::{Chunk, Holds, LedgerRow, RowFilter, RunState, SharedLedger, VerifiedRow};
use crate::model::compare::Observation;
use crate::model::etags::Etags;
use crate::model::failure::ReasonCode;
use crate::model::group_row::group_of;
use crate::model::maintenance::Maintenance;
use crate::model::run_id::RunId;
use crate::model::spec::IdentitySpec;
use crate::verify::Verified;
use crate::workers::concurrent_reads::ReadBack;
use crate::workers::{ChunkEnd, ChunkWork, ChunkWriter, RunError, WorkerPool};

/// The parameters of undoing a run on a DPS.
pub(crate) struct UndoEnrollments<D> {
    /// The DPS.
    pub(crate) dps: Arc<D>,
    /// The run that is undone.
    pub(crate) undone: RunId,
    /// The run that undoes it, and who works on it.
    pub(crate) pool: WorkerPool,
}

impl<D: Dps> UndoEnrollments<D> {
    /// Works on the run until it is complete or stopped, and returns its state.
    pub(crate) async fn run(self) -> Result<RunState, RunError> {
        let Self { dps, undone, pool } = self;
        let (ledger, undo) = (pool.ledger.clone(), pool.run);
        let operation = UndoOperation::new(dps, undone, Holds::of_run(&ledger, undo).await?);
        let state = pool.run(UndoWorker { driver: RunDriver::new(operation) }).await?;
        if state == RunState::Finished {
            // What was taken back may be given to others: a wrong label can be corrected.
            ledger.call(move |ledger| ledger.forget_undone(undone, undo)).await?;
        }
        Ok(state)
    }
}

struct UndoWorker<D> {
    driver: RunDriver<UndoOperation<D>>,
}

impl<D: Dps> ChunkWork for UndoWorker<D> {
    async fn work_on(&self, chunk: Chunk, writer: &ChunkWriter) -> Result<ChunkEnd, RunError> {
        let operation = self.driver.operation();
        let tasks = chunk.rows.into_iter().map(|row| operation.task(row)).collect();
        self.driver.settle(writer, tasks).await?;
        Ok(ChunkEnd::Complete)
    }
}

/// The deletion of enrolments on one DPS.
pub(crate) struct UndoOperation<D> {
    reader: EnrollmentReader<D>,
    undone: RunId,
    maintenance: Arc<Maintenance>,
    /// The records of later runs.
    holds: Holds,
}

impl<D: Dps> Operation for UndoOperation<D> {
    type Decider = Changing;
    type Document = DpsEntry;

    async fn read(&self, subject: &IdentityId) -> Result<Option<DpsEntry>, HubError> {
        DpsEntry::read(&self.reader, subject).await
    }

    async fn pause_after(&self, retries: u32) -> Result<(), HubError> {
        pause_after(retries, &*self.reader.dps).await
    }

    async fn look(&self, task: &mut Task<Changing>, found: Option<&DpsEntry>) -> Result<(), RunError> {
        task.observed(Some(DpsEntry::etags(found)));
        let decision = match found {
            None => ChangeDecision::NothingToDo,
            Some(found) if found.is_used() => {
                let who = if matches!(found, DpsEntry::Group(..)) { "a device of it" } else { "its device" };
                let reason = format!("{who} has registered since run {} created it", self.undone);
                Refusal::because(ReasonCode::ChangedSinceRun, reason)
            }
            Some(found) => {
                let seen = found.compare(&self.reader, &task.decider.row.spec).await?;
                let decision = undo_unused(&task.decider.row, seen.comparison, &seen.etags, self.undone);
                let (sent_for, found) = (task.decider.sent_for.as_ref(), seen.etags.identity.as_ref());
                let decision = decision.unless_made_anew(false, sent_for, found);
                let row = &task.decider.row;
                mind_later_runs(&self.holds, &self.maintenance, None, row, decision).await?
            }
        };
        task.step = task.decider.machine.observed(decision);
        Ok(())
    }

    async fn send(&self, tasks: &mut [Task<Changing>]) -> Result<(), RunError> {
        let doomed =
            tasks.iter_mut().filter(|task| matches!(task.step, ChangeStep::Send(ChangeRequest::Delete)));
        let deletions = doomed.map(|task| async {
            let (dps, etag) = (&*self.reader.dps, task.etags.identity.as_ref());
            let event = match group_of(task.identity()) {
                Some(group) => delete_group(dps, &group, etag).await?,
                None => delete(dps, task.identity(), etag).await?,
            };
            task.answered(event);
            Ok(())
        });
        join_all(deletions).await.into_iter().collect()
    }
}

impl<D: Dps> UndoOperation<D> {
    /// The undo of a run on a DPS. `holds` are the records of later runs.
    pub(crate) fn new(dps: Arc<D>, undone: RunId, holds: Holds) -> Self {
        let reader = EnrollmentReader::new(dps, Arc::default());
        Self { reader, undone, maintenance: Arc::new(Maintenance::Undo { run: undone }), holds }
    }
}

impl<D: Dps> Rehearsal for UndoOperation<D> {
    fn task(&self, row: LedgerRow) -> Task<Changing> {
        Task::new(Changing::new(row, self.maintenance.clone()), ChangeStep::Observe)
    }

    async fn foresee(&self, _tasks: &mut [Task<Changing>]) -> Result<(), RunError> {
        Ok(())
    }
}

/// An entry of a DPS that a run has created.
pub(crate) enum DpsEntry {
    /// The enrolment of a device.
    Device(Box<IndividualEnrollment>),
    /// A group, and whether a device has registered by it.
    Group(Box<EnrollmentGroup>, bool),
}

impl DpsEntry {
    /// Reads the entry of a row; `None` if there is none.
    async fn read<D: Dps>(
        reader: &EnrollmentReader<D>,
        subject: &IdentityId,
    ) -> Result<Option<Self>, HubError> {
        let Some(id) = group_of(subject) else {
            return Ok(reader.read(subject).await?.map(|found| Self::Device(Box::new(found))));
        };
        match reader.dps.group(&id).await? {
            Some(group) => {
                let is_used = reader.dps.has_registrations(&id).await?;
                Ok(Some(Self::Group(Box::new(group), is_used)))
            }
            None => Ok(None),
        }
    }

    fn etags(found: Option<&Self>) -> Etags {
        match found {
            None => Etags::default(),
            Some(Self::Device(enrollment)) => Etags::of_enrollment(Some(enrollment)),
            Some(Self::Group(group, _)) => Etags::of_group(Some(group)),
        }
    }

    /// Returns true if a device has come to a hub by the entry.
    fn is_used(&self) -> bool {
        match self {
            Self::Device(enrollment) => has_registered(enrollment),
            Self::Group(_, is_used) => *is_used,
        }
    }

    async fn compare<D: Dps>(
        &self,
        reader: &EnrollmentReader<D>,
        spec: &IdentitySpec,
    ) -> Result<Observation, HubError> {
        match self {
            Self::Device(enrollment) => reader.compare(spec, Some(enrollment)).await,
            Self::Group(group, _) => Ok(reader.compare_group(spec, Some(group))),
        }
    }
}

/// Returns true if the device has come to a hub by its enrolment: it would stay there.
fn has_registered(enrollment: &IndividualEnrollment) -> bool {
    let state = enrollment.registration_state.as_ref();
    state.is_some_and(|state| state.status != RegistrationStatus::Unassigned)
}

/// The parameters of verifying an undo on a DPS.
pub(crate) struct VerifyUndoneEnrollments<D> {
    /// The DPS.
    pub(crate) dps: Arc<D>,
    /// The ledger that holds the run.
    pub(crate) ledger: SharedLedger,
    /// The run of the undo.
    pub(crate) run: RunId,
    /// The number of enrolments that are read at once.
    pub(crate) concurrency: usize,
    /// Called with the number of rows read since the last call.
    pub(crate) progress: Arc<dyn Fn(usize) + Send + Sync>,
}

impl<D: Dps> VerifyUndoneEnrollments<D> {
    /// Reads every enrolment that the run has deleted, and returns those that are there.
    pub(crate) async fn run(&self) -> Result<Verified, RunError> {
        let mut verified = Verified::default();
        let reader = Arc::new(EnrollmentReader::new(self.dps.clone(), Arc::default()));
        let progress = self.progress.clone();
        let look = move |row: LedgerRow| {
            let (reader, progress) = (reader.clone(), progress.clone());
            async move {
                let found = DpsEntry::read(&reader, &row.spec.identity).await?;
                progress(1);
                Ok((row, found))
            }
        };
        let judge = |(row, found): (LedgerRow, Option<DpsEntry>)| {
            let decision = match &found {
                None => ChangeDecision::NothingToDo,
                Some(_) => ChangeDecision::Delete,
            };
            let drift = drift(decision);
            verified.count(&row, drift.as_deref());
            let etags = DpsEntry::etags(found.as_ref());
            VerifiedRow { identity: row.spec.identity, etags, drift }
        };
        let (run, filter, concurrency) = (self.run, RowFilter::Settled, self.concurrency);
        ReadBack { ledger: &self.ledger, run, filter, concurrency }.each(look, judge).await?;
        Ok(verified)
    }
}
