//! The result of one row, as the ledger stores and reports it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use cli_support::causes::with_causes;
use serde::Serialize;

use super::CredentialConflict;
use crate::hub::HubError;
use crate::model::compare::Difference;
use crate::model::effect::Effect;
use crate::model::failure::ReasonCode;
use crate::model::run_id::RunId;
use crate::model::unknown_value::UnknownValue;

/// The state of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RowState {
    /// A worker has claimed it, and no request was sent for it yet.
    Claimed,
    /// The identity on the hub differs from the batch.
    Conflict,
    /// The identity is on the hub through this run.
    Done,
    /// The operation failed.
    Failed,
    /// No request was sent for it yet.
    Pending,
    /// A request for it was sent; its effect must be read from the hub.
    Sent,
    /// The row was skipped, because its device does not have the requested state.
    Skipped,
    /// The identity was already on the hub as requested.
    Unchanged,
    /// The module can only be created after its device has registered through the DPS.
    Waiting,
}

impl RowState {
    /// Every state.
    pub(crate) const ALL: [Self; 9] = [
        Self::Claimed,
        Self::Conflict,
        Self::Done,
        Self::Failed,
        Self::Pending,
        Self::Sent,
        Self::Skipped,
        Self::Unchanged,
        Self::Waiting,
    ];

    /// Returns true if the row ended without the identity as asked.
    pub(crate) fn is_left_alone(self) -> bool {
        matches!(self, Self::Conflict | Self::Failed | Self::Skipped)
    }

    /// The name that ledger and reports use.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Conflict => "conflict",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Pending => "pending",
            Self::Sent => "sent",
            Self::Skipped => "skipped",
            Self::Unchanged => "unchanged",
            Self::Waiting => "waiting",
        }
    }
}

impl FromStr for RowState {
    type Err = UnknownValue;

    fn from_str(text: &str) -> Result<Self, UnknownValue> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| UnknownValue::new(text))
    }
}

impl fmt::Display for RowState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The result of a row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Record {
    /// The state of the row.
    pub(crate) state: RowState,
    /// The effect of the run, when the row is done; the intended effect, while a request has no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) effect: Option<Effect>,
    /// True if the effect is presumed: the hub's response was lost, or a different client has changed the
    /// identity since the run created it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) presumed: bool,
    /// The run that keeps the device disabled until it is released, if the row ended so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) held_by: Option<RunId>,
    /// The HTTP status of the last error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) http_status: Option<u16>,
    /// The hub's code of the last error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error_code: Option<String>,
    /// The last error in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// The id that Microsoft's support asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tracking_id: Option<String>,
    /// The reason of the outcome. Rows that are simply as asked have none, nor have those of older
    /// ledgers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<ReasonCode>,
    /// The differences between hub and batch: in a conflict, or in a twin that was kept.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) differences: Vec<Difference>,
}

impl Record {
    /// The record of a failed row whose device is still enabled although it is to be disabled.
    pub(crate) fn left_enabled(self) -> Self {
        let error = self.error.unwrap_or_default();
        Self {
            error: Some(format!("it is ENABLED and can connect, because it could not be finished: {error}")),
            reason: Some(ReasonCode::LeftEnabled),
            ..self
        }
    }

    /// The record of a row whose credential belongs to a different identity.
    pub(crate) fn credential_taken(conflict: &CredentialConflict) -> Self {
        Self {
            error: Some(conflict.to_string()),
            reason: Some(ReasonCode::CredentialTaken),
            ..Self::new(RowState::Conflict)
        }
    }

    /// A record that says nothing but the state.
    pub(crate) fn new(state: RowState) -> Self {
        Self {
            state,
            effect: None,
            presumed: false,
            held_by: None,
            http_status: None,
            error_code: None,
            error: None,
            tracking_id: None,
            reason: None,
            differences: Vec::new(),
        }
    }

    /// The record as far as an answer of the hub shows it: of a request without an answer only the intended
    /// effect is recorded.
    pub(crate) fn as_answered(&self) -> Cow<'_, Self> {
        match self.state {
            RowState::Sent => Cow::Owned(Self { effect: None, ..self.clone() }),
            _ => Cow::Borrowed(self),
        }
    }

    /// A row that was left alone because of its device.
    pub(crate) fn skipped(code: ReasonCode, reason: impl Into<String>) -> Self {
        Self { state: RowState::Skipped, ..Self::failed(code, reason) }
    }

    /// A row that can't be done for a reason that is not the hub's.
    pub(crate) fn failed(reason: ReasonCode, text: impl Into<String>) -> Self {
        Self { reason: Some(reason), error: Some(text.into()), ..Self::new(RowState::Failed) }
    }
}

/// The reason why a device is left alone that a run which has not ended is still to disable, and what to do. The
/// run may be at work on another station.
pub(crate) fn unfinished_run(run: RunId, then: &str) -> String {
    format!(
        "run {run} has not ended and is still to disable it: wait for it, or `provisioner resume {run}` if it was \
         interrupted, {then}"
    )
}

impl From<&HubError> for Record {
    fn from(error: &HubError) -> Self {
        let failed = Self {
            http_status: error.status(),
            reason: Some(error.reason()),
            error: Some(with_causes(error)),
            ..Self::new(RowState::Failed)
        };
        match error {
            HubError::Refused { code, tracking_id, .. } => {
                Self { error_code: code.clone(), tracking_id: tracking_id.clone(), ..failed }
            }
            _ => failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_effect_without_an_answer_is_only_intended() {
        let record = |state| Record { effect: Some(Effect::Created), ..Record::new(state) };
        assert_eq!(record(RowState::Sent).as_answered().effect, None);
        assert_eq!(record(RowState::Failed).as_answered().effect, Some(Effect::Created));
    }
}
