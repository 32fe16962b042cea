//! The maintenance of one identity, as a pure state machine. As in the
//! [lifecycle](crate::apply::lifecycle), a lost response is followed by a read, and updates are
//! conditional on the etag of the last read.

use super::{ChangeDecision, Refusal};
use crate::driver::{NextStep, Retries};
use crate::hub::HubError;
use crate::ledger::{Record, RowState};
use crate::model::effect::Effect;
use crate::model::failure::ReasonCode;
use crate::model::spec::IdentitySpec;

/// The state of one identity during its maintenance.
#[derive(Debug)]
pub(crate) struct ChangeMachine {
    /// The effect of a change, if one is made.
    effect: Effect,
    /// True if a request was sent and its response was lost.
    is_lost: bool,
    /// The number of lost or outdated responses.
    retries: Retries,
}

/// A request that changes an identity.
#[derive(Debug)]
pub(crate) enum ChangeRequest {
    /// Delete the identity, with the etag of the last read.
    Delete,
    /// Replace the identity with this one, with the etag of the last read.
    Replace(Box<IdentitySpec>),
}

/// The next step of an identity.
pub(crate) type ChangeStep = NextStep<ChangeRequest, ChangeOutcome>;

impl ChangeStep {
    /// The result of an identity for which an operation failed.
    pub(crate) fn failed(record: Record) -> Self {
        Self::Finish(ChangeOutcome::Failed(Box::new(record)))
    }
}

/// The hub's response to a change.
#[derive(Debug)]
pub(crate) enum ChangeResponse {
    /// The change was made.
    Done,
    /// The response was lost: the effect of the request is unknown.
    Lost(HubError),
    /// The etag of the last read is outdated.
    Outdated(HubError),
    /// The change was refused: the request had no effect.
    Refused(HubError),
}

/// The result of an identity.
#[derive(Debug)]
pub(crate) enum ChangeOutcome {
    /// The run made the change; presumably, if the response was lost and a read shows the result.
    Done {
        /// The effect of the run.
        effect: Effect,
        /// True if the effect is presumed.
        presumed: bool,
    },
    /// The change failed; the record states the reason.
    Failed(Box<Record>),
    /// The identity was left unchanged.
    Refused(Refusal),
    /// The identity was left unchanged because of its device.
    Skipped(Refusal),
    /// No change was needed.
    Unchanged,
}

impl ChangeMachine {
    /// An identity that this run has not processed yet.
    pub(crate) fn new(effect: Effect) -> Self {
        Self { effect, is_lost: false, retries: Retries::default() }
    }

    /// An identity with a request that was sent before this run was interrupted.
    pub(crate) fn resumed(effect: Effect) -> Self {
        Self { is_lost: true, ..Self::new(effect) }
    }

    /// True if a request was sent and its response was lost.
    pub(crate) fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// The number of lost or outdated responses.
    pub(crate) fn retries(&self) -> u32 {
        self.retries.count()
    }

    /// Returns the step after a read.
    pub(crate) fn observed(&mut self, decision: ChangeDecision) -> ChangeStep {
        match decision {
            ChangeDecision::NothingToDo if self.is_lost => self.done(true),
            ChangeDecision::NothingToDo => ChangeStep::Finish(ChangeOutcome::Unchanged),
            ChangeDecision::Delete => ChangeStep::Send(ChangeRequest::Delete),
            ChangeDecision::Refuse(refusal) => ChangeStep::Finish(ChangeOutcome::Refused(refusal)),
            ChangeDecision::Replace(identity) => ChangeStep::Send(ChangeRequest::Replace(identity)),
        }
    }

    /// Returns the step after the hub's response to a change.
    pub(crate) fn answered(&mut self, response: ChangeResponse) -> ChangeStep {
        match response {
            ChangeResponse::Done => self.done(false),
            ChangeResponse::Lost(error) => {
                self.is_lost = true;
                self.look_again(error)
            }
            // Perhaps by the effect of our own request, whose answer was lost.
            ChangeResponse::Outdated(error) => self.look_again(error),
            ChangeResponse::Refused(error) => ChangeStep::failed((&error).into()),
        }
    }

    fn done(&self, presumed: bool) -> ChangeStep {
        ChangeStep::Finish(ChangeOutcome::Done { effect: self.effect, presumed })
    }

    fn look_again(&mut self, error: HubError) -> ChangeStep {
        match self.retries.again() {
            true => ChangeStep::Observe,
            false => ChangeStep::failed((&error).into()),
        }
    }
}

