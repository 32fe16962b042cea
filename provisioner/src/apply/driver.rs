//! The processing of a set of identities to their results: the driver of [`Lifecycle`].

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use hub_types::IdentityId;
use hub_types::identity::{Status, StatusReason};

use super::changes::{IdentityUpdate, section_patch};
use super::hub_writer::{HubWriter, outdated};
use super::lifecycle::Event;
use super::observation::{observe, refused_or_fatal};
use crate::apply::lifecycle::{Lifecycle, Outcome, Step};
use crate::hub::{Hub, HubError, is_missing, pause_after};
use crate::ledger::{Holds, Sent};
use crate::model::compare::{Comparison, Difference, Etags, Observation, STAGED};
use crate::model::creator_tag;
use crate::model::effect::Effect;
use crate::model::failure::ReasonCode;
use crate::model::hold::Hold;
use crate::model::options::ApplyOptions;
use crate::model::run_id::RunId;
use crate::model::spec::{GivenKeys, IdentitySpec};
use crate::workers::{ChunkWriter, RunError};

/// Settles identities on one hub, and learns from each set what to expect of the next.
pub(super) struct ApplyDriver<H> {
    hub: Arc<H>,
    holds: Holds,
    keys: Arc<GivenKeys>,
    hub_writer: HubWriter<H>,
    options: ApplyOptions,
    /// True if most identities of the last set existed already: then reading first is cheaper than
    /// failing to create.
    look_first: AtomicBool,
}

/// An identity with its result.
pub(super) struct Settlement {
    pub(super) identity: IdentityId,
    pub(super) outcome: Outcome,
    /// The run that keeps the device disabled, if the device is as requested.
    pub(super) held_by: Option<RunId>,
    /// The reason why the device stays disabled, if an earlier run keeps it so.
    pub(super) kept: Option<ReasonCode>,
    /// The effect of the run, even if a later step failed.
    pub(super) effect: Option<Effect>,
    /// True if the effect is presumed.
    pub(super) presumed: bool,
    /// The etags of the first read, unless this run created the identity.
    pub(super) before: Etags,
    /// The etags of the last read, unless the identity was changed since.
    pub(super) after: Etags,
}

/// An identity that is being processed.
pub(super) struct ApplyTask {
    spec: IdentitySpec,
    life: Lifecycle,
    step: Step,
    /// The run that keeps the device disabled, as of the last read.
    hold: Option<Hold>,
    /// The etags of the first read.
    before: Etags,
    /// The etags of the last read.
    etags: Etags,
    /// True if the identity may have changed since the last read.
    is_outdated: bool,
    differences: Vec<Difference>,
}

/// The state of a set of identities after all steps that are possible at once.
#[derive(Default)]
pub(super) struct Settlements {
    /// The finished identities.
    pub(super) ended: Vec<Settlement>,
    /// Devices that wait for their modules.
    pub(super) staged: Vec<ApplyTask>,
}

impl ApplyTask {
    pub(super) fn new(spec: IdentitySpec, life: Lifecycle) -> Self {
        Self {
            spec,
            life,
            step: Step::Observe,
            hold: None,
            before: Etags::default(),
            etags: Etags::default(),
            is_outdated: false,
            differences: Vec::new(),
        }
    }

    /// The device, with its modules created.
    pub(super) fn with_modules_there(self) -> Self {
        Self { life: self.life.with_modules_there(), ..self }
    }

    fn observed(&mut self, seen: Observation) {
        self.etags = seen.etags.clone();
        self.is_outdated = false;
        if self.before == Etags::default() {
            self.before = seen.etags.clone();
        }
        self.differences = seen.comparison.differences().to_vec();
        self.hold.clone_from(&seen.hold);
        self.step = self.life.observed(seen);
    }

