//! The records that earlier runs have of a device: which run keeps it disabled, and which changed it last.

use serde::Serialize;

use super::{LedgerRow, RowState, RunOptions};
use crate::model::hold::Hold;
use crate::model::maintenance::Maintenance;
use crate::model::run_id::RunId;
use crate::model::service::ServiceKind;

/// Devices of a run that it left disabled, by the run that disabled them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct HeldDevices {
    /// The run that disabled them.
    pub(crate) run: RunId,
    /// Their number.
    pub(crate) devices: u64,
    /// True if that run retired them, false if they were left in quarantine.
    pub(crate) retired: bool,
}

impl HeldDevices {
    /// Devices that a run with these options disabled.
    pub(super) fn new(run: RunId, devices: u64, options: &RunOptions) -> Self {
        let retired = options.maintenance.as_ref().is_some_and(Maintenance::retires);
        Self { run, devices, retired }
    }
}

/// One run's record of a device.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PastRow {
    pub(super) run: RunId,
    pub(super) service: ServiceKind,
    pub(super) maintenance: Option<Maintenance>,
    pub(super) row: LedgerRow,
}

impl PastRow {
    /// Returns true if the row has no information on the device's status.
    fn is_silent(&self) -> bool {
        match (self.row.record.state, &self.maintenance) {
            (_, Some(maintenance)) if maintenance.leaves_status() => true,
            // Where a DPS has groups, the disabled enrolment stays, to keep the device out.
            (_, Some(Maintenance::Delete)) if self.service == ServiceKind::Dps => true,
            // It was disabled before, by whoever it was.
            (RowState::Unchanged, Some(Maintenance::Disable { .. })) => true,
            // A request left that may not have had its effect: the hub decides.
            (RowState::Sent, _) => true,
            (RowState::Done | RowState::Unchanged, _) => false,
            _ => true,
        }
    }

    fn hold(&self) -> Option<Hold> {
        let state = &self.row.spec.state;
        let (reason, released_reason) = match &self.maintenance {
            Some(Maintenance::Disable { reason }) => (reason, &self.row.status_reason_before),
            _ => (state.hold.as_ref()?, &state.status_reason),
        };
        Some(Hold {
            run: self.run,
            reason: reason.clone(),
            released_reason: released_reason.clone(),
            is_retired: self.maintenance.as_ref().is_some_and(Maintenance::retires),
            is_unfinished: self.is_unfinished(),
        })
    }

    /// Returns true if the run changed the identity, as far as it knows.
    fn has_changed(&self) -> bool {
        match self.row.record.state {
            RowState::Done => true,
            // A part of the change was made before the row failed.
            RowState::Conflict | RowState::Failed | RowState::Skipped | RowState::Waiting => {
                self.row.record.effect.is_some()
            }
            RowState::Claimed | RowState::Pending | RowState::Sent | RowState::Unchanged => false,
        }
    }

    fn is_unfinished(&self) -> bool {
        matches!(self.row.record.state, RowState::Claimed | RowState::Pending | RowState::Sent)
    }

    /// Returns true if the run is to disable the device, and has not come to the end of its row.
    fn is_to_disable(&self) -> bool {
        let disables = match &self.maintenance {
            None => self.row.spec.state.hold.is_some(),
            Some(maintenance) => maintenance.retires(),
        };
        disables && self.is_unfinished()
    }
}

/// The run that keeps a device disabled, derived from all records of runs, the newest first.
pub(super) fn hold_of(past: &[PastRow]) -> Option<Hold> {
    let telling = past.iter().find(|past| past.row.record.held_by.is_some() || !past.is_silent())?;
    let held_by = telling.row.record.held_by?;
    past.iter().find(|past| past.run == held_by)?.hold()
}

/// The last run after `run` that changed an identity, derived from all records of runs, the newest
/// first.
pub(super) fn last_change(past: &[PastRow], run: RunId) -> Option<RunId> {
    let mut since = past.iter().take_while(|past| past.run.0 > run.0);
    since.find(|past| past.has_changed()).map(|past| past.run)
}

