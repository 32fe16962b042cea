//! The lifecycle of one identity in a run: a pure state machine, without I/O.
//!
//! [`Lifecycle::on`] takes an event and returns the next step, until [`Step::Finish`]. Three rules
//! make it safe to interrupt a run at any sample:
//!
//! - A lost response is never followed by the same request, but by a read of the hub.
//! - "Exists already" is never taken as success or failure, but compared.
//! - Updates are conditional: each carries the etag of the last read.

use crate::driver::{Event, NextStep, Retries};
use crate::hub::HubError;
use crate::ledger::{Record, RowState, unfinished_run};
use crate::model::compare::{Comparison, Difference, Observation, conflict_reason};
use crate::model::effect::Effect;
use crate::model::etags::Etags;
use crate::model::failure::ReasonCode;
use crate::model::options::{ApplyMode, ApplyRules, TwinPolicy};
use crate::model::run_id::RunId;

#[cfg(test)]
mod tests;

/// A request that changes an identity.
#[derive(Debug)]
pub(crate) enum WriteRequest {
    /// Create the identity, with its initial twin if the call can carry it.
    Create,
    /// Update the identity to the batch's values, with the etag of the last read.
    UpdateIdentity,
    /// Write the twin: of an identity that was just created, or with the etag of the last read.
    WriteTwin,
}

/// The next step of an identity.
pub(crate) type Step = NextStep<WriteRequest, Outcome>;

/// The outcome of an identity.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The identity does not exist, and the mode creates none.
    Absent,
    /// The identity is not as it was when the run was planned; nothing was changed.
    Changed(Vec<Difference>),
    /// The identity exists and differs from the batch; nothing was changed.
    Conflict(Vec<Difference>),
    /// The identity exists through this run.
    Done {
        /// The effect of the run.
        effect: Effect,
        /// Foreign twin values that were kept.
        kept: Vec<Difference>,
        /// True if the effect is presumed, not proven.
        presumed: bool,
    },
    /// The operation failed; the record states the reason.
    Failed(Box<Record>),
    /// The device does not exist, because it has not registered; nothing was changed.
    NotRegistered,
    /// The device exists, and must be disabled when its modules exist.
    Staged {
        /// The effect of the run so far, if there is one.
        effect: Option<Effect>,
        /// True if the effect is presumed.
        presumed: bool,
    },
    /// The device is one that an interrupted run is still to disable, and the batch wants it enabled;
    /// nothing was changed.
    StagedByRun {
        /// The interrupted run.
        run: RunId,
        /// The differences.
        differences: Vec<Difference>,
    },
    /// The identity already was as the batch wants it. Foreign twin values that were kept are
    /// listed.
    Unchanged(Vec<Difference>),
}

impl Step {
    /// The result of an identity for which a call failed.
    pub(crate) fn failed(error: &HubError) -> Self {
        Self::Finish(Outcome::Failed(Box::new(error.into())))
    }
}

/// The proof that an effect on an identity is this run's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Proof {
    /// An answer of the hub.
    #[default]
    Answer,
    /// The answer to the creation, but a read found the identity changed since: by a different client,
    /// which may have deleted it and created it again.
    AnswerAndForeignChange,
    /// The answer was lost: a read shows only that the identity exists.
    Lost,
}

/// The state of one identity in its lifecycle.
#[derive(Debug, Default)]
pub(crate) struct Lifecycle {
    rules: ApplyRules,
    /// The etags that it was planned with, if there is a plan.
    expected: Option<Etags>,
    /// True for a device that must not be disabled before its modules exist.
    waits_for_modules: bool,
    /// True if it is known to exist, so that its first step is a read.
    is_there: bool,
    /// True for a device that comes into being by registering, and is never created.
    registers: bool,
    /// True for a device that was last known as enabled, and is to be disabled after its modules exist.
    is_staged: bool,
    /// The intended effect of the last request.
    attempt: Option<Effect>,
    /// The effect of this run, certain or possible.
    done: Option<Effect>,
    /// The proof that this run had the effect.
    proof: Proof,
    /// True if this run certainly changed an existing identity.
    is_updated: bool,
    /// True if this run certainly wrote the twin.
    has_twin: bool,
    /// The number of lost or contradictory responses.
    retries: Retries,
}