impl From<ChangeOutcome> for Record {
    fn from(outcome: ChangeOutcome) -> Self {
        match outcome {
            ChangeOutcome::Done { effect, presumed } => {
                let reason = presumed.then_some(ReasonCode::Presumed);
                Self { effect: Some(effect), presumed, reason, ..Self::new(RowState::Done) }
            }
            ChangeOutcome::Failed(record) => *record,
            ChangeOutcome::Refused(Refusal { code, reason, differences }) => {
                Self { reason: Some(code), error: Some(reason), differences, ..Self::new(RowState::Conflict) }
            }
            ChangeOutcome::Skipped(Refusal { code, reason, .. }) => Self::skipped(code, reason),
            ChangeOutcome::Unchanged => Self::new(RowState::Unchanged),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::MAX_RETRIES;
    use proptest::prelude::*;

    /// A model of a hub that has either made the change or not.
    struct MachineHub {
        is_done: bool,
        times: u32,
    }

    #[derive(Debug, Clone, Copy)]
    enum MachineFault {
        Fine,
        LostAfterEffect,
        LostBeforeEffect,
    }

    impl MachineHub {
        fn decision(&self) -> ChangeDecision {
            if self.is_done { ChangeDecision::NothingToDo } else { ChangeDecision::Delete }
        }

        fn change(&mut self, fault: MachineFault) -> ChangeResponse {
            match (fault, self.is_done) {
                (MachineFault::LostBeforeEffect, _) => ChangeResponse::Lost(HubError::NoAnswer),
                (_, true) => ChangeResponse::Outdated(HubError::NoAnswer),
                (fault, false) => {
                    (self.is_done, self.times) = (true, self.times + 1);
                    match fault {
                        MachineFault::Fine => ChangeResponse::Done,
                        _ => ChangeResponse::Lost(HubError::NoAnswer),
                    }
                }
            }
        }

        /// Lives to the end, or to a crash when all faults are used up.
        fn live(
            &mut self,
            mut machine: ChangeMachine,
            faults: &mut Vec<MachineFault>,
            crash: bool,
        ) -> Option<ChangeOutcome> {
            let mut step = ChangeStep::Observe;
            loop {
                if crash && faults.is_empty() {
                    return None;
                }
                step = match step {
                    ChangeStep::Observe => machine.observed(self.decision()),
                    ChangeStep::Send(_) => {
                        machine.answered(self.change(faults.pop().unwrap_or(MachineFault::Fine)))
                    }
                    ChangeStep::Finish(outcome) => return Some(outcome),
                };
            }
        }
    }

    fn fault() -> impl Strategy<Value = MachineFault> {
        prop_oneof![
            Just(MachineFault::Fine),
            Just(MachineFault::LostAfterEffect),
            Just(MachineFault::LostBeforeEffect)
        ]
    }

    proptest! {
        #[test]
        fn whatever_is_lost_it_is_done_once_and_the_outcome_is_true(
            was_done: bool,
            mut before_crash in proptest::collection::vec(fault(), 1..4),
            mut faults in proptest::collection::vec(fault(), 0..6),
            crashes: bool,
        ) {
            let mut hub = MachineHub { is_done: was_done, times: 0 };
            let first = ChangeMachine::new(Effect::Deleted);
            let outcome = match crashes {
                true => hub.live(first, &mut before_crash, true),
                false => hub.live(first, &mut faults, false),
            };
            let outcome = outcome.or_else(|| hub.live(ChangeMachine::resumed(Effect::Deleted), &mut faults, false));
            prop_assert!(hub.is_done);
            prop_assert!(hub.times <= u32::from(!was_done));
            match outcome {
                Some(ChangeOutcome::Done { presumed, .. }) => prop_assert!(hub.times == 1 || presumed),
                Some(ChangeOutcome::Unchanged) => prop_assert!(was_done),
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }

    #[test]
    fn somebody_who_is_always_faster_is_not_fought_for_ever() {
        let mut machine = ChangeMachine::new(Effect::Updated);
        for _ in 0..MAX_RETRIES {
            assert!(matches!(
                machine.observed(ChangeDecision::Delete),
                ChangeStep::Send(ChangeRequest::Delete)
            ));
            assert!(matches!(
                machine.answered(ChangeResponse::Outdated(HubError::NoAnswer)),
                ChangeStep::Observe
            ));
        }
        let last = machine.answered(ChangeResponse::Outdated(HubError::NoAnswer));
        assert!(matches!(last, ChangeStep::Finish(ChangeOutcome::Failed(_))), "{last:?}");
    }
}