/// The run that was interrupted and is to disable a device when it is resumed, derived from all records of
/// runs, the newest first.
pub(super) fn unfinished_hold_of(past: &[PastRow]) -> Option<Hold> {
    past.iter()
        .find(|past| past.is_to_disable() || !past.is_silent())
        .filter(|past| past.is_to_disable())?
        .hold()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Record;
    use crate::model::spec::{IdentitySpec, QUARANTINE, StateSpec};
    use hub_types::IdentityId;
    use hub_types::identity::StatusReason;

    fn reason(text: &str) -> StatusReason {
        StatusReason::new(text).unwrap()
    }

    /// A row of run `run`, which says that the device is kept disabled by run `held_by`.
    fn past(run: i64, maintenance: Option<Maintenance>, state: RowState, held_by: Option<i64>) -> PastRow {
        let identity = IdentityId::from_common_name("d").unwrap();
        let desired = StateSpec { status_reason: Some(reason("line 3")), ..StateSpec::default() };
        let record = Record { held_by: held_by.map(RunId), ..Record::new(state) };
        let row = LedgerRow { record, ..LedgerRow::new(2, IdentitySpec { identity, state: desired }) };
        PastRow { run: RunId(run), service: ServiceKind::Hub, maintenance, row }
    }

    fn quarantined(run: i64, state: RowState) -> PastRow {
        let mut past = past(run, None, state, Some(run));
        past.row.spec.state.quarantine();
        past
    }

    fn retired(run: i64, state: RowState) -> PastRow {
        let held_by = (state != RowState::Unchanged).then_some(run);
        let mut past = past(run, Some(Maintenance::Disable { reason: reason("scrapped") }), state, held_by);
        past.row.status_reason_before = Some(reason("as it was"));
        past
    }

    /// The run that holds the device, with the oldest row first.
    fn held_by(oldest_first: &[PastRow]) -> Option<i64> {
        let newest_first: Vec<PastRow> = oldest_first.iter().rev().cloned().collect();
        hold_of(&newest_first).map(|hold| hold.run.0)
    }

    #[test]
    fn who_disabled_it_holds_it_until_it_is_released() {
        use RowState::{Conflict, Done, Failed, Sent, Unchanged};
        let release = || Some(Maintenance::Release { run: None });
        assert_eq!(held_by(&[]), None);
        assert_eq!(held_by(&[quarantined(1, Done)]), Some(1));
        assert_eq!(held_by(&[quarantined(1, Sent)]), Some(1), "the hub decides whether it had its effect");
        assert_eq!(held_by(&[quarantined(1, Done), past(2, release(), Done, None)]), None);
        assert_eq!(held_by(&[quarantined(1, Done), past(2, release(), Sent, None)]), Some(1));
        assert_eq!(held_by(&[quarantined(1, Done), past(2, release(), Conflict, None)]), Some(1));
        let again = past(2, None, Unchanged, Some(1));
        assert_eq!(held_by(&[quarantined(1, Done), again.clone()]), Some(1));
        assert_eq!(held_by(&[quarantined(1, Done), again, past(3, release(), Done, None)]), None);
        assert_eq!(held_by(&[quarantined(1, Done), retired(2, Unchanged)]), Some(1));
        assert_eq!(
            held_by(&[quarantined(1, Done), past(2, release(), Done, None), retired(3, Done)]),
            Some(3)
        );
        assert_eq!(held_by(&[retired(1, Done), past(2, None, Failed, None)]), Some(1));
        // An apply that found it enabled, or made it so.
        assert_eq!(held_by(&[quarantined(1, Done), past(2, None, Unchanged, None)]), None);
        let rotated = past(2, Some(Maintenance::AddThumbprint), Done, None);
        assert_eq!(held_by(&[quarantined(1, Done), rotated]), Some(1));
    }

    #[test]
    fn a_device_that_was_deleted_is_held_where_its_enrolment_stays() {
        let deleted = past(2, Some(Maintenance::Delete), RowState::Done, None);
        assert_eq!(held_by(&[retired(1, RowState::Done), deleted.clone()]), None);
        let on_dps = PastRow { service: ServiceKind::Dps, ..deleted };
        assert_eq!(held_by(&[retired(1, RowState::Done), on_dps]), Some(1));
    }

    #[test]
    fn who_is_still_to_disable_it_is_known_until_a_later_run_is_done_with_it() {
        use RowState::{Claimed, Conflict, Done, Pending, Sent};
        let to_disable = |oldest_first: &[PastRow]| {
            let newest_first: Vec<PastRow> = oldest_first.iter().rev().cloned().collect();
            unfinished_hold_of(&newest_first).map(|hold| (hold.run.0, hold.is_unfinished))
        };
        let release = |state| past(2, Some(Maintenance::Release { run: None }), state, None);
        for state in [Claimed, Pending, Sent] {
            assert_eq!(to_disable(&[quarantined(1, state)]), Some((1, true)), "{state}");
            assert_eq!(to_disable(&[retired(1, state)]), Some((1, true)), "{state}");
            assert_eq!(to_disable(&[retired(1, state), release(Conflict)]), Some((1, true)), "{state}");
            assert_eq!(to_disable(&[past(1, None, state, None)]), None, "{state}: it is to be enabled");
            assert_eq!(to_disable(&[quarantined(1, state), past(2, None, Done, None)]), None, "{state}");
        }
        assert_eq!(to_disable(&[retired(1, Done)]), None);
        assert_eq!(to_disable(&[quarantined(1, Done), retired(2, Pending)]), Some((2, true)));
    }

    #[test]
    fn an_undone_release_is_as_if_it_had_not_been() {
        let undo = past(3, Some(Maintenance::UndoRelease { run: RunId(2) }), RowState::Done, Some(1));
        let release = past(2, Some(Maintenance::Release { run: None }), RowState::Done, None);
        assert_eq!(held_by(&[quarantined(1, RowState::Done), release, undo]), Some(1));
    }

    #[test]
    fn a_released_device_has_the_status_reason_of_its_batch_or_the_one_before() {
        let quarantine = hold_of(&[quarantined(1, RowState::Done)]).unwrap();
        assert!(!quarantine.is_retired);
        assert_eq!(
            (quarantine.reason.as_str(), quarantine.released_reason),
            (QUARANTINE, Some(reason("line 3")))
        );
        let retired = hold_of(&[retired(1, RowState::Done)]).unwrap();
        assert!(retired.is_retired);
        assert_eq!(
            (retired.reason.as_str(), retired.released_reason),
            ("scrapped", Some(reason("as it was")))
        );
    }

    #[test]
    fn the_last_run_that_changed_an_identity_is_named() {
        use RowState::{Conflict, Done, Sent};
        let release = || Some(Maintenance::Release { run: None });
        let newest_first =
            [past(3, release(), Conflict, None), past(2, release(), Done, None), quarantined(1, Done)];
        assert_eq!(last_change(&newest_first, RunId(1)), Some(RunId(2)));
        assert_eq!(last_change(&newest_first, RunId(2)), None);
        assert_eq!(last_change(&[past(2, release(), Sent, None), quarantined(1, Done)], RunId(1)), None);
    }
}
