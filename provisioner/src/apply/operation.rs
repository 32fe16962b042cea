//! The reads and requests of an apply, and its decisions about one identity.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use hub_types::identity::Status;
use hub_types::twin::Twin;
use hub_types::{IdentityId, Thumbprint};

use super::lifecycle::{Lifecycle, Outcome, Step, WriteRequest};
use crate::driver::{
    Comparer, Decider, Event, HubWriter, IdentityUpdate, Operation, Task, outdated, refused_or_fatal,
    section_patch,
};
use crate::hub::{Hub, HubError, is_missing, pause_after};
use crate::ledger::{Holds, LedgerRow, Record, RowState, Sent};
use crate::model::compare::{Comparison, Difference, DifferencePath, STAGED};
use crate::model::creator_tag;
use crate::model::effect::Effect;
use crate::model::etags::Etags;
use crate::model::hold::Hold;
use crate::model::options::ApplyOptions;
use crate::model::run_id::RunId;
use crate::model::scopes::Scopes;
use crate::model::spec::{AuthSpec, GivenKeys, IdentitySpec, own_reason};
use crate::workers::RunError;

/// The creation and update of identities on one hub. It learns from each set what to expect of the next.
pub(super) struct ApplyOperation<H> {
    hub: Arc<H>,
    holds: Holds,
    keys: Arc<GivenKeys>,
    hub_writer: HubWriter<H>,
    options: ApplyOptions,
    /// True if most identities of the last set existed already: then reading first is cheaper than
    /// failing to create.
    look_first: AtomicBool,
}

/// The decisions about one identity of an apply.
pub(super) struct Provisioning<Found = Vec<Difference>> {
    pub(super) spec: IdentitySpec,
    pub(super) life: Lifecycle,
    /// The part of the last read that a change is made from: on a hub, the differences.
    pub(super) found: Found,
}

impl<Found> Provisioning<Found> {
    /// The run that keeps the device disabled after `run` has processed it.
    fn held_by(&self, hold: Option<&Hold>, run: RunId) -> Option<RunId> {
        hold.map(|hold| hold.run).or_else(|| self.spec.state.hold.is_some().then_some(run))
    }

    /// Returns true if this run has certainly created the identity.
    fn is_certain_creation(&self) -> bool {
        self.life.is_creation() && !self.life.is_presumed()
    }
}

impl Provisioning {
    /// Returns true if the last read showed a parent that is not the requested one.
    fn changes_parent(&self) -> bool {
        self.found.iter().any(Difference::is_of_parent)
    }
}

impl<Found: Send + Sync> Decider for Provisioning<Found> {
    type Request = WriteRequest;
    type Outcome = Outcome;

    fn identity(&self) -> &IdentityId {
        &self.spec.identity
    }

    fn retries(&self) -> u32 {
        self.life.retries()
    }

    fn answered(&mut self, event: Event) -> Step {
        self.life.on(event)
    }

    fn unreadable(&mut self, error: &HubError) -> Step {
        Step::failed(error)
    }

    fn effect(&self, request: &WriteRequest) -> Effect {
        match request {
            WriteRequest::UpdateIdentity | WriteRequest::WriteTwin if !self.life.is_creation() => {
                Effect::Updated
            }
            WriteRequest::Create | WriteRequest::UpdateIdentity | WriteRequest::WriteTwin => Effect::Created,
        }
    }

    const MAY_LOSE_UNCLAIMED: bool = false;

    fn thumbprints(&self, _request: &WriteRequest) -> [Option<Thumbprint>; 2] {
        match self.spec.state.auth {
            // A device that waited for its modules is there already, and must be disabled.
            AuthSpec::Thumbprint { primary, secondary } if !self.life.is_staged() => [primary, secondary],
            _ => [None, None],
        }
    }

    fn ends_with(record: Record) -> Outcome {
        Outcome::Failed(Box::new(record))
    }

    fn sent(&self, effect: Effect, before: Etags, hold: Option<&Hold>, run: RunId) -> Sent {
        let (identity, held_by) = (self.spec.identity.clone(), self.held_by(hold, run));
        Sent { identity, effect, before, held_by, status_reason_before: None }
    }

    fn is_creation(&self) -> bool {
        self.life.is_creation()
    }

    fn is_staged(outcome: &Outcome) -> bool {
        matches!(outcome, Outcome::Staged { .. })
    }

    fn record(&self, outcome: Outcome, hold: Option<&Hold>, run: RunId) -> Record {
        let held_by = match outcome {
            Outcome::Done { .. } => self.held_by(hold, run),
            _ => hold.map(|hold| hold.run),
        };
        // The effect counts even if a later step failed.
        let (effect, presumed) = (self.life.effect(), self.life.is_presumed());
        let mut record = Record { effect, presumed, ..Record::from(outcome) };
        if matches!(record.state, RowState::Done | RowState::Unchanged) {
            let kept = hold.filter(|hold| hold.run != run).map(Hold::reason_code);
            record.held_by = held_by;
            record.reason = record.reason.or(kept);
        }
        if record.state == RowState::Failed && self.life.is_staged() { record.left_enabled() } else { record }
    }
}

