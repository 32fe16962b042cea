//! The driver of a run: it works on the identities of a chunk until each has a result.
//!
//! Each round has four steps. The driver reads the documents of the identities that need it, marks the
//! requests of the round as sent in the ledger, sends them, and passes the responses to the deciders. A
//! [`Decider`] decides the next step of one identity, without I/O. An [`Operation`] knows which
//! documents runs of one kind read and which requests they send. The loop, its limit, and the marks
//! and results in the ledger are the same for all kinds of runs.

use futures_util::future::join_all;
use hub_types::{DeviceId, IdentityId};

use crate::hub::{ErrorClass, HubError};
use crate::ledger::{Ended, LedgerError, RowState, Sent};
use crate::workers::{ChunkWriter, RunError};
pub(crate) use bulk::{BulkCall, send, send_new};
pub(crate) use changes::{IdentityUpdate, section_patch};
pub(crate) use event::Event;
pub(crate) use hub_writer::{HubWriter, outdated};
pub(crate) use observation::{Comparer, refused_or_fatal};
pub(crate) use parent_scopes::ParentScopes;
#[cfg(test)]
pub(crate) use retries::MAX_RETRIES;
pub(crate) use retries::Retries;
pub(crate) use task::{Decider, NextStep, Task};

mod bulk;
mod changes;
mod event;
mod hub_writer;
mod observation;
mod parent_scopes;
mod retries;
mod task;

/// The reads and requests of runs of one kind.
pub(crate) trait Operation: Send + Sync + 'static {
    /// The decisions about one identity.
    type Decider: Decider;
    /// The document that shows the state of an identity: the twin on a hub, the enrolment on a DPS.
    type Document: Send + Sync;

    /// The identity whose document is read for an identity, for example the device of a module.
    fn subject(&self, identity: &IdentityId) -> IdentityId {
        identity.clone()
    }

    /// Reads the document of a subject; `None` if there is none.
    fn read(
        &self,
        subject: &IdentityId,
    ) -> impl Future<Output = Result<Option<Self::Document>, HubError>> + Send;

    /// Waits before a read that follows so many retries.
    fn pause_after(&self, retries: u32) -> impl Future<Output = Result<(), HubError>> + Send;

    /// Passes the document of its subject to an identity, with everything else that its decision needs.
    fn look(
        &self,
        task: &mut Task<Self::Decider>,
        found: Option<&Self::Document>,
    ) -> impl Future<Output = Result<(), RunError>> + Send;

    /// Checks requests that depend on other identities, before they are marked as sent.
    fn check(&self, _tasks: &mut [Task<Self::Decider>]) -> impl Future<Output = Result<(), RunError>> + Send {
        async { Ok(()) }
    }

    /// Sends the requests of all identities, and passes the responses to them.
    fn send(&self, tasks: &mut [Task<Self::Decider>]) -> impl Future<Output = Result<(), RunError>> + Send;

    /// Receives the identities after all have finished, before their results are written.
    fn finished(
        &self,
        _tasks: &mut [Task<Self::Decider>],
    ) -> impl Future<Output = Result<(), RunError>> + Send {
        async { Ok(()) }
    }
}

/// The results of identities that others depend on.
pub(crate) struct Settled<D: Decider> {
    /// Devices that wait for their modules: their rows have no result yet.
    pub(crate) staged: Vec<Task<D>>,
    /// Devices that failed, are in conflict or have not registered.
    pub(crate) closed: Vec<(DeviceId, RowState)>,
}

/// The driver of the runs of one kind on one service.
pub(crate) struct RunDriver<O> {
    operation: O,
}

impl<O: Operation> RunDriver<O> {
    /// A driver for runs of one kind.
    pub(crate) fn new(operation: O) -> Self {
        Self { operation }
    }

    /// The operation.
    pub(crate) fn operation(&self) -> &O {
        &self.operation
    }

