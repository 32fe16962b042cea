//! The lifecycle of one identity in a run: a pure state machine, without I/O.
//!
//! [`Lifecycle::on`] takes an event and returns the next step, until [`Step::Finish`]. Three rules
//! make it safe to interrupt a run at any moment:
//!
//! - A lost response is never followed by the same request, but by a read of the hub.
//! - "Exists already" is never taken as success or failure, but compared.
//! - Updates are conditional: each carries the etag of the last read.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::hub::HubError;
use crate::ledger::UnknownValue;
use crate::model::compare::{Difference, Etags, Observation, Standing};

/// The rules for existing and missing identities.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Create missing identities; an existing one that differs is a conflict.
    #[default]
    Create,
    /// Create missing identities, and change those that differ.
    Upsert,
    /// Change identities that differ; missing ones stay missing.
    Update,
}

/// The rules for an existing twin with different values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum TwinPolicy {
    /// Keep and report a twin that was written since its creation.
    #[default]
    Initial,
    /// The batch's values are merged in.
    Merge,
    /// The sections of which the batch gives values are made to hold these and no others.
    Replace,
}

/// The rules of a run for existing identities.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The rule for the identities.
    pub mode: Mode,
    /// The rule for their twins.
    pub twin: TwinPolicy,
}

/// The next step.
#[derive(Debug)]
pub enum Step {
    /// Create the identity, with its initial twin if the call can carry it.
    Create,
    /// No further step: the outcome.
    Finish(Outcome),
    /// Read the twin and compare.
    Observe,
    /// Update the identity to the batch's values, with the etag of the last read.
    UpdateIdentity,
    /// Write the twin: of an identity that was just created, or with the etag of the last read.
    WriteTwin,
}

/// An event of an identity.
#[derive(Debug)]
pub enum Event {
    /// The creation was refused because the identity exists.
    AlreadyExists,
    /// The hub created it with the initial twin, or without one if there is none.
    Created,
    /// The hub created it; its initial twin is still to be written.
    CreatedWithoutTwin,
    /// The hub changed the identity.
    IdentityUpdated,
    /// The response was lost: the effect of the request is unknown.
    Lost(HubError),
    /// The twin was read and compared.
    Observed(Standing),
    /// A change was refused because the version that was observed is not the newest any more.
    Outdated(HubError),
    /// The hub refused: the request had no effect.
    Refused(HubError),
    /// The hub wrote the twin.
    TwinWritten,
}

/// The outcome of an identity.
#[derive(Debug)]
pub enum Outcome {
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
        /// True if the effect is presumed: the response was lost, and a read shows only that the
        /// identity exists.
        presumed: bool,
    },
    /// The operation failed.
    Failed(HubError),
    /// The device exists, and must be disabled when its modules exist.
    Staged {
        /// The effect of the run so far, if there is one.
        effect: Option<Effect>,
        /// True if the effect is presumed.
        presumed: bool,
    },
    /// The identity already was as the batch wants it. Foreign twin values that were kept are
    /// listed.
    Unchanged(Vec<Difference>),
}

/// The effect of a run on an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// The run created the identity.
    Created,
    /// The run deleted the identity.
    Deleted,
    /// The run changed the existing identity or wrote its twin.
    Updated,
}

impl Effect {
    /// The name that ledger and reports use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Deleted => "deleted",
            Self::Updated => "updated",
        }
    }
}

impl FromStr for Effect {
    type Err = UnknownValue;

