//! Disabling devices, and enabling those that a run has disabled on purpose.

use hub_types::identity::{Status, StatusReason};
use hub_types::twin::Twin;
use serde_json::json;

use super::{ChangeDecision, Refusal, if_same_certificate};
use crate::ledger::unfinished_run;
use crate::model::compare::{Difference, DifferencePath};
use crate::model::failure::ReasonCode;
use crate::model::hold::Hold;
use crate::model::run_id::RunId;
use crate::model::spec::{IdentitySpec, QUARANTINE};

pub(super) fn disable(
    spec: &IdentitySpec,
    twin: &Twin,
    reason: &StatusReason,
    hold: Option<&Hold>,
) -> ChangeDecision {
    // A run that is not finished may be this one, whose request was lost.
    let is_retired =
        || hold.is_some_and(|hold| hold.is_retired && (hold.is_unfinished || hold.is_as_left(twin)));
    match (spec.identity.module(), twin.status) {
        (None, Status::Disabled) if twin.status_reason.as_ref() == Some(reason) => {
            ChangeDecision::NothingToDo
        }
        // A release of the quarantine would enable it. The reason of an earlier retirement is corrected,
        // and that of others is left.
        (None, Status::Disabled) if is_in_quarantine(twin) || is_retired() => {
            if_same_certificate(spec, twin, || with_status(twin, Status::Disabled, Some(reason)))
        }
        (_, Status::Disabled) => ChangeDecision::NothingToDo,
        (Some(_), Status::Enabled) => Refusal::because(
            ReasonCode::DeviceNotNamed,
            "a module is disabled with its device only, which is enabled: name the device, too",
        ),
        (None, Status::Enabled) => {
            if_same_certificate(spec, twin, || with_status(twin, Status::Disabled, Some(reason)))
        }
    }
}

fn is_in_quarantine(twin: &Twin) -> bool {
    twin.status_reason.as_ref().is_some_and(|reason| reason.as_str() == QUARANTINE)
}

/// Enables a device that is as a run left it: run `only`, where one is named.
pub(super) fn release(
    spec: &IdentitySpec,
    twin: &Twin,
    only: Option<RunId>,
    hold: Option<&Hold>,
) -> ChangeDecision {
    match (spec.identity.module(), twin.status, hold) {
        (None, _, Some(hold)) if hold.is_unfinished => {
            Refusal::because(ReasonCode::RunUnfinished, unfinished_run(hold.run, "then release it"))
        }
        (_, Status::Enabled, _) => ChangeDecision::NothingToDo,
        (Some(_), Status::Disabled, _) => Refusal::because(
            ReasonCode::DeviceNotNamed,
            "a module is enabled with its device only, which is disabled: name the device, too",
        ),
        (None, Status::Disabled, None) => Refusal::because(
            ReasonCode::NotDisabledByRun,
            "no run of this ledger has put it into quarantine or retired it: its batch may ask for `disabled`, or \
             somebody else disabled it. Find out who and why; `provisioner device update` can enable it",
        ),
        (None, Status::Disabled, Some(hold)) => match only.filter(|run| *run != hold.run) {
            Some(run) => Refusal::because(
                ReasonCode::DisabledByOtherRun,
                match hold.is_retired {
                    true => format!("run {} retired it since: it stays disabled", hold.run),
                    false => format!(
                        "it is run {0} that keeps it disabled, not run {run}: `provisioner release --run {0}` enables it",
                        hold.run
                    ),
                },
            ),
            None if !hold.is_as_left(twin) => other_reason(twin, hold),
            None => if_same_certificate(spec, twin, || {
                with_status(twin, Status::Enabled, hold.released_reason.as_ref())
            }),
        },
    }
}

/// Disables a device again that the release `run` has enabled.
pub(super) fn undo_release(
    spec: &IdentitySpec,
    twin: &Twin,
    run: RunId,
    hold: Option<&Hold>,
) -> ChangeDecision {
    match (hold, twin.status) {
        (None, _) => Refusal::because(
            ReasonCode::NotDisabledByRun,
            format!("the ledger does not know how it was before run {run}"),
        ),
        (Some(hold), Status::Enabled) => {
            if_same_certificate(spec, twin, || with_status(twin, Status::Disabled, Some(&hold.reason)))
        }
        (Some(hold), Status::Disabled) if hold.is_as_left(twin) => ChangeDecision::NothingToDo,
        (Some(hold), Status::Disabled) => other_reason(twin, hold),
    }
}

/// The device with this status, otherwise unchanged.
fn with_status(twin: &Twin, status: Status, reason: Option<&StatusReason>) -> ChangeDecision {
    ChangeDecision::changed(twin, |state| (state.status, state.status_reason) = (status, reason.cloned()))
}

pub(super) fn other_reason(twin: &Twin, hold: &Hold) -> ChangeDecision {
    ChangeDecision::Refuse(Refusal {
        code: ReasonCode::StatusReasonChanged,
        reason: format!(
            "its status reason was changed since run {} disabled it: find out who did and why; `provisioner device \
             update` can enable it",
            hold.run
        ),
        differences: vec![Difference {
            path: DifferencePath::StatusReason,
            expected: json!(hold.reason),
            found: json!(twin.status_reason),
        }],
    })
}
