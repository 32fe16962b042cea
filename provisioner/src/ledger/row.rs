//! Rows: one per identity of a run.

use hub_types::identity::StatusReason;
use hub_types::{IdentityId, ModuleId};

use super::stored::{NotStorable, json_text};
use super::{Operator, Record, RowState, Run, Stint};
use crate::model::compare::{Difference, Etags};
use crate::model::lifecycle::Effect;
use crate::model::spec::{DesiredIdentity, DesiredState};

/// One identity of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct LedgerRow {
    /// The line of the batch file that it came from.
    pub line: u64,
    /// The requested state.
    pub wanted: DesiredIdentity,
    /// The result.
    pub record: Record,
    /// The etags before this run changed it, or those that the run's plan expects; `None` if the
    /// run created it.
    pub before: Etags,
    /// The version tags it was last seen with.
    pub etags: Etags,
    /// The status reason that an alteration of its status has replaced.
    pub status_reason_before: Option<StatusReason>,
    /// The differences found by verification: empty if the identity is missing.
    pub deviation: Option<Vec<Difference>>,
    /// The serial number of the certificate that was issued for it, or that its row names.
    pub serial: Option<String>,
    /// The stint that last had a hand in it.
    pub stint: Option<u32>,
    /// The time of the first request for it (RFC 3339, UTC).
    pub sent: Option<String>,
    /// The time of its result (RFC 3339, UTC).
    pub ended: Option<String>,
}

impl LedgerRow {
    /// A row that nothing has become of yet.
    pub fn new(line: u64, wanted: DesiredIdentity) -> Self {
        Self {
            line,
            wanted,
            record: Record::new(RowState::Pending),
            before: Etags::default(),
            etags: Etags::default(),
            status_reason_before: None,
            deviation: None,
            serial: None,
            stint: None,
            sent: None,
            ended: None,
        }
    }

    /// The row of the same identity in a different run that continues from there: see
    /// [`Load::insert_from`](super::Load::insert_from).
    pub fn to_go_on(self) -> Self {
        let is_created = self.record.effect == Some(Effect::Created);
        // Older versions said "created" of some devices that they had found there, and seen in a version.
        let presumed = self.record.presumed || (is_created && self.before != Etags::default());
        Self {
            record: Record { presumed, ..Record::new(RowState::Pending) },
            before: if is_created { self.etags } else { Etags::default() },
            serial: self.serial,
            ..Self::new(self.line, self.wanted)
        }
    }

    /// The operator who last worked on it. If there is none yet, or an old ledger does not state
    /// it, the operator who began the run.
    pub fn operator<'a>(&self, run: &'a Run, stints: &'a [Stint]) -> &'a Operator {
        let stint = stints.iter().find(|stint| Some(stint.number) == self.stint);
        stint.map_or(&run.by, |stint| &stint.by)
    }
}

/// A filter for the rows of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowFilter {
    /// All rows.
    All,
    /// Rows that are not as the batch wants them, unfinished, or with a kept twin.
    Remarkable,
    /// Rows whose certificate is still to be issued.
    ToBeIssued,
    /// Rows that the run created, and no later run of the same hub.
    Created,
    /// Devices that the run disabled on purpose.
    Disabled,
    /// Rows that failed, are in conflict, or were skipped for it.
    Failed,
    /// Rows whose symmetric keys the batch gives.
    GivenKeys,
    /// Rows that are on the hub as far as the ledger knows.
    Settled,
    /// Rows that the run changed.
    Updated,
}

/// The primary key of an identity within a run.
pub(super) fn key(identity: &IdentityId) -> (&str, &str) {
    (identity.device().as_str(), identity.module().map_or("", ModuleId::as_str))
}

/// The requested state in its stored form, and its hash.
pub(super) fn stored(state: &DesiredState) -> Result<(String, String), NotStorable> {
    let text = json_text(state)?;
    let hash = DesiredState::hash_of(&text);
    Ok((text, hash))
}
