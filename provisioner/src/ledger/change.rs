//! What a worker writes down about a row before and after it changed something on the hub.

use hub_types::IdentityId;

use super::{Effect, Record};
use crate::standing::{Difference, Etags};

/// A request for an identity that is about to leave.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    /// The identity.
    pub identity: IdentityId,
    /// What the request is to do.
    pub effect: Effect,
    /// The version tags of what is there, where this run has not changed it yet.
    pub before: Etags,
}

/// What became of an identity.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// The identity.
    pub identity: IdentityId,
    /// What became of it.
    pub record: Record,
    /// The version tags of what was there, where this run had not changed it yet.
    pub before: Etags,
    /// The version tags that the last look showed, where nothing was changed after it.
    pub after: Etags,
}

/// What verification saw of an identity.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The identity.
    pub identity: IdentityId,
    /// The version tags it has.
    pub etags: Etags,
    /// How it is not as the batch wants it, where that is so.
    pub deviation: Option<Vec<Difference>>,
}

impl From<(IdentityId, Effect)> for Sent {
    fn from((identity, effect): (IdentityId, Effect)) -> Self {
        Self { identity, effect, before: Etags::default() }
    }
}

impl From<(IdentityId, Record)> for Ended {
    fn from((identity, record): (IdentityId, Record)) -> Self {
        Self { identity, record, before: Etags::default(), after: Etags::default() }
    }
}
