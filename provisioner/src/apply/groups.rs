//! The application of a run to a DPS with an enrolment group: the group is written first, and then all rows
//! wait for the registration of their devices by it.

use futures_util::future::join_all;
use hub_types::IdentityId;
use hub_types::dps::bulk::BulkMode;
use hub_types::dps::certificate::CertificateDer;
use hub_types::dps::{EnrollmentGroup, EnrollmentGroupId};

use super::lifecycle::{Step, WriteRequest};
use super::operation::{Provisioning, life_of};
use crate::dps::{Dps, EnrollmentReader, group_to_write, write_group};
use crate::driver::{Operation, RunDriver, Task};
use crate::hub::{HubError, pause_after};
use crate::ledger::{Chunk, Ended, Holds, LedgerRow, Record, RowState, RunState};
use crate::model::etags::Etags;
use crate::model::failure::ReasonCode;
use crate::model::group_row::{group_of, identity_of_group};
use crate::model::options::ApplyOptions;
use crate::model::run_id::RunId;
use crate::workers::{ChunkEnd, ChunkWork, ChunkWriter, RunError, WorkerPool};

/// The parameters of applying a run with a group.
pub(crate) struct ApplyGroup<D> {
    /// The reads of the DPS.
    pub(crate) reader: EnrollmentReader<D>,
    /// The id of the group.
    pub(crate) group: EnrollmentGroupId,
    /// The certificate of its CA.
    pub(crate) certificate: CertificateDer,
    /// The rules for an existing group.
    pub(crate) options: ApplyOptions,
    /// The run, and who works on it.
    pub(crate) pool: WorkerPool,
}

impl<D: Dps> ApplyGroup<D> {
    /// Works on the run until it is complete or stopped, and returns its state.
    pub(crate) async fn run(self) -> Result<RunState, RunError> {
        let Self { reader, group, certificate, options, pool } = self;
        let (holds, run) = (Holds::of_run(&pool.ledger, pool.run).await?, pool.run);
        let operation = GroupOperation { reader, certificate, options };
        pool.run(GroupWorker { driver: RunDriver::new(operation), holds, run, group }).await
    }
}

struct GroupWorker<D> {
    driver: RunDriver<GroupOperation<D>>,
    /// The rows of the run.
    holds: Holds,
    run: RunId,
    group: EnrollmentGroupId,
}

impl<D: Dps> ChunkWork for GroupWorker<D> {
    async fn work_on(&self, chunk: Chunk, writer: &ChunkWriter) -> Result<ChunkEnd, RunError> {
        let (groups, rows): (Vec<_>, Vec<_>) =
            chunk.rows.into_iter().partition(|row| group_of(&row.spec.identity).is_some());
        let operation = self.driver.operation();
        let tasks = groups.into_iter().map(|row| operation.task(row)).collect();
        self.driver.settle(writer, tasks).await?;
        if rows.is_empty() {
            return Ok(ChunkEnd::Complete);
        }
        // The row of the group is on a lower level, so it has ended.
        writer.release().await;
        let state = match identity_of_group(&self.group) {
            Some(identity) => self.holds.row(self.run, &identity).await?.map(|row| row.record.state),
            None => None,
        };
        let record = || match state {
            Some(RowState::Done | RowState::Unchanged) => Record::new(RowState::Waiting),
            state => {
                let state = state.map_or_else(|| "missing".to_owned(), |state| state.to_string());
                let reason =
                    format!("nothing was done, because the enrolment group `{}` is `{state}`", self.group);
                Record::skipped(ReasonCode::DeviceRowNotDone, reason)
            }
        };
        let ended = rows.into_iter().map(|row| Ended::from((row.spec.identity, record()))).collect();
        writer.record(ended).await?;
        Ok(ChunkEnd::Complete)
    }
}

/// The creation and change of a group on one DPS.
struct GroupOperation<D> {
    reader: EnrollmentReader<D>,
    certificate: CertificateDer,
    options: ApplyOptions,
}

/// The decisions about a group, and the group as of the last read.
type Grouping = Task<Provisioning<Option<EnrollmentGroup>>>;

impl<D: Dps> Operation for GroupOperation<D> {
    type Decider = Provisioning<Option<EnrollmentGroup>>;
    type Document = EnrollmentGroup;

    async fn read(&self, subject: &IdentityId) -> Result<Option<EnrollmentGroup>, HubError> {
        match group_of(subject) {
            Some(id) => self.reader.dps.group(&id).await,
            None => Ok(None),
        }
    }

    async fn pause_after(&self, retries: u32) -> Result<(), HubError> {
        pause_after(retries, &*self.reader.dps).await
    }

    async fn look(&self, task: &mut Grouping, found: Option<&EnrollmentGroup>) -> Result<(), RunError> {
        let seen = self.reader.compare_group(&task.decider.spec, found);
        task.observed(Some(Etags::of_group(found)));
        task.decider.found = found.cloned();
        task.step = task.decider.life.observed(seen);
        Ok(())
    }

    async fn send(&self, tasks: &mut [Grouping]) -> Result<(), RunError> {
        let writes = tasks.iter_mut().map(|task| async {
            let Step::Send(request) = &task.step else { return Ok(()) };
            let Some(id) = group_of(task.identity()) else { return Ok(()) };
            let (mode, found) = match request {
                WriteRequest::Create => (BulkMode::Create, None),
                WriteRequest::UpdateIdentity | WriteRequest::WriteTwin => {
                    (BulkMode::UpdateIfMatchEtag, task.decider.found.as_ref())
                }
            };
            let (spec, settings) = (&task.decider.spec, &self.reader.settings);
            let group = group_to_write(&id, spec, &self.certificate, settings, found);
            let event = write_group(&*self.reader.dps, mode, group).await?;
            task.answered(event);
            Ok(())
        });
        join_all(writes).await.into_iter().collect()
    }
}

impl<D: Dps> GroupOperation<D> {
    /// The group of a row with its first step.
    fn task(&self, row: LedgerRow) -> Grouping {
        let mut life = life_of(&row, &self.options);
        let step = life.begin(false);
        Task::new(Provisioning { spec: row.spec, life, found: None }, step)
    }
}
