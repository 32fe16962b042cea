//! The course of an alteration for one identity: a pure state machine. As in the
//! [lifecycle](crate::lifecycle), a lost answer is followed by a look, and what is there is only changed
//! in the version that was looked at.

use super::{Refusal, Verdict};
use crate::desired::DesiredIdentity;
use crate::hub::HubError;
use crate::ledger::{Record, RowState};
use crate::lifecycle::Effect;
use crate::reason::ReasonCode;

/// Where one identity is in the course of its alteration.
#[derive(Debug)]
pub struct Course {
    /// What is done to it when something is done.
    effect: Effect,
    /// Whether a request left whose answer never came.
    is_lost: bool,
    /// How many answers were lost or came too late.
    setbacks: u32,
}

/// What is to be done next.
#[derive(Debug)]
pub enum Next {
    /// Delete it, in the version that was observed.
    Delete,
    /// Nothing more: this is how it ended.
    Finish(Ending),
    /// Read its subject's twin.
    Observe,
    /// Make it into this, in the version that was observed.
    Replace(Box<DesiredIdentity>),
}

impl Next {
    /// The end of an identity for which something could not be done.
    pub(crate) fn failed(why: impl Into<Record>) -> Self {
        Self::Finish(Ending::Failed(Box::new(why.into())))
    }
}

/// What the hub answered to a change.
#[derive(Debug)]
pub enum Answer {
    /// It did it.
    Done,
    /// The answer never came: whether the request had its effect is not known.
    Lost(HubError),
    /// The version that was observed is not the newest any more.
    Outdated(HubError),
    /// It refused: the request had no effect.
    Refused(HubError),
}

/// How it ended.
#[derive(Debug)]
pub enum Ending {
    /// The run did it: presumably, where the answer was lost and a look shows that it is done.
    Done {
        /// What it did.
        effect: Effect,
        /// Whether that is presumed.
        presumed: bool,
    },
    /// It could not be done; the record says why.
    Failed(Box<Record>),
    /// It was left alone.
    Refused(Refusal),
    /// It was left alone because of its device.
    Skipped(Refusal),
    /// There was nothing to do.
    Unchanged,
}

impl Course {
    /// An identity that this run has not touched yet.
    pub fn new(effect: Effect) -> Self {
        Self { effect, is_lost: false, setbacks: 0 }
    }

    /// An identity for which a request left before this run was cut off.
    pub fn resumed(effect: Effect) -> Self {
        Self { is_lost: true, ..Self::new(effect) }
    }

    /// How many answers were lost or came too late.
    pub fn setbacks(&self) -> u32 {
        self.setbacks
    }

    /// What follows from a look.
    pub fn observed(&mut self, verdict: Verdict) -> Next {
        match verdict {
            Verdict::Already if self.is_lost => self.done(true),
            Verdict::Already => Next::Finish(Ending::Unchanged),
            Verdict::Delete => Next::Delete,
            Verdict::Refuse(refusal) => Next::Finish(Ending::Refused(refusal)),
            Verdict::Replace(identity) => Next::Replace(identity),
        }
    }

    /// What follows from the hub's answer to a change.
    pub fn answered(&mut self, answer: Answer) -> Next {
        match answer {
            Answer::Done => self.done(false),
            Answer::Lost(error) => {
                self.is_lost = true;
                self.look_again(error)
            }
            // Perhaps by the effect of our own request, whose answer was lost.
            Answer::Outdated(error) => self.look_again(error),
            Answer::Refused(error) => Next::failed(error),
        }
    }

    fn done(&self, presumed: bool) -> Next {
        Next::Finish(Ending::Done { effect: self.effect, presumed })
    }

    fn look_again(&mut self, error: HubError) -> Next {
        self.setbacks += 1;
        match self.setbacks <= MAX_SETBACKS {
            true => Next::Observe,
            false => Next::failed(error),
        }
    }
}

