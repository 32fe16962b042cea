//! Bringing a set of identities to their end: the driver of [`Lifecycle`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use hub_types::IdentityId;

use super::ApplyError;
use super::creation::Creator;
use super::observation::{observe, refused_or_fatal};
use crate::desired::{DesiredIdentity, GivenKeys};
use crate::hub::{Hub, HubError};
use crate::ledger::{LedgerError, Record};
use crate::lifecycle::{Event, Lifecycle, Outcome, Step};

/// Settles identities on one hub, and learns from each set what to expect of the next.
pub(super) struct Settler<H> {
    hub: Arc<H>,
    keys: Arc<GivenKeys>,
    creator: Creator<H>,
    /// Whether most identities of the last set were there already: then reading first is cheaper
    /// than being refused.
    look_first: AtomicBool,
}

struct Task {
    wanted: DesiredIdentity,
    life: Lifecycle,
    step: Step,
}

impl<H: Hub> Settler<H> {
    pub(super) fn new(hub: Arc<H>, keys: Arc<GivenKeys>, look_first: bool) -> Self {
        Self { creator: Creator::new(hub.clone()), hub, keys, look_first: AtomicBool::new(look_first) }
    }

    /// Brings each identity to its end. `mark_sent` is called, and waited for, before any request
    /// leaves that may have an effect.
    pub(super) async fn settle<F>(
        &self,
        wanted: Vec<DesiredIdentity>,
        mark_sent: impl Fn(Vec<IdentityId>) -> F,
    ) -> Result<Vec<(IdentityId, Record)>, ApplyError>
    where
        F: Future<Output = Result<(), LedgerError>>,
    {
        let look_first = self.look_first.load(Ordering::Relaxed);
        let start = || if look_first { Step::Observe } else { Step::Create };
        let mut tasks: Vec<Task> = wanted
            .into_iter()
            .map(|wanted| Task { wanted, life: Lifecycle::default(), step: start() })
            .collect();
        while tasks.iter().any(|task| !matches!(task.step, Step::Finish(_))) {
            self.observe(&mut tasks).await?;
            let effects = |task: &Task| matches!(task.step, Step::Create | Step::WriteTwin);
            let about_to_change: Vec<IdentityId> =
                tasks.iter().filter(|task| effects(task)).map(|task| task.wanted.identity.clone()).collect();
            if !about_to_change.is_empty() {
                mark_sent(about_to_change).await?;
            }
            self.create(&mut tasks).await?;
            self.write_twins(&mut tasks).await?;
        }
        Ok(self.finished(tasks))
    }

    fn finished(&self, tasks: Vec<Task>) -> Vec<(IdentityId, Record)> {
        let count = tasks.len();
        let mut existed = 0;
        let mut records = Vec::with_capacity(count);
        for task in tasks {
            if let Step::Finish(outcome) = task.step {
                existed += usize::from(matches!(outcome, Outcome::Unchanged(_) | Outcome::Conflict(_)));
                records.push((task.wanted.identity, outcome.into()));
            }
        }
        if count > 0 {
            self.look_first.store(existed * 2 > count, Ordering::Relaxed);
        }
        records
    }

    async fn observe(&self, tasks: &mut [Task]) -> Result<(), ApplyError> {
        let tasks: Vec<&mut Task> =
            tasks.iter_mut().filter(|task| matches!(task.step, Step::Observe)).collect();
        let events = join_all(tasks.iter().map(|task| self.standing(&task.wanted))).await;
        for (task, event) in tasks.into_iter().zip(events) {
            task.step = task.life.on(event?);
        }
        Ok(())
    }

    async fn standing(&self, wanted: &DesiredIdentity) -> Result<Event, HubError> {
        let observed = observe(&*self.hub, wanted, &self.keys).await;
        let event = observed.map(|observed| Event::Observed(observed.standing));
        event.or_else(|error| refused_or_fatal(error, None))
    }

    async fn create(&self, tasks: &mut [Task]) -> Result<(), ApplyError> {
        let mut tasks: Vec<&mut Task> =
            tasks.iter_mut().filter(|task| matches!(task.step, Step::Create)).collect();
        let wanted: Vec<&DesiredIdentity> = tasks.iter().map(|task| &task.wanted).collect();
        let events = self.creator.create(&wanted, &self.keys).await?;
        for (task, event) in tasks.iter_mut().zip(events) {
            task.step = task.life.on(event);
        }
        Ok(())
    }

    async fn write_twins(&self, tasks: &mut [Task]) -> Result<(), ApplyError> {
        let tasks: Vec<&mut Task> =
            tasks.iter_mut().filter(|task| matches!(task.step, Step::WriteTwin)).collect();
        let events = join_all(tasks.iter().map(|task| self.write_twin(&task.wanted))).await;
        for (task, event) in tasks.into_iter().zip(events) {
            task.step = task.life.on(event?);
        }
        Ok(())
    }

    async fn write_twin(&self, wanted: &DesiredIdentity) -> Result<Event, HubError> {
        let state = &wanted.state;
        let written = self.hub.patch_twin(&wanted.identity, &state.tags, &state.desired).await;
        written.map(|()| Event::TwinWritten).or_else(|error| refused_or_fatal(error, Some(Event::Lost)))
    }
}