impl Lifecycle {
    /// An identity that this run has not touched yet.
    pub(crate) fn new(rules: ApplyRules) -> Self {
        Self { rules, ..Self::default() }
    }

    /// An identity with a request of this effect that was sent before this run was interrupted.
    pub(crate) fn resumed(rules: ApplyRules, attempt: Effect) -> Self {
        Self { rules, done: Some(attempt), proof: Proof::Lost, ..Self::default() }
    }

    /// A device that must not be disabled before its modules are there.
    pub(crate) fn waiting_for_modules(self) -> Self {
        Self { waits_for_modules: true, ..self }
    }

    /// The same device, after its modules were created. The effect of the run so far is kept.
    pub(crate) fn with_modules_there(self) -> Self {
        Self { waits_for_modules: false, is_there: true, attempt: None, retries: Retries::default(), ..self }
    }

    /// A device that comes into being by registering: it is never created.
    pub(crate) fn registering(self) -> Self {
        Self { registers: true, is_there: true, ..self }
    }

    /// An identity of a plan. It is only changed if it has these etags, `None` if it did not exist,
    /// or if this run itself has changed them.
    pub(crate) fn expecting(self, etags: Etags) -> Self {
        Self { expected: Some(etags), ..self }
    }

    /// The first step. Creating without a read is cheaper if identities are expected to be missing,
    /// and as safe.
    pub(crate) fn begin(&mut self, look_first: bool) -> Step {
        let look_first = match &self.expected {
            // The plan knows.
            Some(etags) => *etags != Etags::default(),
            None => look_first,
        };
        match look_first || self.is_there || self.done.is_some() || self.rules.mode == ApplyMode::Update {
            true => Step::Observe,
            false => self.attempt(WriteRequest::Create, Effect::Created),
        }
    }

    /// Returns true for a device that must not be disabled yet.
    pub(crate) fn waits_for_modules(&self) -> bool {
        self.waits_for_modules
    }

    /// Returns true for a device that is still enabled on the hub although it is to be disabled.
    pub(crate) fn is_staged(&self) -> bool {
        self.is_staged
    }

    /// The number of lost or contradictory responses.
    pub(crate) fn retries(&self) -> u32 {
        self.retries.count()
    }

    /// The effect of this run on the identity, if there is one.
    pub(crate) fn effect(&self) -> Option<Effect> {
        self.done
    }

    /// Returns true if the effect is presumed, not proven.
    pub(crate) fn is_presumed(&self) -> bool {
        self.proof != Proof::Answer && self.done.is_some()
    }

    /// Returns true if this run created the identity.
    pub(crate) fn is_creation(&self) -> bool {
        self.done == Some(Effect::Created)
    }

    /// The next step after a look at the hub.
    pub(crate) fn observed(&mut self, seen: Observation) -> Step {
        match self.is_as_expected(&seen) {
            true => self.on(Event::Observed(seen.comparison)),
            false => Step::Finish(Outcome::Changed(seen.comparison.differences().to_vec())),
        }
    }

    /// Returns true if the observation matches the plan, or is this run's own work.
    fn is_as_expected(&self, seen: &Observation) -> bool {
        let Some(expected) = &self.expected else { return true };
        if seen.etags == *expected {
            return true;
        }
        if self.done.is_none() {
            return false;
        }
        match seen.comparison {
            Comparison::InSync | Comparison::Staged(_) | Comparison::TwinNotWritten => true,
            // The identity is as this run has made it. Its twin is the one that was planned with, or
            // the one that it was created with.
            Comparison::TwinDiffers(_) | Comparison::TwinModified(_) => seen.etags.twin == expected.twin,
            Comparison::IdentityDiffers(_) | Comparison::Missing | Comparison::StagedByRun { .. } => false,
        }
    }