    /// The identity as it is to be sent: enabled, as long as it waits for its modules, and disabled as it was
    /// found, as long as it is not released.
    fn identity_to_send(&self) -> Cow<'_, IdentitySpec> {
        if let Some(hold) = &self.hold {
            let mut held = self.spec.clone();
            held.state.hold = Some(hold.reason.clone());
            return Cow::Owned(held);
        }
        if !self.life.waits_for_modules() {
            return Cow::Borrowed(&self.spec);
        }
        let mut staged = self.spec.clone();
        staged.state.status = Status::Enabled;
        staged.state.status_reason = StatusReason::new(STAGED).ok();
        staged.state.hold = None;
        Cow::Owned(staged)
    }

    /// Returns true if this run has certainly created it, and failed after that.
    fn is_half_done(&self) -> bool {
        let is_certain_creation = self.life.is_creation() && !self.life.is_presumed();
        is_certain_creation && matches!(self.step, Step::Finish(Outcome::Failed(_)))
    }

    /// The effect of the request that its step needs.
    fn effect(&self) -> Option<Effect> {
        match self.step {
            Step::Create => Some(Effect::Created),
            Step::UpdateIdentity | Step::WriteTwin if self.life.is_creation() => Some(Effect::Created),
            Step::UpdateIdentity | Step::WriteTwin => Some(Effect::Updated),
            Step::Finish(_) | Step::Observe => None,
        }
    }

    /// The request that its step asks for, which is about to leave.
    fn about_to_send(&mut self, run: RunId) -> Option<Sent> {
        let effect = self.effect()?;
        self.is_outdated = true;
        let before = if effect == Effect::Created { Etags::default() } else { self.before.clone() };
        let (identity, held_by) = (self.spec.identity.clone(), self.held_by(run));
        Some(Sent { identity, effect, before, held_by, status_reason_before: None })
    }

    /// The run that keeps the device disabled after `run` has processed it.
    fn held_by(&self, run: RunId) -> Option<RunId> {
        self.hold.as_ref().map(|hold| hold.run).or_else(|| self.spec.state.hold.is_some().then_some(run))
    }

    /// The result of the identity, if it has finished.
    fn settled(self, run: RunId) -> Option<Settlement> {
        let held_by = match self.step {
            Step::Finish(Outcome::Done { .. }) => self.held_by(run),
            _ => self.hold.as_ref().map(|hold| hold.run),
        };
        let Step::Finish(outcome) = self.step else { return None };
        let (effect, presumed) = (self.life.effect(), self.life.is_presumed());
        let before = if self.life.is_creation() { Etags::default() } else { self.before };
        let after = if self.is_outdated { Etags::default() } else { self.etags };
        let kept = self.hold.filter(|hold| hold.run != run).map(|hold| hold.reason_code());
        let identity = self.spec.identity;
        Some(Settlement { identity, outcome, effect, presumed, held_by, kept, before, after })
    }
}

/// Returns true for what a creation leaves, as far as it has come.
fn is_as_created(comparison: &Comparison) -> bool {
    matches!(comparison, Comparison::InSync | Comparison::Staged(_) | Comparison::TwinNotWritten)
}

impl<H: Hub> ApplyDriver<H> {
    pub(super) fn new(
        hub: Arc<H>,
        holds: Holds,
        keys: Arc<GivenKeys>,
        look_first: bool,
        options: ApplyOptions,
    ) -> Self {
        let look_first = AtomicBool::new(look_first);
        Self { hub_writer: HubWriter::new(hub.clone()), hub, holds, keys, options, look_first }
    }

    /// Processes each identity to its result. Requests with a possible effect are recorded before
    /// they are sent.
    pub(super) async fn settle(
        &self,
        mut tasks: Vec<ApplyTask>,
        writer: &ChunkWriter,
    ) -> Result<Settlements, RunError> {
        let look_first = self.look_first.load(Ordering::Relaxed);
        tasks.iter_mut().for_each(|task| task.step = task.life.begin(look_first));
        while tasks.iter().any(|task| !matches!(task.step, Step::Finish(_))) {
            let observing = tasks.iter().filter(|task| matches!(task.step, Step::Observe));
            if let Some(retries) = observing.map(|task| task.life.retries()).max() {
                writer.release().await;
                pause_after(retries, &*self.hub).await?;
                self.observe(&mut tasks).await?;
            }
            let about_to_leave: Vec<Sent> =
                tasks.iter_mut().filter_map(|task| task.about_to_send(writer.run())).collect();
            if !about_to_leave.is_empty() {
                writer.mark_sent(about_to_leave).await?;
            }
            self.create(&mut tasks).await?;
            self.update_identities(&mut tasks).await?;
            self.write_twins(&mut tasks).await?;
        }
        self.note_half_done(&mut tasks).await?;
        Ok(self.finished(tasks, writer.run()))
    }

    /// Notes the versions of the identities that this run has created and could not finish: an undo deletes
    /// them in these versions only.
    async fn note_half_done(&self, tasks: &mut [ApplyTask]) -> Result<(), RunError> {
        let mut tasks: Vec<&mut ApplyTask> = tasks.iter_mut().filter(|task| task.is_half_done()).collect();
        let seen = self.look(&tasks).await;
        for (task, seen) in tasks.iter_mut().zip(seen) {
            let left = match seen {
                Ok(seen) if is_as_created(&seen.comparison) => Some(seen.etags),
                // Without a version, only the content can show what is there.
                Ok(_) | Err(RunError::Hub(_)) => None,
                Err(error) => return Err(error),
            };
            (task.etags, task.is_outdated) = (left.unwrap_or_default(), false);
        }
        Ok(())
    }

    fn finished(&self, tasks: Vec<ApplyTask>, run: RunId) -> Settlements {
        let is_new = |task: &&ApplyTask| {
            matches!(
                task.step,
                Step::Finish(
                    Outcome::Failed(_)
                        | Outcome::Done { effect: Effect::Created, .. }
                        | Outcome::Staged { effect: Some(Effect::Created), .. }
                )
            )
        };
        if !tasks.is_empty() {
            let new = tasks.iter().filter(is_new).count();
            self.look_first.store(new * 2 < tasks.len(), Ordering::Relaxed);
        }
        let is_staged = |task: &ApplyTask| matches!(task.step, Step::Finish(Outcome::Staged { .. }));
        let (staged, ended): (Vec<_>, Vec<_>) = tasks.into_iter().partition(is_staged);
        let ended = ended.into_iter().filter_map(|task| task.settled(run)).collect();
        Settlements { ended, staged }
    }