    /// Works on identities until each has a result, and writes the results into the ledger. Requests are
    /// marked as sent in the ledger before they are sent.
    pub(crate) async fn settle(
        &self,
        writer: &ChunkWriter,
        mut tasks: Vec<Task<O::Decider>>,
    ) -> Result<Settled<O::Decider>, RunError> {
        while tasks.iter().any(|task| !task.is_finished()) {
            let observing = tasks.iter().filter(|task| task.is_observing());
            if let Some(retries) = observing.map(|task| task.decider.retries()).max() {
                writer.release().await;
                self.operation.pause_after(retries).await?;
                self.observe(&mut tasks).await?;
            }
            self.operation.check(&mut tasks).await?;
            claim_credentials(writer, &mut tasks).await?;
            let run = writer.run();
            let sent: Vec<Sent> = tasks.iter_mut().filter_map(|task| task.about_to_send(run)).collect();
            if !sent.is_empty() {
                writer.mark_sent(sent).await?;
            }
            self.operation.send(&mut tasks).await?;
        }
        self.operation.finished(&mut tasks).await?;
        let (staged, ended): (Vec<_>, Vec<_>) = tasks.into_iter().partition(Task::is_staged);
        let closed = self.record(writer, ended).await?;
        Ok(Settled { staged, closed })
    }

    /// Reads the identities that have to be observed. A subject that several share is read once.
    pub(crate) async fn observe(&self, tasks: &mut [Task<O::Decider>]) -> Result<(), RunError> {
        let mut groups: Vec<(IdentityId, Vec<&mut Task<O::Decider>>)> = Vec::new();
        for task in tasks.iter_mut().filter(|task| task.is_observing()) {
            let subject = self.operation.subject(task.identity());
            match groups.last_mut() {
                Some((last, group)) if *last == subject => group.push(task),
                _ => groups.push((subject, vec![task])),
            }
        }
        let looks = groups.into_iter().map(|(subject, group)| self.look(subject, group));
        join_all(looks).await.into_iter().collect()
    }

    async fn look(&self, subject: IdentityId, group: Vec<&mut Task<O::Decider>>) -> Result<(), RunError> {
        let found = match self.operation.read(&subject).await {
            Ok(found) => found,
            Err(error) if error.class() == ErrorClass::Input => {
                group.into_iter().for_each(|task| task.unreadable(&error));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        for task in group {
            match self.operation.look(task, found.as_ref()).await {
                Err(RunError::Hub(error)) if error.class() == ErrorClass::Input => task.unreadable(&error),
                looked => looked?,
            }
        }
        Ok(())
    }

    /// Writes the results of finished identities into the ledger, and returns the devices among them that
    /// failed, are in conflict or have not registered.
    pub(crate) async fn record(
        &self,
        writer: &ChunkWriter,
        tasks: Vec<Task<O::Decider>>,
    ) -> Result<Vec<(DeviceId, RowState)>, RunError> {
        let ended: Vec<Ended> = tasks.into_iter().filter_map(|task| task.ended(writer.run())).collect();
        let closed = ended
            .iter()
            .filter(|ended| is_closed(ended.record.state))
            .filter(|ended| ended.identity.module().is_none())
            .map(|ended| (ended.identity.device().clone(), ended.record.state))
            .collect();
        writer.record(ended).await?;
        Ok(closed)
    }
}

/// Asks for the owner of each thumbprint that is about to be written, and ends the identities whose
/// thumbprint belongs to a different one. A run that was interrupted may have been undone or reverted, and
/// its thumbprints given to others since. Those that nobody has are the identity's from now on.
async fn claim_credentials<D: Decider>(
    writer: &ChunkWriter,
    tasks: &mut [Task<D>],
) -> Result<(), LedgerError> {
    if !D::MAY_LOSE_UNCLAIMED && !writer.is_taken_up_again() {
        return Ok(());
    }
    let wanted: Vec<_> = tasks.iter().flat_map(Task::credentials).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    for (identity, conflict) in writer.claim_again(wanted).await? {
        tasks
            .iter_mut()
            .filter(|task| *task.identity() == identity)
            .for_each(|task| task.credential_taken(&conflict));
    }
    Ok(())
}

/// Returns true for the state of a device whose modules are not created.
fn is_closed(state: RowState) -> bool {
    matches!(state, RowState::Conflict | RowState::Failed | RowState::Waiting)
}
