//! The decisions of `release`, `rotate`, `retire` and `undo` about one identity, without I/O.
//!
//! [`Maintenance::decide`] decides the change from the twin on the hub. [`ChangeMachine`] decides the
//! next step after each response of the hub.

use hub_types::Etag;
use hub_types::identity::Status;
use hub_types::twin::Twin;

use crate::ledger::LedgerRow;
use crate::model::compare::{Comparison, Difference, use_shown_by};
use crate::model::etags::Etags;
use crate::model::failure::ReasonCode;
use crate::model::hold::Hold;
use crate::model::maintenance::Maintenance;
use crate::model::run_id::RunId;
use crate::model::spec::{AuthSpec, IdentitySpec, StateSpec};
pub(crate) use enrolled::EnrolledDevice;
pub(crate) use machine::{ChangeMachine, ChangeOutcome, ChangeRequest, ChangeResponse, ChangeStep};

mod enrolled;
mod machine;
mod rotation;
mod status;

/// The decision for an identity in its present state on the hub.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ChangeDecision {
    /// The identity is already in the requested state.
    NothingToDo,
    /// Delete the identity, with the etag of the read.
    Delete,
    /// Leave the identity unchanged.
    Refuse(Refusal),
    /// Replace the identity with this one, with the etag of the read.
    Replace(Box<IdentitySpec>),
}

impl ChangeDecision {
    /// Decides to replace the identity on the hub by a copy with a change.
    fn changed(twin: &Twin, change: impl FnOnce(&mut StateSpec)) -> Self {
        match IdentitySpec::of_twin(twin) {
            Ok(mut changed) => {
                change(&mut changed.state);
                Self::Replace(Box::new(changed))
            }
            Err(error) => Refusal::because(ReasonCode::IdentityNotUnderstood, error.to_string()),
        }
    }

    /// The decision for an identity that is not on the hub, and would have to be.
    pub(super) fn missing() -> Self {
        Refusal::because(ReasonCode::IdentityMissing, "it is not on the hub")
    }

    /// The decision for an identity that a later run, `by`, changed after `run` had created it or was to delete
    /// it.
    pub(super) fn changed_by_run(self, maintenance: &Maintenance, run: RunId, by: RunId) -> Self {
        let differences = match self {
            Self::Refuse(refusal) => refusal.differences,
            Self::Delete | Self::NothingToDo | Self::Replace(_) => Vec::new(),
        };
        let (code, reason) = match maintenance {
            Maintenance::Undo { .. } => (
                ReasonCode::ChangedSinceRun,
                format!("it was changed since run {run} created it, last by run {by}"),
            ),
            _ => (
                ReasonCode::ChangedSinceSent,
                format!("it was changed or made anew since run {run} began, last by run {by}"),
            ),
        };
        Self::Refuse(Refusal { code, reason, differences })
    }

    /// Refuses to delete or disable an identity in another version than that for which the request was sent
    /// before: the request may have had its effect, and somebody may have changed the identity since, or
    /// created it anew. `disables` is true if a replacement disables the identity in one request.
    pub(super) fn unless_made_anew(
        self,
        disables: bool,
        sent_for: Option<&Etag>,
        found: Option<&Etag>,
    ) -> Self {
        let verbs = match self {
            Self::Delete => ("delete", "deleted"),
            Self::Replace(_) if disables => ("disable", "disabled"),
            _ => return self,
        };
        match sent_for {
            Some(_) if sent_for != found => {
                let (verb, done) = verbs;
                let reason = format!(
                    "it was changed or made anew since this run was to {verb} it, and may have {done} it before"
                );
                Refusal::because(ReasonCode::ChangedSinceSent, reason)
            }
            _ => self,
        }
    }
}

/// The reason why an identity is left unchanged.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    /// The reason as a code.
    pub(crate) code: ReasonCode,
    /// The reason in words.
    pub(crate) reason: String,
    /// The differences from the expected state.
    pub(crate) differences: Vec<Difference>,
}

impl Refusal {
    pub(super) fn because(code: ReasonCode, reason: impl Into<String>) -> ChangeDecision {
        ChangeDecision::Refuse(Self { code, reason: reason.into(), differences: Vec::new() })
    }
}