    /// The next step after `event`.
    pub(crate) fn on(&mut self, event: Event) -> Step {
        match event {
            Event::AlreadyExists => self.look_again(None),
            Event::Created => {
                self.created();
                self.has_twin = true;
                self.finish_or_stage()
            }
            Event::CreatedWithoutTwin => {
                self.created();
                self.attempt(WriteRequest::WriteTwin, Effect::Updated)
            }
            Event::IdentityUpdated => {
                self.is_staged = self.waits_for_modules;
                self.updated();
                // Its twin is another matter, and has not been compared yet.
                Step::Observe
            }
            // A change that is repeated after a lost answer is refused as outdated, by its own effect.
            Event::Lost(error) | Event::Outdated(error) => {
                // Also where the hub was seen without it: others may have created the same meanwhile.
                if self.done.is_none() {
                    (self.done, self.proof) = (self.attempt, Proof::Lost);
                }
                self.look_again(Some(error))
            }
            Event::Observed(comparison) => self.on_comparison(comparison),
            Event::Refused(error) => Step::failed(&error),
            Event::TwinWritten => {
                self.updated();
                self.has_twin = true;
                self.finish_or_stage()
            }
        }
    }

    fn on_comparison(&mut self, comparison: Comparison) -> Step {
        let ApplyRules { mode, twin } = self.rules;
        self.is_staged = matches!(comparison, Comparison::Staged(_));
        self.doubt_creation(&comparison);
        match comparison {
            Comparison::InSync => self.found(Vec::new()),
            Comparison::Missing if self.registers => Step::Finish(Outcome::NotRegistered),
            Comparison::Missing if mode == ApplyMode::Update => Step::Finish(Outcome::Absent),
            Comparison::Missing => {
                (self.done, self.proof) = (None, Proof::Answer);
                (self.is_updated, self.has_twin) = (false, false);
                self.attempt(WriteRequest::Create, Effect::Created)
            }
            // By this run or by an earlier one, which may have created it or have found it there.
            Comparison::Staged(_) => match self.waits_for_modules {
                true => self.staged(),
                false => self.change(WriteRequest::UpdateIdentity),
            },
            Comparison::StagedByRun { run, differences } => {
                Step::Finish(Outcome::StagedByRun { run, differences })
            }
            Comparison::IdentityDiffers(differences) => match mode {
                ApplyMode::Create => Step::Finish(Outcome::Conflict(differences)),
                ApplyMode::Update | ApplyMode::Upsert => self.change_different(WriteRequest::UpdateIdentity),
            },
            Comparison::TwinDiffers(differences) => match (mode, twin) {
                (ApplyMode::Create, TwinPolicy::Initial) => Step::Finish(Outcome::Conflict(differences)),
                _ => self.change_different(WriteRequest::WriteTwin),
            },
            Comparison::TwinNotWritten => self.change(WriteRequest::WriteTwin),
            Comparison::TwinModified(differences) => match twin {
                TwinPolicy::Initial => self.found(differences),
                TwinPolicy::Merge | TwinPolicy::Replace => self.change(WriteRequest::WriteTwin),
            },
        }
    }

    fn created(&mut self) {
        self.is_staged = self.waits_for_modules;
        (self.done, self.proof) = (Some(Effect::Created), Proof::Answer);
    }

    fn updated(&mut self) {
        self.is_updated = true;
        if !self.is_creation() {
            (self.done, self.proof) = (Some(Effect::Updated), Proof::Answer);
        }
    }

    /// Requests a change of an identity that differs from what this run would have created. A creation that is
    /// only presumed is discarded: the identity existed before, or has been replaced since. Where nothing is
    /// changed, the presumption stays, because an undo must name what this run may have created.
    fn change_different(&mut self, request: WriteRequest) -> Step {
        if self.proof == Proof::Lost && self.is_creation() {
            (self.done, self.proof) = (self.is_updated.then_some(Effect::Updated), Proof::Answer);
        }
        self.change(request)
    }