impl Task<Provisioning> {
    /// The identity as it is to be sent: enabled, as long as it waits for its modules, and disabled as it was
    /// found, as long as it is not released.
    fn identity_to_send(&self) -> Cow<'_, IdentitySpec> {
        if let Some(hold) = &self.hold {
            let mut held = self.decider.spec.clone();
            held.state.hold = Some(hold.reason.clone());
            return Cow::Owned(held);
        }
        if !self.decider.life.waits_for_modules() {
            return Cow::Borrowed(&self.decider.spec);
        }
        let mut staged = self.decider.spec.clone();
        staged.state.status = Status::Enabled;
        staged.state.status_reason = Some(own_reason(STAGED));
        staged.state.hold = None;
        Cow::Owned(staged)
    }
}

impl<Found: Send + Sync> Task<Provisioning<Found>> {
    /// Returns true if this run has certainly created it, and failed after that.
    fn is_half_done(&self) -> bool {
        self.decider.is_certain_creation() && matches!(self.step, Step::Finish(Outcome::Failed(_)))
    }

    /// Returns true if it was new to the hub, or not shown to exist.
    pub(super) fn is_new(&self) -> bool {
        matches!(
            self.step,
            Step::Finish(
                Outcome::Failed(_)
                    | Outcome::Done { effect: Effect::Created, .. }
                    | Outcome::Staged { effect: Some(Effect::Created), .. }
            )
        )
    }
}

/// Returns true for what a creation leaves, as far as it has come.
fn is_as_created(comparison: &Comparison) -> bool {
    matches!(comparison, Comparison::InSync | Comparison::Staged(_) | Comparison::TwinNotWritten)
}

impl<H: Hub> Operation for ApplyOperation<H> {
    type Decider = Provisioning;
    type Document = Twin;

    async fn read(&self, subject: &IdentityId) -> Result<Option<Twin>, HubError> {
        self.hub.twin(subject).await
    }

    async fn pause_after(&self, retries: u32) -> Result<(), HubError> {
        pause_after(retries, &*self.hub).await
    }

    async fn look(&self, task: &mut Task<Provisioning>, twin: Option<&Twin>) -> Result<(), RunError> {
        task.scopes = Scopes::of_twin(twin);
        let seen = self.comparer().compare_held(&self.holds, &task.decider.spec, twin).await?;
        task.observed(Some(seen.etags.clone()));
        task.hold.clone_from(&seen.hold);
        task.decider.found = seen.comparison.differences().to_vec();
        task.step = task.decider.life.observed(seen);
        Ok(())
    }

    async fn send(&self, tasks: &mut [Task<Provisioning>]) -> Result<(), RunError> {
        self.create(tasks).await?;
        self.update_identities(tasks).await?;
        self.write_twins(tasks).await
    }

    async fn finished(&self, tasks: &mut [Task<Provisioning>]) -> Result<(), RunError> {
        self.note_half_done(tasks).await?;
        if !tasks.is_empty() {
            let new = tasks.iter().filter(|task| task.is_new()).count();
            self.look_first.store(new * 2 < tasks.len(), Ordering::Relaxed);
        }
        Ok(())
    }
}

impl<H: Hub> ApplyOperation<H> {
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

    /// The identity of a row with its first step. A device may have to wait for its modules before it is
    /// disabled.
    pub(super) fn task(&self, row: LedgerRow, waits_for_modules: bool) -> Task<Provisioning> {
        let life = life_of(&row, &self.options);
        let mut life = if waits_for_modules { life.waiting_for_modules() } else { life };
        if self.options.follows && row.spec.identity.module().is_none() {
            life = life.registering();
        }
        let step = life.begin(self.looks_first());
        Task::new(Provisioning { spec: row.spec, life, found: Vec::new() }, step)
    }

    /// A staged device, with its modules created.
    pub(super) fn with_modules_there(&self, mut task: Task<Provisioning>) -> Task<Provisioning> {
        let life = &mut task.decider.life;
        *life = std::mem::take(life).with_modules_there();
        task.step = life.begin(self.looks_first());
        task
    }