impl Maintenance {
    /// Decides the action for the identity of `row`, given the twin of its
    /// [subject](Self::subject). `hold` is the run that keeps the device disabled, if it [must be
    /// known](Self::needs_hold).
    pub(crate) fn decide(
        &self,
        row: &LedgerRow,
        found: Option<&Twin>,
        hold: Option<&Hold>,
    ) -> ChangeDecision {
        let spec = &row.spec;
        match (self, found) {
            (Self::Delete | Self::Undo { .. }, None) => ChangeDecision::NothingToDo,
            (_, None) => ChangeDecision::missing(),
            (Self::AddThumbprint, Some(twin)) => rotation::add(spec, twin),
            (Self::Delete, Some(twin)) => delete(spec, twin),
            (Self::Disable { reason }, Some(twin)) => status::disable(spec, twin, reason, hold),
            (Self::DropNewThumbprint, Some(twin)) => rotation::drop_new(spec, twin),
            (Self::DropOldThumbprint { .. }, Some(twin)) => rotation::drop_old(spec, twin),
            (Self::Release { run }, Some(twin)) => status::release(spec, twin, *run, hold),
            (Self::Undo { run }, Some(twin)) => undo(row, twin, *run),
            (Self::UndoRelease { run }, Some(twin)) => status::undo_release(spec, twin, *run, hold),
        }
    }
}

fn delete(spec: &IdentitySpec, twin: &Twin) -> ChangeDecision {
    if spec.identity.module().is_none() && twin.status == Status::Enabled {
        return Refusal::because(
            ReasonCode::DeviceEnabled,
            "it is enabled, and only what is disabled is deleted",
        );
    }
    if_same_certificate(spec, twin, || ChangeDecision::Delete)
}

/// Returns the decision if a thumbprint of the batch is on the hub, or the batch names none. Otherwise it
/// refuses: the board may have been replaced, so that a different unit has this id.
fn if_same_certificate(
    spec: &IdentitySpec,
    twin: &Twin,
    decision: impl FnOnce() -> ChangeDecision,
) -> ChangeDecision {
    let AuthSpec::Thumbprint { primary, secondary } = spec.state.auth else { return decision() };
    let slots = twin.x509_thumbprint;
    let on_hub = [slots.primary_thumbprint, slots.secondary_thumbprint];
    if [primary, secondary].into_iter().flatten().any(|given| on_hub.contains(&Some(given))) {
        return decision();
    }
    ChangeDecision::Refuse(Refusal {
        code: ReasonCode::CertificateDiffers,
        reason: "its certificate differs from that of the batch; it may be a different unit".to_owned(),
        differences: thumbprint_differences(spec, twin),
    })
}

/// The differences between the thumbprints on the hub and those of the batch.
fn thumbprint_differences(spec: &IdentitySpec, twin: &Twin) -> Vec<Difference> {
    let comparison = Comparison::of(spec, Some(twin));
    let differences = comparison.differences().iter();
    differences.filter(|difference| difference.is_of_thumbprint()).cloned().collect()
}

fn undo(row: &LedgerRow, twin: &Twin, run: RunId) -> ChangeDecision {
    let found = Some(twin);
    match undo_unused(row, Comparison::of(&row.spec, found), &Etags::of(found), run) {
        ChangeDecision::Delete => match use_shown_by(twin) {
            None => ChangeDecision::Delete,
            Some(signs) => Refusal::because(
                ReasonCode::ChangedSinceRun,
                format!("it was used since run {run} created it: {signs}"),
            ),
        },
        decision => decision,
    }
}

/// Decides on something that `run` has created and that nobody has used, by its comparison with the row and the
/// etags that were found.
pub(super) fn undo_unused(
    row: &LedgerRow,
    comparison: Comparison,
    found: &Etags,
    run: RunId,
) -> ChangeDecision {
    if row.record.presumed {
        return Refusal::because(
            ReasonCode::CreationUncertain,
            format!("it is there, and run {run} can't be sure that it created it"),
        );
    }
    let left = &row.before;
    let is_unread = *left == Etags::default();
    let is_untouched = match is_unread {
        // The run did not read its ETags: only the content can show that it is the same.
        true => comparison == Comparison::InSync,
        false => left == found,
    };
    if is_untouched {
        return ChangeDecision::Delete;
    }
    let differences = comparison.differences().to_vec();
    let (code, reason) = match comparison {
        Comparison::Staged(_) | Comparison::TwinNotWritten if is_unread => (
            ReasonCode::CreationUncertain,
            format!("it is there half done, and run {run} can't be sure that it created it"),
        ),
        _ => (ReasonCode::ChangedSinceRun, format!("it was changed since run {run} created it")),
    };
    ChangeDecision::Refuse(Refusal { code, reason, differences })
}

#[cfg(test)]
mod tests;
