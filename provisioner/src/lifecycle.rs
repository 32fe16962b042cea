//! The life of one identity in a run: a pure state machine, without I/O.
//!
//! [`Lifecycle::on`] takes what has happened and answers what is to be done next, until
//! [`Step::Finish`]. Two rules make it safe to cut a run off at any moment:
//!
//! - An answer that was lost is never followed by the same request, but by a look at the hub.
//! - "Exists already" is never taken for success or failure, but compared.

use crate::hub::HubError;
use crate::standing::{Difference, Standing};

/// What is to be done next.
#[derive(Debug)]
pub enum Step {
    /// Create the identity, with its initial twin where the call can carry it.
    Create,
    /// Nothing more: this is how it ended.
    Finish(Outcome),
    /// Read the twin and compare.
    Observe,
    /// Write the initial twin of an identity that has none yet.
    WriteTwin,
}

/// What has happened.
#[derive(Debug)]
pub enum Event {
    /// Creating was refused because it exists.
    AlreadyExists,
    /// The hub created it and took the initial twin with it, or there was none.
    Created,
    /// The hub created it; its initial twin is still to be written.
    CreatedWithoutTwin,
    /// The answer was lost: whether the request had its effect is not known.
    Lost(HubError),
    /// The twin was read and compared.
    Observed(Standing),
    /// The hub refused: the request had no effect.
    Refused(HubError),
    /// The hub wrote the initial twin.
    TwinWritten,
}

/// How it ended.
#[derive(Debug)]
pub enum Outcome {
    /// It was there and is another than the batch wants; nothing was changed.
    Conflict(Vec<Difference>),
    /// This run created it.
    Created,
    /// It could not be done.
    Failed(HubError),
    /// It was there as the batch wants it. Twin values that somebody has written since are listed.
    Unchanged(Vec<Difference>),
    /// It was there, and this run wrote its initial twin.
    Updated,
}

/// Where one identity is in its life.
#[derive(Debug, Default)]
pub struct Lifecycle {
    /// Whether the identity, when it is found, may be this run's own work.
    may_be_ours: bool,
    /// How many answers were lost or contradicted one another.
    setbacks: u32,
}

impl Lifecycle {
    /// The next step after `event`.
    pub fn on(&mut self, event: Event) -> Step {
        match event {
            Event::AlreadyExists => self.look_again(None),
            Event::Created => Step::Finish(Outcome::Created),
            Event::CreatedWithoutTwin => {
                self.may_be_ours = true;
                Step::WriteTwin
            }
            Event::Lost(error) => {
                self.may_be_ours = true;
                self.look_again(Some(error))
            }
            Event::Observed(standing) => self.on_standing(standing),
            Event::Refused(error) => Step::Finish(Outcome::Failed(error)),
            Event::TwinWritten if self.may_be_ours => Step::Finish(Outcome::Created),
            Event::TwinWritten => Step::Finish(Outcome::Updated),
        }
    }

    fn on_standing(&self, standing: Standing) -> Step {
        match standing {
            Standing::Different(differences) => Step::Finish(Outcome::Conflict(differences)),
            Standing::Equal => Step::Finish(self.found(Vec::new())),
            Standing::Missing => Step::Create,
            Standing::TwinUnwritten => Step::WriteTwin,
            Standing::TwinWrittenSince(differences) => Step::Finish(self.found(differences)),
        }
    }

    fn found(&self, kept: Vec<Difference>) -> Outcome {
        match self.may_be_ours {
            true => Outcome::Created,
            false => Outcome::Unchanged(kept),
        }
    }

    fn look_again(&mut self, error: Option<HubError>) -> Step {
        self.setbacks += 1;
        if self.setbacks <= MAX_SETBACKS {
            return Step::Observe;
        }
        Step::Finish(Outcome::Failed(error.unwrap_or(HubError::Contradiction)))
    }
}

