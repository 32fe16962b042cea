//! The application of a run to a DPS: its devices become individual enrolments.
//!
//! A DPS has no modules. The rows of modules are left waiting for the registration of their device.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hub_types::IdentityId;
use hub_types::dps::IndividualEnrollment;

use super::lifecycle::{Step, WriteRequest};
use super::operation::{Provisioning, life_of, marked};
use super::split_off_orphans;
use crate::dps::{
    DeviceCertificates, Dps, EnrollmentReader, EnrollmentSource, EnrollmentUpdate, EnrollmentWriter,
};
use crate::driver::{Operation, RunDriver, Task};
use crate::hub::{HubError, pause_after};
use crate::ledger::{Chunk, Ended, LedgerRow, Record, RowState, RunState};
use crate::model::options::ApplyOptions;
use crate::model::spec::IdentitySpec;
use crate::workers::{ChunkEnd, ChunkWork, ChunkWriter, RunError, WorkerPool};

#[cfg(test)]
mod tests;

/// The parameters of applying a run to a DPS.
pub(crate) struct ApplyEnrollments<D, C> {
    /// The DPS.
    pub(crate) dps: Arc<D>,
    /// The credentials that enrolments are made with.
    pub(crate) source: EnrollmentSource<C>,
    /// The rules for existing enrolments, and the tag for new ones.
    pub(crate) options: ApplyOptions,
    /// True to read before creating, which is cheaper if most enrolments are expected to exist.
    pub(crate) look_first: bool,
    /// The run, and who works on it.
    pub(crate) pool: WorkerPool,
}

impl<D: Dps, C: DeviceCertificates> ApplyEnrollments<D, C> {
    /// Works on the run until it is complete or stopped, and returns its state.
    pub(crate) async fn run(self) -> Result<RunState, RunError> {
        let Self { dps, source, options, look_first, pool } = self;
        let reader = EnrollmentReader {
            policy: options.rules.twin,
            settings: source.settings.clone(),
            ..EnrollmentReader::new(dps.clone(), source.keys.clone())
        };
        let operation = EnrollmentOperation {
            reader,
            writer: EnrollmentWriter { dps, source },
            options,
            look_first: AtomicBool::new(look_first),
        };
        pool.run(EnrollmentWorker { driver: RunDriver::new(operation) }).await
    }
}

struct EnrollmentWorker<D, C> {
    driver: RunDriver<EnrollmentOperation<D, C>>,
}

impl<D: Dps, C: DeviceCertificates> ChunkWork for EnrollmentWorker<D, C> {
    async fn work_on(&self, chunk: Chunk, writer: &ChunkWriter) -> Result<ChunkEnd, RunError> {
        let Chunk { rows, mut closed, .. } = chunk;
        let (devices, modules): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|row| row.spec.identity.module().is_none());
        let operation = self.driver.operation();
        let tasks = devices.into_iter().map(|row| operation.task(row)).collect();
        closed.extend(self.driver.settle(writer, tasks).await?.closed);
        let (modules, mut ended) = split_off_orphans(modules, &closed);
        let waiting = |row: LedgerRow| Ended::from((row.spec.identity, Record::new(RowState::Waiting)));
        ended.extend(modules.into_iter().map(waiting));
        writer.record(ended).await?;
        Ok(ChunkEnd::Complete)
    }
}

/// The creation and change of enrolments on one DPS. It learns from each set what to expect of the next.
struct EnrollmentOperation<D, C> {
    reader: EnrollmentReader<D>,
    writer: EnrollmentWriter<D, C>,
    options: ApplyOptions,
    look_first: AtomicBool,
}

/// The decisions about one device, and its enrolment as of the last read.
type Enrolling = Task<Provisioning<Option<IndividualEnrollment>>>;

impl<D: Dps, C: DeviceCertificates> Operation for EnrollmentOperation<D, C> {
    type Decider = Provisioning<Option<IndividualEnrollment>>;
    type Document = IndividualEnrollment;

    async fn read(&self, subject: &IdentityId) -> Result<Option<IndividualEnrollment>, HubError> {
        self.reader.read(subject).await
    }

    async fn pause_after(&self, retries: u32) -> Result<(), HubError> {
        pause_after(retries, &*self.reader.dps).await
    }

    async fn look(&self, task: &mut Enrolling, found: Option<&IndividualEnrollment>) -> Result<(), RunError> {
        let seen = self.reader.compare(&task.decider.spec, found).await?;
        task.observed(Some(seen.etags.clone()));
        task.decider.found = found.cloned();
        task.step = task.decider.life.observed(seen);
        Ok(())
    }

    async fn send(&self, tasks: &mut [Enrolling]) -> Result<(), RunError> {
        self.create(tasks).await?;
        Ok(self.update(tasks).await?)
    }

    async fn finished(&self, tasks: &mut [Enrolling]) -> Result<(), RunError> {
        if !tasks.is_empty() {
            let new = tasks.iter().filter(|task| task.is_new()).count();
            self.look_first.store(new * 2 < tasks.len(), Ordering::Relaxed);
        }
        Ok(())
    }
}

impl<D: Dps, C: DeviceCertificates> EnrollmentOperation<D, C> {
    /// The device of a row with its first step.
    fn task(&self, row: LedgerRow) -> Enrolling {
        let mut life = life_of(&row, &self.options);
        let step = life.begin(self.look_first.load(Ordering::Relaxed));
        Task::new(Provisioning { spec: row.spec, life, found: None }, step)
    }

    async fn create(&self, tasks: &mut [Enrolling]) -> Result<(), HubError> {
        let mut tasks: Vec<&mut Enrolling> =
            tasks.iter_mut().filter(|task| matches!(task.step, Step::Send(WriteRequest::Create))).collect();
        let specs: Vec<Cow<'_, IdentitySpec>> =
            tasks.iter().map(|task| marked(&self.options, Cow::Borrowed(&task.decider.spec))).collect();
        let specs: Vec<&IdentitySpec> = specs.iter().map(AsRef::as_ref).collect();
        let events = self.writer.create(&specs).await?;
        for (task, event) in tasks.iter_mut().zip(events) {
            task.answered(event);
        }
        Ok(())
    }

    /// Changes enrolments. Their initial twins are parts of them, so there is no other change.
    async fn update(&self, tasks: &mut [Enrolling]) -> Result<(), HubError> {
        let mut tasks: Vec<&mut Enrolling> = tasks
            .iter_mut()
            .filter(|task| {
                matches!(task.step, Step::Send(WriteRequest::UpdateIdentity | WriteRequest::WriteTwin))
            })
            .collect();
        let changes: Vec<EnrollmentUpdate<'_>> = tasks
            .iter()
            .filter_map(|task| {
                Some(EnrollmentUpdate { spec: &task.decider.spec, found: task.decider.found.as_ref()? })
            })
            .collect();
        let events = self.writer.update(&changes, self.options.rules.twin).await?;
        for (task, event) in tasks.iter_mut().zip(events) {
            task.answered(event);
        }
        Ok(())
    }
}