    fn from_str(text: &str) -> Result<Self, UnknownValue> {
        [Self::Created, Self::Deleted, Self::Updated]
            .into_iter()
            .find(|effect| effect.as_str() == text)
            .ok_or_else(|| UnknownValue::new(text))
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The state of one identity in its lifecycle.
#[derive(Debug, Default)]
pub struct Lifecycle {
    intent: Intent,
    /// The etags that it was planned with, if there is a plan.
    expected: Option<Etags>,
    /// True for a device that must not be disabled before its modules exist.
    waits_for_modules: bool,
    /// True if it is known to exist, so that its first step is a read.
    is_there: bool,
    /// The intended effect of the last request.
    attempt: Option<Effect>,
    /// The effect of this run, certain or possible.
    done: Option<Effect>,
    /// True if the effect is presumed, because the response was lost.
    presumed: bool,
    /// True if this run certainly changed an existing identity.
    is_updated: bool,
    /// The number of lost or contradictory responses.
    setbacks: u32,
}

impl Lifecycle {
    /// An identity that this run has not touched yet.
    pub fn new(intent: Intent) -> Self {
        Self { intent, ..Self::default() }
    }

    /// An identity with a request of this effect that was sent before this run was interrupted.
    pub fn resumed(intent: Intent, attempt: Effect) -> Self {
        Self { intent, done: Some(attempt), presumed: true, ..Self::default() }
    }

    /// A device that must not be disabled before its modules are there.
    pub fn waiting_for_modules(self) -> Self {
        Self { waits_for_modules: true, ..self }
    }

    /// The same device, after its modules were created. The effect of the run so far is kept.
    pub fn with_modules_there(self) -> Self {
        Self { waits_for_modules: false, is_there: true, setbacks: 0, ..self }
    }

    /// An identity of a plan. It is only changed if it has these etags, `None` if it did not exist,
    /// or if this run itself has changed them.
    pub fn expecting(self, etags: Etags) -> Self {
        Self { expected: Some(etags), ..self }
    }

    /// The first step. Creating without a read is cheaper if identities are expected to be missing,
    /// and as safe.
    pub fn begin(&mut self, look_first: bool) -> Step {
        let look_first = match &self.expected {
            // The plan knows.
            Some(etags) => *etags != Etags::default(),
            None => look_first,
        };
        match look_first || self.is_there || self.done.is_some() || self.intent.mode == Mode::Update {
            true => Step::Observe,
            false => self.attempt(Step::Create, Effect::Created),
        }
    }

    /// Returns true for a device that must not be disabled yet.
    pub fn waits_for_modules(&self) -> bool {
        self.waits_for_modules
    }

    /// The number of lost or contradictory responses.
    pub fn setbacks(&self) -> u32 {
        self.setbacks
    }

    /// The effect of this run on the identity, if there is one.
    pub fn effect(&self) -> Option<Effect> {
        self.done
    }

    /// Returns true if the effect is presumed, because the response was lost.
    pub fn is_presumed(&self) -> bool {
        self.presumed && self.done.is_some()
    }

    /// Returns true if this run created the identity.
    pub fn is_creation(&self) -> bool {
        self.done == Some(Effect::Created)
    }

    /// The next step after a look at the hub.
    pub fn observed(&mut self, seen: Observation) -> Step {
        match self.is_as_expected(&seen) {
            true => self.on(Event::Observed(seen.standing)),
            false => Step::Finish(Outcome::Changed(seen.standing.differences().to_vec())),
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
        match seen.standing {
            Standing::Equal | Standing::Staged(_) | Standing::TwinUnwritten => true,
            // The identity is as this run has made it. Its twin is the one that was planned with, or
            // the one that it was created with.
            Standing::TwinDiffers(_) | Standing::TwinWrittenSince(_) => seen.etags.twin == expected.twin,
            Standing::Different(_) | Standing::Missing => false,
        }
    }

    /// The next step after `event`.
    pub fn on(&mut self, event: Event) -> Step {
        match event {
            Event::AlreadyExists => self.look_again(None),
            Event::Created => {
                self.created();
                self.finish_or_stage()
            }
            Event::CreatedWithoutTwin => {
                self.created();
                self.attempt(Step::WriteTwin, Effect::Updated)
            }
            Event::IdentityUpdated => {
                self.updated();
                // Its twin is another matter, and has not been compared yet.
                Step::Observe
            }
            // A change that is repeated after a lost answer is refused as outdated, by its own effect.
            Event::Lost(error) | Event::Outdated(error) => {
                // Also where the hub was seen without it: others may have created the same meanwhile.
                if self.done.is_none() {
                    (self.done, self.presumed) = (self.attempt, true);
                }
                self.look_again(Some(error))
            }
            Event::Observed(standing) => self.on_standing(standing),
            Event::Refused(error) => Step::Finish(Outcome::Failed(error)),
            Event::TwinWritten => {
                self.updated();
                self.finish_or_stage()
            }
        }
    }

    fn on_standing(&mut self, standing: Standing) -> Step {
        let Intent { mode, twin } = self.intent;
        if matches!(standing, Standing::Different(_) | Standing::TwinDiffers(_)) {
            self.forget_presumed_creation();
        }
        match standing {
            Standing::Equal => self.found(Vec::new()),
            Standing::Missing if mode == Mode::Update => Step::Finish(Outcome::Absent),
            Standing::Missing => {
                (self.done, self.presumed, self.is_updated) = (None, false, false);
                self.attempt(Step::Create, Effect::Created)
            }
            // By this run or by an earlier one, which may have created it or have found it there.
            Standing::Staged(_) => match self.waits_for_modules {
                true => self.staged(),
                false => self.change(Step::UpdateIdentity),
            },
            Standing::Different(differences) => match mode {
                Mode::Create => Step::Finish(Outcome::Conflict(differences)),
                Mode::Update | Mode::Upsert => self.change(Step::UpdateIdentity),
            },
            Standing::TwinDiffers(differences) => match (mode, twin) {
                (Mode::Create, TwinPolicy::Initial) => Step::Finish(Outcome::Conflict(differences)),
                _ => self.change(Step::WriteTwin),
            },
            Standing::TwinUnwritten => self.change(Step::WriteTwin),
            Standing::TwinWrittenSince(differences) => match twin {
                TwinPolicy::Initial => self.found(differences),
                TwinPolicy::Merge | TwinPolicy::Replace => self.change(Step::WriteTwin),
            },
        }
    }

    fn created(&mut self) {
        (self.done, self.presumed) = (Some(Effect::Created), false);
    }

    fn updated(&mut self) {
        self.is_updated = true;
        if !self.is_creation() {
            (self.done, self.presumed) = (Some(Effect::Updated), false);
        }
    }

    /// Discards a presumed creation, because the identity differs from what this run would have
    /// created: it existed before, or has been replaced since.
    fn forget_presumed_creation(&mut self) {
        if self.presumed && self.is_creation() {
            (self.done, self.presumed) = (self.is_updated.then_some(Effect::Updated), false);
        }
    }

    /// Asks for a step that is to have `effect`.
    fn attempt(&mut self, step: Step, effect: Effect) -> Step {
        self.attempt = Some(effect);
        step
    }

    /// Requests a change of an existing identity, up to a bound, in case a different client reverts
    /// it.
    fn change(&mut self, step: Step) -> Step {
        self.setbacks += 1;
        match self.setbacks <= MAX_SETBACKS {
            true => self.attempt(step, Effect::Updated),
            false => Step::Finish(Outcome::Failed(HubError::Contradiction)),
        }
    }

    fn found(&self, kept: Vec<Difference>) -> Step {
        Step::Finish(match self.done {
            Some(effect) => Outcome::Done { effect, kept, presumed: self.presumed },
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
        Step::Finish(Outcome::Staged { effect: self.done, presumed: self.presumed })
    }

    fn look_again(&mut self, error: Option<HubError>) -> Step {
        self.setbacks += 1;
        if self.setbacks <= MAX_SETBACKS {
            return Step::Observe;
        }
        Step::Finish(Outcome::Failed(error.unwrap_or(HubError::Contradiction)))
    }
}

const MAX_SETBACKS: u32 = 12;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A hub that holds at most one identity, and may lose any answer after or before the effect.
    #[derive(Debug, Clone, Copy, PartialEq)]
    struct ModelHub {
        identity: Option<Identity>,
        twin: Twin,
        creations: u32,
        /// Changes to existing identities.
        identity_updates: u32,
        twin_writes: u32,
    }

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Identity {
        Other,
        Staged,
        Wanted,
    }

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Twin {
        Blank,
        OtherInitial,
        OtherSince,
        Wanted,
    }

    #[derive(Debug, Clone, Copy)]
    enum Weather {
        Fine,
        LostAfterEffect,
        LostBeforeEffect,
        Outdated,
        WithoutTwin,
    }

    impl ModelHub {
        fn with(identity: Option<Identity>, twin: Twin) -> Self {
            Self { identity, twin, creations: 0, identity_updates: 0, twin_writes: 0 }
        }

        fn create(&mut self, weather: Weather, staged: bool) -> Event {
            if matches!(weather, Weather::LostBeforeEffect) {
                return Event::Lost(HubError::Contradiction);
            }
            if self.identity.is_some() {
                return Event::AlreadyExists;
            }
            self.identity = Some(if staged { Identity::Staged } else { Identity::Wanted });
            self.creations += 1;
            self.twin = if matches!(weather, Weather::WithoutTwin) { Twin::Blank } else { Twin::Wanted };
            match weather {
                Weather::LostAfterEffect => Event::Lost(HubError::Contradiction),
                Weather::WithoutTwin => Event::CreatedWithoutTwin,
                _ => Event::Created,
            }
        }

        fn change(&mut self, weather: Weather, done: Event, effect: impl FnOnce(&mut Self)) -> Event {
            match weather {
                Weather::LostBeforeEffect => return Event::Lost(HubError::Contradiction),
                Weather::Outdated => return Event::Outdated(HubError::Contradiction),
                _ => effect(self),
            }
            match weather {
                Weather::LostAfterEffect => Event::Lost(HubError::Contradiction),
                _ => done,
            }
        }

        fn standing(&self) -> Standing {
            match (self.identity, self.twin) {
                (None, _) => Standing::Missing,
                (Some(Identity::Other), _) => Standing::Different(Vec::new()),
                (Some(Identity::Staged), _) => Standing::Staged(Vec::new()),
                (Some(Identity::Wanted), Twin::Blank) => Standing::TwinUnwritten,
                (Some(Identity::Wanted), Twin::OtherInitial) => Standing::TwinDiffers(Vec::new()),
                (Some(Identity::Wanted), Twin::OtherSince) => Standing::TwinWrittenSince(Vec::new()),
                (Some(Identity::Wanted), Twin::Wanted) => Standing::Equal,
            }
        }

        /// Runs the machine to its end, with the fates of requests from `skies`. A crash discards
        /// everything but the content of the ledger.
        fn live(
            &mut self,
            mut life: Lifecycle,
            look_first: bool,
            skies: &mut Vec<Weather>,
            crash: bool,
        ) -> Option<Outcome> {
            let mut step = life.begin(look_first);
            loop {
                if crash && skies.is_empty() {
                    return None;
                }
                let weather = |skies: &mut Vec<Weather>| skies.pop().unwrap_or(Weather::Fine);
                let event = match step {
                    Step::Finish(outcome) => return Some(outcome),
                    Step::Create => self.create(weather(skies), life.waits_for_modules()),
                    Step::UpdateIdentity => self.change(weather(skies), Event::IdentityUpdated, |hub| {
                        hub.identity_updates += u32::from(hub.identity != Some(Identity::Staged));
                        hub.identity = Some(Identity::Wanted);
                    }),
                    Step::WriteTwin => self.change(weather(skies), Event::TwinWritten, |hub| {
                        hub.twin_writes += 1;
                        hub.twin = Twin::Wanted;
                    }),
                    Step::Observe => Event::Observed(self.standing()),
                };
                step = life.on(event);
            }
        }
    }

    fn weather() -> impl Strategy<Value = Weather> {
        prop_oneof![
            Just(Weather::Fine),
            Just(Weather::LostAfterEffect),
            Just(Weather::LostBeforeEffect),
            Just(Weather::Outdated),
            Just(Weather::WithoutTwin),
        ]
    }

    fn intent() -> impl Strategy<Value = Intent> {
        let mode = prop_oneof![Just(Mode::Create), Just(Mode::Upsert), Just(Mode::Update)];
        let twin = prop_oneof![Just(TwinPolicy::Initial), Just(TwinPolicy::Merge), Just(TwinPolicy::Replace)];
        (mode, twin).prop_map(|(mode, twin)| Intent { mode, twin })
    }

    fn hub() -> impl Strategy<Value = ModelHub> {
        let identity = prop_oneof![Just(None), Just(Some(Identity::Other)), Just(Some(Identity::Wanted))];
        let twin = prop_oneof![
            Just(Twin::Blank),
            Just(Twin::OtherInitial),
            Just(Twin::OtherSince),
            Just(Twin::Wanted)
        ];
        (identity, twin).prop_map(|(identity, twin)| ModelHub::with(identity, twin))
    }

    /// Checks the invariants at the end, after any losses.
    fn check(
        intent: Intent,
        before: ModelHub,
        hub: ModelHub,
        outcome: &Outcome,
    ) -> Result<(), TestCaseError> {
        let was_there = before.identity.is_some();
        prop_assert!(hub.creations <= u32::from(!was_there), "created twice, or over what was there");
        if intent.mode == Mode::Create {
            prop_assert_eq!(hub.identity_updates, 0, "mode create changes no identity");
        }
        if intent.mode == Mode::Update {
            prop_assert_eq!(hub.creations, 0, "mode update creates nothing");
        }
        if intent.twin == TwinPolicy::Initial && was_there && before.twin == Twin::OtherSince {
            prop_assert_eq!(hub.twin, Twin::OtherSince, "an initial twin clobbers nothing");
        }
        match outcome {
            Outcome::Absent => prop_assert!(!was_there && hub.identity.is_none()),
            Outcome::Conflict(_) => prop_assert_eq!(hub, before),
            Outcome::Done { effect: Effect::Created, presumed: false, .. } => {
                prop_assert_eq!(hub.creations, 1)
            }
            Outcome::Done { effect: Effect::Created, .. } => {}
            Outcome::Done { effect: Effect::Updated, .. } => {
                prop_assert!(was_there && hub.identity_updates + hub.twin_writes > 0);
            }
            Outcome::Unchanged(_) => prop_assert_eq!(hub, before),
            other => prop_assert!(false, "{other:?}"),
        }
        if matches!(outcome, Outcome::Done { .. } | Outcome::Unchanged(_)) {
            prop_assert_eq!(hub.identity, Some(Identity::Wanted));
            prop_assert!(hub.twin == Twin::Wanted || hub.twin == Twin::OtherSince);
        }
        Ok(())
    }

    fn seen(standing: Standing, etags: [Option<&str>; 2]) -> Observation {
        let [identity, twin] = etags.map(|etag| etag.map(|etag| etag.to_owned().into()));
        Observation { standing, etags: Etags { identity, twin }, is_disabled: false, hold: None }
    }

    fn expecting(etags: [Option<&str>; 2], intent: Intent) -> Lifecycle {
        Lifecycle::new(intent).expecting(seen(Standing::Equal, etags).etags)
    }

    #[test]
    fn what_was_planned_to_be_created_and_is_there_was_changed_since() {
        let mut life = expecting([None, None], Intent::default());
        assert!(matches!(life.begin(true), Step::Create), "the plan has looked");
        assert!(matches!(life.on(Event::AlreadyExists), Step::Observe));
        let step = life.observed(seen(Standing::Equal, [Some("1"), Some("1")]));
        assert!(matches!(step, Step::Finish(Outcome::Changed(_))), "{step:?}");
    }

    #[test]
    fn another_version_than_was_planned_with_is_left_alone_even_where_it_is_equal() {
        let upsert = Intent { mode: Mode::Upsert, twin: TwinPolicy::Merge };
        for standing in [Standing::Equal, Standing::TwinUnwritten, Standing::Different(Vec::new())] {
            let mut life = expecting([Some("1"), Some("1")], upsert);
            assert!(matches!(life.begin(false), Step::Observe));
            let step = life.observed(seen(standing, [Some("1"), Some("2")]));
            assert!(matches!(step, Step::Finish(Outcome::Changed(_))), "{step:?}");
        }
    }

    #[test]
    fn a_planned_run_knows_its_own_work_again() {
        let upsert = Intent { mode: Mode::Upsert, twin: TwinPolicy::Merge };
        // It was cut off after it changed the identity, and before it wrote the twin.
        let life = |effect| Lifecycle::resumed(upsert, effect);
        let planned = seen(Standing::Equal, [Some("1"), Some("1")]).etags;
        let mut resumed = life(Effect::Updated).expecting(planned.clone());
        resumed.begin(false);
        let step = resumed.observed(seen(Standing::TwinDiffers(Vec::new()), [Some("2"), Some("1")]));
        assert!(matches!(step, Step::WriteTwin), "{step:?}");
        // Somebody has written the twin meanwhile, or changed the identity into another.
        for (standing, etags) in [
            (Standing::TwinWrittenSince(Vec::new()), [Some("2"), Some("7")]),
            (Standing::Different(Vec::new()), [Some("7"), Some("1")]),
            (Standing::Missing, [None, None]),
        ] {
            let mut resumed = life(Effect::Updated).expecting(planned.clone());
            resumed.begin(false);
            let step = resumed.observed(seen(standing, etags));
            assert!(matches!(step, Step::Finish(Outcome::Changed(_))), "{step:?}");
        }
        // A creation whose answer was lost, before or after its effect.
        let mut resumed = life(Effect::Created).expecting(Etags::default());
        resumed.begin(false);
        assert!(matches!(resumed.observed(seen(Standing::Missing, [None, None])), Step::Create));
        let mut resumed = life(Effect::Created).expecting(Etags::default());
        resumed.begin(false);
        let step = resumed.observed(seen(Standing::Equal, [Some("1"), Some("1")]));
        assert!(matches!(step, Step::Finish(Outcome::Done { effect: Effect::Created, .. })), "{step:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn whatever_is_lost_the_outcome_tells_the_truth(
            intent in intent(),
            before in hub(),
            look_first: bool,
            mut skies in proptest::collection::vec(weather(), 0..5),
        ) {
            // A change that is refused as outdated was made by nobody else here, and not by this run:
            // then "updated" is said of what somebody else has done. That is another property's matter.
            skies.retain(|sky| !matches!(sky, Weather::Outdated));
            let mut hub = before;
            let outcome = hub.live(Lifecycle::new(intent), look_first, &mut skies, false).unwrap();
            check(intent, before, hub, &outcome)?;
        }

        #[test]
        fn what_changes_under_our_hands_is_looked_at_again(
            intent in intent(),
            before in hub(),
            mut skies in proptest::collection::vec(weather(), 0..5),
        ) {
            let mut hub = before;
            let outcome = hub.live(Lifecycle::new(intent), true, &mut skies, false).unwrap();
            prop_assert!(hub.creations <= u32::from(before.identity.is_none()));
            prop_assert!(!matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
        }

        #[test]
        fn a_device_that_is_to_be_disabled_waits_for_its_modules_across_a_crash(
            look_first: bool,
            mut before_crash in proptest::collection::vec(weather(), 1..4),
            mut skies in proptest::collection::vec(weather(), 0..3),
        ) {
            let intent = Intent::default();
            let mut hub = ModelHub::with(None, Twin::Blank);
            let first = Lifecycle::new(intent).waiting_for_modules();
            hub.live(first, look_first, &mut before_crash, true);
            let second = Lifecycle::resumed(intent, Effect::Created).waiting_for_modules();
            let staged = hub.live(second, false, &mut skies, false).unwrap();
            prop_assert!(matches!(staged, Outcome::Staged { .. }), "{staged:?}");
            prop_assert_eq!(hub.identity, Some(Identity::Staged), "its modules are not there yet");
            let last = Lifecycle::resumed(intent, Effect::Created);
            let outcome = hub.live(last, false, &mut skies, false).unwrap();
            let created = matches!(outcome, Outcome::Done { effect: Effect::Created, .. });
            prop_assert!(created, "{outcome:?}");
            prop_assert_eq!((hub.identity, hub.twin, hub.creations), (Some(Identity::Wanted), Twin::Wanted, 1));
        }
    }

    #[test]
    fn a_hub_that_contradicts_itself_for_ever_ends_in_a_failure() {
        let mut life = Lifecycle::new(Intent::default());
        for _ in 0..MAX_SETBACKS {
            assert!(matches!(life.on(Event::AlreadyExists), Step::Observe));
            assert!(matches!(life.on(Event::Observed(Standing::Missing)), Step::Create));
        }
        assert!(matches!(life.on(Event::AlreadyExists), Step::Finish(Outcome::Failed(_))));
    }

    #[test]
    fn somebody_who_always_changes_it_back_is_not_fought_for_ever() {
        let mut life = Lifecycle::new(Intent { mode: Mode::Upsert, ..Intent::default() });
        let steps = (0..=MAX_SETBACKS).map(|_| {
            let step = life.on(Event::Observed(Standing::Different(Vec::new())));
            life.on(Event::IdentityUpdated);
            matches!(step, Step::UpdateIdentity)
        });
        assert_eq!(steps.filter(|goes_on| *goes_on).count(), MAX_SETBACKS as usize);
    }

    #[test]
    fn what_was_there_and_differs_is_a_conflict_and_never_written() {
        let mut life = Lifecycle::new(Intent::default());
        assert!(matches!(life.on(Event::AlreadyExists), Step::Observe));
        let step = life.on(Event::Observed(Standing::Different(Vec::new())));
        assert!(matches!(step, Step::Finish(Outcome::Conflict(_))));
    }

    #[test]
    fn a_blank_twin_of_somebody_elses_identity_is_an_update() {
        let mut life = Lifecycle::new(Intent::default());
        assert!(matches!(life.on(Event::Observed(Standing::TwinUnwritten)), Step::WriteTwin));
        let done = life.on(Event::TwinWritten);
        assert!(matches!(done, Step::Finish(Outcome::Done { effect: Effect::Updated, .. })));
    }
}