const MAX_SETBACKS: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A hub that holds at most one identity, and may lose any answer after or before the effect.
    #[derive(Default)]
    struct ModelHub {
        exists: bool,
        twin: bool,
        creations: u32,
    }

    #[derive(Debug, Clone, Copy)]
    enum Weather {
        Fine,
        LostAfterEffect,
        LostBeforeEffect,
        WithoutTwin,
    }

    impl ModelHub {
        fn create(&mut self, weather: Weather) -> Event {
            if matches!(weather, Weather::LostBeforeEffect) {
                return Event::Lost(HubError::Contradiction);
            }
            if self.exists {
                return Event::AlreadyExists;
            }
            self.exists = true;
            self.creations += 1;
            self.twin = !matches!(weather, Weather::WithoutTwin);
            match weather {
                Weather::LostAfterEffect => Event::Lost(HubError::Contradiction),
                Weather::WithoutTwin => Event::CreatedWithoutTwin,
                _ => Event::Created,
            }
        }

        fn write_twin(&mut self, weather: Weather) -> Event {
            if matches!(weather, Weather::LostBeforeEffect) {
                return Event::Lost(HubError::Contradiction);
            }
            self.twin = true;
            match weather {
                Weather::LostAfterEffect => Event::Lost(HubError::Contradiction),
                _ => Event::TwinWritten,
            }
        }

        fn observe(&self) -> Event {
            Event::Observed(match (self.exists, self.twin) {
                (false, _) => Standing::Missing,
                (true, false) => Standing::TwinUnwritten,
                (true, true) => Standing::Equal,
            })
        }
    }

    fn weather() -> impl Strategy<Value = Weather> {
        prop_oneof![
            Just(Weather::Fine),
            Just(Weather::LostAfterEffect),
            Just(Weather::LostBeforeEffect),
            Just(Weather::WithoutTwin),
        ]
    }

    proptest! {
        #[test]
        fn whatever_is_lost_the_outcome_tells_the_truth(
            there_before: bool,
            first_look: bool,
            mut skies in proptest::collection::vec(weather(), 0..7),
        ) {
            let mut hub = ModelHub { exists: there_before, twin: there_before, creations: 0 };
            let mut life = Lifecycle::default();
            let mut step = if first_look { Step::Observe } else { Step::Create };
            let outcome = loop {
                let sky = skies.pop().unwrap_or(Weather::Fine);
                let event = match step {
                    Step::Finish(outcome) => break outcome,
                    Step::Create => hub.create(sky),
                    Step::WriteTwin => hub.write_twin(sky),
                    Step::Observe => hub.observe(),
                };
                step = life.on(event);
            };
            prop_assert!(hub.exists && hub.twin);
            prop_assert_eq!(hub.creations, u32::from(!there_before));
            match outcome {
                Outcome::Created => {}
                Outcome::Unchanged(_) => prop_assert!(there_before),
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }

    #[test]
    fn a_hub_that_contradicts_itself_for_ever_ends_in_a_failure() {
        let mut life = Lifecycle::default();
        for _ in 0..MAX_SETBACKS {
            assert!(matches!(life.on(Event::AlreadyExists), Step::Observe));
            assert!(matches!(life.on(Event::Observed(Standing::Missing)), Step::Create));
        }
        assert!(matches!(life.on(Event::AlreadyExists), Step::Finish(Outcome::Failed(_))));
    }

    #[test]
    fn what_was_there_and_differs_is_a_conflict_and_never_written() {
        let mut life = Lifecycle::default();
        assert!(matches!(life.on(Event::AlreadyExists), Step::Observe));
        let step = life.on(Event::Observed(Standing::Different(Vec::new())));
        assert!(matches!(step, Step::Finish(Outcome::Conflict(_))));
    }

    #[test]
    fn a_blank_twin_of_somebody_elses_identity_is_an_update() {
        let mut life = Lifecycle::default();
        assert!(matches!(life.on(Event::Observed(Standing::TwinUnwritten)), Step::WriteTwin));
        assert!(matches!(life.on(Event::TwinWritten), Step::Finish(Outcome::Updated)));
    }
}
