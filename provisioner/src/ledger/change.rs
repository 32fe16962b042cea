//! The records that a worker writes for a row before and after a change on the hub.

use hub_types::IdentityId;
use hub_types::identity::StatusReason;

use super::{Effect, Record, RunId};
use crate::model::compare::{Difference, Etags};

/// A request for an identity that is about to leave.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    /// The identity.
    pub identity: IdentityId,
    /// The intended effect of the request.
    pub effect: Effect,
    /// The etags before this run, unless it has already changed the identity.
    pub before: Etags,
    /// The run that keeps the device disabled when the request has had its effect.
    pub held_by: Option<RunId>,
    /// The status reason that is replaced, if the request changes the status.
    pub status_reason_before: Option<StatusReason>,
}

/// The result of an identity.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// The identity.
    pub identity: IdentityId,
    /// The result.
    pub record: Record,
    /// The etags before this run, unless it had already changed the identity.
    pub before: Etags,
    /// The etags of the last read, if no change followed.
    pub after: Etags,
}

/// The observation of an identity by verification.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The identity.
    pub identity: IdentityId,
    /// The version tags it has.
    pub etags: Etags,
    /// The differences from the batch, if there are any.
    pub deviation: Option<Vec<Difference>>,
}

impl From<(IdentityId, Effect)> for Sent {
    fn from((identity, effect): (IdentityId, Effect)) -> Self {
        Self { identity, effect, before: Etags::default(), held_by: None, status_reason_before: None }
    }
}

impl From<(IdentityId, Record)> for Ended {
    fn from((identity, record): (IdentityId, Record)) -> Self {
        Self { identity, record, before: Etags::default(), after: Etags::default() }
    }
}
