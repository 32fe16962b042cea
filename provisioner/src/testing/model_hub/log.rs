//! The hub's own log: what has changed, and through whom.

use std::collections::{BTreeMap, BTreeSet};

use hub_types::IdentityId;

use super::{CallFault, Identity};

/// The changes, in order.
#[derive(Default)]
pub(crate) struct Log {
    entries: Vec<Logged>,
    /// The present actor: the number of a run, or [`OTHERS`].
    actor: i64,
    /// The last version that an identity was given.
    version: u64,
    /// The actors that missed a response.
    losers: BTreeSet<i64>,
    /// Whether answers may come to a station that can't write them down any more.
    nobody_is_told: bool,
}

/// The actor number of clients that are not runs.
pub(crate) const OTHERS: i64 = 0;

/// One change of one identity.
#[derive(Debug, Clone)]
pub(crate) struct Logged {
    pub(crate) by: i64,
    pub(crate) identity: IdentityId,
    /// The number of the creation that it goes back to.
    pub(crate) generation: u64,
    pub(crate) what: What,
    /// True if the actor received the response to the change.
    pub(crate) told: bool,
    /// The earlier state.
    pub(crate) before: Option<Identity>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Created,
    Deleted,
    IdentityUpdated,
    TwinWritten,
    Used,
}

/// Versions within one creation.
pub(super) const GENERATION: u64 = 1_000_000;

impl Log {
    /// Says who is at work from now on, and answers who was.
    pub(crate) fn replace_actor(&mut self, actor: i64) -> i64 {
        std::mem::replace(&mut self.actor, actor)
    }

    /// The length of the log.
    pub(crate) fn now(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn since(&self, moment: usize) -> &[Logged] {
        self.entries.get(moment..).unwrap_or_default()
    }

    /// Returns true if an actor missed a response.
    pub(crate) fn has_lost(&self, actor: i64) -> bool {
        self.losers.contains(&actor)
    }

    /// An answer of a request without effect is lost.
    pub(super) fn lose(&mut self) {
        self.losers.insert(self.actor);
    }

    /// Sets whether answers from now on may come to a station that can't write them down.
    pub(crate) fn tell_nobody(&mut self, nobody_is_told: bool) {
        self.nobody_is_told = nobody_is_told;
        if nobody_is_told {
            self.forget_answers();
        }
    }

    /// Makes the present actor forget all responses.
    pub(super) fn forget_answers(&mut self) {
        self.lose();
        let actor = self.actor;
        self.entries.iter_mut().filter(|logged| logged.by == actor).for_each(|logged| logged.told = false);
    }

    /// Compares how identities were before a call and are after it.
    pub(super) fn add(
        &mut self,
        before: &BTreeMap<IdentityId, Identity>,
        after: &mut BTreeMap<IdentityId, Identity>,
        fault: CallFault,
    ) {
        // Which of the items of such a call are told of does not matter here.
        let told = matches!(fault, CallFault::Answered | CallFault::TwinRefused) && !self.nobody_is_told;
        if !told {
            self.lose();
        }
        for (identity, was) in before.iter().filter(|(identity, _)| !after.contains_key(identity)) {
            self.put(identity, was.version / GENERATION, What::Deleted, told, Some(was));
        }
        for (identity, is) in after {
            match before.get(identity) {
                None => {
                    self.version = (self.version / GENERATION + 1) * GENERATION;
                    is.version = self.version;
                    self.put(identity, is.version / GENERATION, What::Created, told, None);
                }
                Some(was) => {
                    let generation = was.version / GENERATION;
                    if is.version != was.version {
                        self.put(identity, generation, What::IdentityUpdated, told, Some(was));
                    }
                    if is.twin_writes != was.twin_writes {
                        self.put(identity, generation, What::TwinWritten, told, Some(was));
                    }
                    if is.uses != was.uses {
                        self.put(identity, generation, What::Used, told, Some(was));
                    }
                }
            }
        }
    }

    fn put(
        &mut self,
        identity: &IdentityId,
        generation: u64,
        what: What,
        told: bool,
        before: Option<&Identity>,
    ) {
        let (by, identity, before) = (self.actor, identity.clone(), before.cloned());
        self.entries.push(Logged { by, identity, generation, what, told, before });
    }
}