    /// Takes a creation for presumed if the identity is not as this run has left it: a different client has
    /// changed it, or has deleted it and created it again.
    fn doubt_creation(&mut self, found: &Comparison) {
        let is_as_left = match found {
            Comparison::InSync => self.attempt.is_some(),
            Comparison::Missing | Comparison::Staged(_) => true,
            Comparison::TwinNotWritten => !self.has_twin,
            Comparison::IdentityDiffers(_)
            | Comparison::StagedByRun { .. }
            | Comparison::TwinDiffers(_)
            | Comparison::TwinModified(_) => false,
        };
        if !is_as_left && self.proof == Proof::Answer && self.is_creation() {
            self.proof = Proof::AnswerAndForeignChange;
        }
    }

    /// Asks for a step that is to have `effect`.
    fn attempt(&mut self, request: WriteRequest, effect: Effect) -> Step {
        self.attempt = Some(effect);
        Step::Send(request)
    }

    /// Requests a change of an existing identity, up to a bound, in case a different client reverts
    /// it.
    fn change(&mut self, request: WriteRequest) -> Step {
        match self.retries.again() {
            true => self.attempt(request, Effect::Updated),
            false => Step::failed(&HubError::Contradiction),
        }
    }

    fn found(&self, kept: Vec<Difference>) -> Step {
        Step::Finish(match self.done {
            Some(effect) => Outcome::Done { effect, kept, presumed: self.is_presumed() },
            None => Outcome::Unchanged(kept),
        })
    }

    fn finish_or_stage(&self) -> Step {
        match self.waits_for_modules && self.is_creation() {
            true => self.staged(),
            false => self.found(Vec::new()),
        }
    }

    fn staged(&self) -> Step {
        Step::Finish(Outcome::Staged { effect: self.done, presumed: self.is_presumed() })
    }

    fn look_again(&mut self, error: Option<HubError>) -> Step {
        match self.retries.again() {
            true => Step::Observe,
            false => Step::failed(&error.unwrap_or(HubError::Contradiction)),
        }
    }
}

impl From<Outcome> for Record {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Absent => Self::failed(
                ReasonCode::IdentityMissing,
                "it does not exist, and mode `update` creates nothing",
            ),
            Outcome::Changed(differences) => Self {
                differences,
                ..Self::failed(
                    ReasonCode::ChangedSincePlan,
                    "it was changed since the plan was made; plan again to see how it stands",
                )
            },
            Outcome::Conflict(differences) => Self {
                reason: Some(conflict_reason(&differences)),
                differences,
                ..Self::new(RowState::Conflict)
            },
            Outcome::Done { effect, kept, presumed } => {
                let reason = presumed.then_some(ReasonCode::Presumed).or_else(|| kept_reason(&kept));
                let effect = Some(effect);
                Self { effect, presumed, reason, differences: kept, ..Self::new(RowState::Done) }
            }
            Outcome::Failed(record) => *record,
            Outcome::NotRegistered => Self::new(RowState::Waiting),
            Outcome::Staged { effect, presumed } => Self { effect, presumed, ..Self::new(RowState::Sent) },
            Outcome::StagedByRun { run, differences } => Self {
                reason: Some(ReasonCode::RunUnfinished),
                error: Some(unfinished_run(run, "then provision it")),
                differences,
                ..Self::new(RowState::Conflict)
            },
            Outcome::Unchanged(kept) => {
                Self { reason: kept_reason(&kept), differences: kept, ..Self::new(RowState::Unchanged) }
            }
        }
    }
}

/// The reason of a row that is as asked, with foreign twin values kept.
fn kept_reason(kept: &[Difference]) -> Option<ReasonCode> {
    (!kept.is_empty()).then_some(ReasonCode::TwinKept)
}