    /// Reads identities and compares them with the batch.
    async fn look(&self, tasks: &[&mut ApplyTask]) -> Vec<Result<Observation, RunError>> {
        let policy = self.options.rules.twin;
        let looks = tasks.iter().map(|task| observe(&*self.hub, &self.holds, &task.spec, &self.keys, policy));
        join_all(looks).await
    }

    async fn observe(&self, tasks: &mut [ApplyTask]) -> Result<(), RunError> {
        let tasks: Vec<&mut ApplyTask> =
            tasks.iter_mut().filter(|task| matches!(task.step, Step::Observe)).collect();
        let seen = self.look(&tasks).await;
        for (task, seen) in tasks.into_iter().zip(seen) {
            match seen {
                Ok(seen) => task.observed(seen),
                Err(RunError::Hub(error)) => task.step = task.life.on(refused_or_fatal(error, None)?),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn create(&self, tasks: &mut [ApplyTask]) -> Result<(), RunError> {
        let mut tasks: Vec<&mut ApplyTask> =
            tasks.iter_mut().filter(|task| matches!(task.step, Step::Create)).collect();
        let spec: Vec<Cow<'_, IdentitySpec>> =
            tasks.iter().map(|task| self.marked(task.identity_to_send())).collect();
        let spec: Vec<&IdentitySpec> = spec.iter().map(AsRef::as_ref).collect();
        let events = self.hub_writer.create(&spec, &self.keys).await?;
        for (task, event) in tasks.iter_mut().zip(events) {
            task.step = task.life.on(event);
        }
        Ok(())
    }

    async fn update_identities(&self, tasks: &mut [ApplyTask]) -> Result<(), RunError> {
        let mut tasks: Vec<&mut ApplyTask> =
            tasks.iter_mut().filter(|task| matches!(task.step, Step::UpdateIdentity)).collect();
        let spec: Vec<Cow<'_, IdentitySpec>> = tasks.iter().map(|task| task.identity_to_send()).collect();
        let changes: Vec<IdentityUpdate<'_>> = spec
            .iter()
            .zip(&tasks)
            .map(|(spec, task)| IdentityUpdate { spec, etag: task.etags.identity.clone() })
            .collect();
        let events = self.hub_writer.update(&changes, &self.keys).await?;
        for (task, event) in tasks.iter_mut().zip(events) {
            task.step = task.life.on(event);
        }
        Ok(())
    }

    async fn write_twins(&self, tasks: &mut [ApplyTask]) -> Result<(), RunError> {
        let tasks: Vec<&mut ApplyTask> =
            tasks.iter_mut().filter(|task| matches!(task.step, Step::WriteTwin)).collect();
        let events = join_all(tasks.iter().map(|task| self.write_twin(task))).await;
        for (task, event) in tasks.into_iter().zip(events) {
            task.step = task.life.on(event?);
        }
        Ok(())
    }

    async fn write_twin(&self, task: &ApplyTask) -> Result<Event, HubError> {
        // What was perhaps created by others may have their tag, or none.
        let is_certain_creation = task.life.is_creation() && !task.life.is_presumed();
        let spec = match is_certain_creation {
            true => self.marked(Cow::Borrowed(&task.spec)),
            false => Cow::Borrowed(&task.spec),
        };
        let tags = match is_certain_creation {
            true => Cow::Borrowed(&*spec.state.tags),
            false => creator_tag::without(&spec.state.tags),
        };
        let tags = section_patch("tags", &tags, &task.differences);
        let desired = section_patch("desired", &spec.state.desired, &task.differences);
        let etag = task.etags.twin.as_ref();
        match self.hub.patch_twin(&spec.identity, &tags, &desired, etag).await {
            Ok(()) => Ok(Event::TwinWritten),
            Err(error) if outdated(&error) || is_missing(&error) => Ok(Event::Outdated(error)),
            Err(error) => refused_or_fatal(error, Some(Event::Lost)),
        }
    }

    /// The identity with the tag that names its creator, if one is requested and the batch gives no
    /// tag of that name.
    fn marked<'w>(&self, spec: Cow<'w, IdentitySpec>) -> Cow<'w, IdentitySpec> {
        let Some((name, value)) = &self.options.created_by else { return spec };
        if spec.state.tags.get(name).is_some_and(|given| !creator_tag::is_creators(given)) {
            return spec;
        }
        let mut marked = spec.into_owned();
        Arc::make_mut(&mut marked.state.tags).insert(name.clone(), value.clone());
        Cow::Owned(marked)
    }
}