    fn comparer(&self) -> Comparer<'_, H> {
        self.hub_writer.comparer(&self.keys, self.options.rules.twin)
    }

    fn looks_first(&self) -> bool {
        self.look_first.load(Ordering::Relaxed)
    }

    /// Notes the versions of the identities that this run has created and could not finish: an undo deletes
    /// them in these versions only.
    async fn note_half_done(&self, tasks: &mut [Task<Provisioning>]) -> Result<(), RunError> {
        let mut tasks: Vec<&mut Task<Provisioning>> =
            tasks.iter_mut().filter(|task| task.is_half_done()).collect();
        let comparer = self.comparer();
        let looks = tasks.iter().map(|task| comparer.read_held(&self.holds, &task.decider.spec));
        let seen = join_all(looks).await;
        for (task, seen) in tasks.iter_mut().zip(seen) {
            let left = match seen {
                Ok(seen) if is_as_created(&seen.comparison) => seen.etags,
                // Without a version, only the content can show what is there.
                Ok(_) | Err(RunError::Hub(_)) => Etags::default(),
                Err(error) => return Err(error),
            };
            task.left(left);
        }
        Ok(())
    }

    async fn create(&self, tasks: &mut [Task<Provisioning>]) -> Result<(), RunError> {
        let mut tasks: Vec<&mut Task<Provisioning>> =
            tasks.iter_mut().filter(|task| matches!(task.step, Step::Send(WriteRequest::Create))).collect();
        let spec: Vec<Cow<'_, IdentitySpec>> =
            tasks.iter().map(|task| marked(&self.options, task.identity_to_send())).collect();
        let spec: Vec<&IdentitySpec> = spec.iter().map(AsRef::as_ref).collect();
        let events = self.hub_writer.create(&spec, &self.keys).await?;
        for (task, event) in tasks.iter_mut().zip(events) {
            task.answered(event);
        }
        Ok(())
    }

    async fn update_identities(&self, tasks: &mut [Task<Provisioning>]) -> Result<(), RunError> {
        let mut tasks: Vec<&mut Task<Provisioning>> = tasks
            .iter_mut()
            .filter(|task| matches!(task.step, Step::Send(WriteRequest::UpdateIdentity)))
            .collect();
        let spec: Vec<Cow<'_, IdentitySpec>> = tasks.iter().map(|task| task.identity_to_send()).collect();
        let changes: Vec<IdentityUpdate<'_>> = spec
            .iter()
            .zip(&tasks)
            .map(|(spec, task)| task.update_to(spec, task.decider.changes_parent()))
            .collect();
        let events = self.hub_writer.update(&changes, &self.keys).await?;
        for (task, event) in tasks.iter_mut().zip(events) {
            task.answered(event);
        }
        Ok(())
    }

    async fn write_twins(&self, tasks: &mut [Task<Provisioning>]) -> Result<(), RunError> {
        let tasks: Vec<&mut Task<Provisioning>> = tasks
            .iter_mut()
            .filter(|task| matches!(task.step, Step::Send(WriteRequest::WriteTwin)))
            .collect();
        let events = join_all(tasks.iter().map(|task| self.write_twin(task))).await;
        for (task, event) in tasks.into_iter().zip(events) {
            task.answered(event?);
        }
        Ok(())
    }

    async fn write_twin(&self, task: &Task<Provisioning>) -> Result<Event, HubError> {
        // What was perhaps created by others may have their tag, or none.
        let is_certain_creation = task.decider.is_certain_creation();
        let spec = match is_certain_creation {
            true => marked(&self.options, Cow::Borrowed(&task.decider.spec)),
            false => Cow::Borrowed(&task.decider.spec),
        };
        let tags = match is_certain_creation {
            true => Cow::Borrowed(&*spec.state.tags),
            false => creator_tag::without(&spec.state.tags),
        };
        let tags = section_patch(&tags, &task.decider.found, DifferencePath::tag);
        let desired = section_patch(&spec.state.desired, &task.decider.found, DifferencePath::desired);
        let etag = task.etags.twin.as_ref();
        match self.hub.patch_twin(&spec.identity, &tags, &desired, etag).await {
            Ok(()) => Ok(Event::TwinWritten),
            Err(error) if outdated(&error) || is_missing(&error) => Ok(Event::Outdated(error)),
            Err(error) => refused_or_fatal(error, Some(Event::Lost)),
        }
    }
}

/// The lifecycle of a row's identity, as far as the ledger knows it.
pub(super) fn life_of(row: &LedgerRow, options: &ApplyOptions) -> Lifecycle {
    let life = match row.record.state {
        // That a run created something is only said where it is known.
        RowState::Sent => Lifecycle::resumed(options.rules, row.record.effect.unwrap_or(Effect::Updated)),
        _ => Lifecycle::new(options.rules),
    };
    match options.as_planned {
        true => life.expecting(row.before.clone()),
        false => life,
    }
}

/// The identity with the tag that names its creator, if one is requested and the batch gives no
/// tag of that name.
pub(super) fn marked<'w>(options: &ApplyOptions, spec: Cow<'w, IdentitySpec>) -> Cow<'w, IdentitySpec> {
    let Some((name, value)) = &options.created_by else { return spec };
    if spec.state.tags.get(name).is_some_and(|given| !creator_tag::is_creators(given)) {
        return spec;
    }
    let mut marked = spec.into_owned();
    Arc::make_mut(&mut marked.state.tags).insert(name.clone(), value.clone());
    Cow::Owned(marked)
}