impl From<Ending> for Record {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Done { effect, presumed } => {
                let reason = presumed.then_some(ReasonCode::Presumed);
                Self { effect: Some(effect), presumed, reason, ..Self::new(RowState::Done) }
            }
            Ending::Failed(record) => *record,
            Ending::Refused(Refusal { code, reason, differences }) => {
                Self { reason: Some(code), error: Some(reason), differences, ..Self::new(RowState::Conflict) }
            }
            Ending::Skipped(Refusal { code, reason, .. }) => Self::skipped(code, reason),
            Ending::Unchanged => Self::new(RowState::Unchanged),
        }
    }
}

/// Enough for any weather; nobody is fought for ever.
const MAX_SETBACKS: u32 = 12;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A hub that either has done it or not.
    struct ModelHub {
        is_done: bool,
        times: u32,
    }

    #[derive(Debug, Clone, Copy)]
    enum Weather {
        Fine,
        LostAfterEffect,
        LostBeforeEffect,
    }

    impl ModelHub {
        fn verdict(&self) -> Verdict {
            if self.is_done { Verdict::Already } else { Verdict::Delete }
        }

        fn change(&mut self, weather: Weather) -> Answer {
            match (weather, self.is_done) {
                (Weather::LostBeforeEffect, _) => Answer::Lost(HubError::NoAnswer),
                (_, true) => Answer::Outdated(HubError::NoAnswer),
                (weather, false) => {
                    (self.is_done, self.times) = (true, self.times + 1);
                    match weather {
                        Weather::Fine => Answer::Done,
                        _ => Answer::Lost(HubError::NoAnswer),
                    }
                }
            }
        }

        /// Lives to the end, or to a crash when all weather is used up.
        fn live(&mut self, mut course: Course, skies: &mut Vec<Weather>, crash: bool) -> Option<Ending> {
            let mut next = Next::Observe;
            loop {
                if crash && skies.is_empty() {
                    return None;
                }
                next = match next {
                    Next::Observe => course.observed(self.verdict()),
                    Next::Delete | Next::Replace(_) => {
                        course.answered(self.change(skies.pop().unwrap_or(Weather::Fine)))
                    }
                    Next::Finish(ending) => return Some(ending),
                };
            }
        }
    }

    fn weather() -> impl Strategy<Value = Weather> {
        prop_oneof![Just(Weather::Fine), Just(Weather::LostAfterEffect), Just(Weather::LostBeforeEffect)]
    }

    proptest! {
        #[test]
        fn whatever_is_lost_it_is_done_once_and_the_ending_tells_the_truth(
            was_done: bool,
            mut before_crash in proptest::collection::vec(weather(), 1..4),
            mut skies in proptest::collection::vec(weather(), 0..6),
            crashes: bool,
        ) {
            let mut hub = ModelHub { is_done: was_done, times: 0 };
            let first = Course::new(Effect::Deleted);
            let ending = match crashes {
                true => hub.live(first, &mut before_crash, true),
                false => hub.live(first, &mut skies, false),
            };
            let ending = ending.or_else(|| hub.live(Course::resumed(Effect::Deleted), &mut skies, false));
            prop_assert!(hub.is_done);
            prop_assert!(hub.times <= u32::from(!was_done));
            match ending {
                Some(Ending::Done { presumed, .. }) => prop_assert!(hub.times == 1 || presumed),
                Some(Ending::Unchanged) => prop_assert!(was_done),
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }

    #[test]
    fn somebody_who_is_always_faster_is_not_fought_for_ever() {
        let mut course = Course::new(Effect::Updated);
        for _ in 0..MAX_SETBACKS {
            assert!(matches!(course.observed(Verdict::Delete), Next::Delete));
            assert!(matches!(course.answered(Answer::Outdated(HubError::NoAnswer)), Next::Observe));
        }
        let last = course.answered(Answer::Outdated(HubError::NoAnswer));
        assert!(matches!(last, Next::Finish(Ending::Failed(_))), "{last:?}");
    }
}
