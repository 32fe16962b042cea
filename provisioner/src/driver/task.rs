//! One identity on its way to its result: its decisions, and its state between them.

use hub_types::{IdentityId, Thumbprint};

use super::changes::IdentityUpdate;
use super::event::Event;
use crate::hub::HubError;
use crate::ledger::{Credential, CredentialConflict, Ended, Record, Sent};
use crate::model::effect::Effect;
use crate::model::etags::Etags;
use crate::model::hold::Hold;
use crate::model::run_id::RunId;
use crate::model::scopes::Scopes;
use crate::model::spec::IdentitySpec;

/// The next step of an identity.
#[derive(Debug)]
pub(crate) enum NextStep<R, O> {
    /// No further step: the outcome.
    Finish(O),
    /// Read its subject's document.
    Observe,
    /// Send this request.
    Send(R),
}

/// The decisions about one identity, without I/O.
pub(crate) trait Decider: Send + Sync {
    /// A request that changes the identity.
    type Request: Send + Sync;
    /// The outcome of the identity.
    type Outcome: Send + Sync;

    /// The identity.
    fn identity(&self) -> &IdentityId;

    /// The number of lost, outdated or contradictory responses.
    fn retries(&self) -> u32;

    /// The step after an answer of the hub to a request.
    fn answered(&mut self, event: Event) -> NextStep<Self::Request, Self::Outcome>;

    /// The step after a read that failed because of the identity.
    fn unreadable(&mut self, error: &HubError) -> NextStep<Self::Request, Self::Outcome>;

    /// The intended effect of a request.
    fn effect(&self, request: &Self::Request) -> Effect;

    /// True if rows may lose their credentials before they are claimed for the first time; otherwise the ledger ends
    /// such rows.
    const MAY_LOSE_UNCLAIMED: bool;

    /// The thumbprints that a request puts on the service, or keeps there.
    fn thumbprints(&self, request: &Self::Request) -> [Option<Thumbprint>; 2];

    /// The outcome of an identity that ends with this record.
    fn ends_with(record: Record) -> Self::Outcome;

    /// The mark in the ledger for a request that is about to leave. `effect` is its intended effect, `before`
    /// are the etags before this run.
    fn sent(&self, effect: Effect, before: Etags, hold: Option<&Hold>, run: RunId) -> Sent;

    /// Returns true if this run created the identity, so that no etags were before it.
    fn is_creation(&self) -> bool {
        false
    }

    /// Returns true if the outcome is not the end: the device waits for its modules.
    fn is_staged(_outcome: &Self::Outcome) -> bool {
        false
    }

    /// The result of the identity in `run`. `hold` is the run that keeps the device disabled, as of the last
    /// read.
    fn record(&self, outcome: Self::Outcome, hold: Option<&Hold>, run: RunId) -> Record;
}

/// An identity that is being processed.
pub(crate) struct Task<D: Decider> {
    /// The decisions about it.
    pub(crate) decider: D,
    /// Its next step.
    pub(crate) step: NextStep<D::Request, D::Outcome>,
    /// The run that keeps the device disabled, as of the last read.
    pub(crate) hold: Option<Hold>,
    /// The etags of the last read.
    pub(crate) etags: Etags,
    /// The scopes that the last read of its subject showed.
    pub(crate) scopes: Scopes,
    /// The etags of the first read.
    before: Etags,
    /// True if the identity may have changed since the last read.
    is_outdated: bool,
}

impl<D: Decider> Task<D> {
    /// An identity with its first step.
    pub(crate) fn new(decider: D, step: NextStep<D::Request, D::Outcome>) -> Self {
        Self {
            decider,
            step,
            hold: None,
            etags: Etags::default(),
            scopes: Scopes::default(),
            before: Etags::default(),
            is_outdated: false,
        }
    }

    /// The identity.
    pub(crate) fn identity(&self) -> &IdentityId {
        self.decider.identity()
    }

    /// Takes the etags of a read; `None` if it read a different identity.
    pub(crate) fn observed(&mut self, etags: Option<Etags>) {
        if let Some(etags) = etags {
            self.etags = etags;
        }
        self.is_outdated = false;
        if self.before == Etags::default() {
            self.before = self.etags.clone();
        }
    }

    /// Takes the etags that it was left with.
    pub(crate) fn left(&mut self, etags: Etags) {
        (self.etags, self.is_outdated) = (etags, false);
    }

    /// The update that makes the identity, as of the last read, as specified.
    pub(crate) fn update_to<'a>(&self, spec: &'a IdentitySpec, changes_parent: bool) -> IdentityUpdate<'a> {
        let (etag, scopes) = (self.etags.identity.clone(), self.scopes.clone());
        IdentityUpdate { spec, etag, scopes, changes_parent }
    }

    /// Takes the hub's answer to its request.
    pub(crate) fn answered(&mut self, event: Event) {
        self.step = self.decider.answered(event);
    }

    /// Takes a read that failed because of it.
    pub(super) fn unreadable(&mut self, error: &HubError) {
        self.step = self.decider.unreadable(error);
    }

    /// Returns true if it has to be read.
    pub(super) fn is_observing(&self) -> bool {
        matches!(self.step, NextStep::Observe)
    }

    pub(super) fn is_finished(&self) -> bool {
        matches!(self.step, NextStep::Finish(_))
    }

    pub(super) fn is_staged(&self) -> bool {
        matches!(&self.step, NextStep::Finish(outcome) if D::is_staged(outcome))
    }

    /// The thumbprints that the request of its step writes, with their identity.
    pub(super) fn credentials(&self) -> impl Iterator<Item = (IdentityId, Credential)> {
        let thumbprints = match &self.step {
            NextStep::Send(request) => self.decider.thumbprints(request),
            NextStep::Finish(_) | NextStep::Observe => [None, None],
        };
        let credentials = thumbprints.into_iter().flatten();
        credentials.map(|thumbprint| (self.identity().clone(), Credential::thumbprint(&thumbprint)))
    }

    /// Ends it, because one of its credentials belongs to a different identity.
    pub(super) fn credential_taken(&mut self, conflict: &CredentialConflict) {
        self.step = NextStep::Finish(D::ends_with(Record::credential_taken(conflict)));
    }

    /// The mark for the request of its step, which is about to leave.
    pub(super) fn about_to_send(&mut self, run: RunId) -> Option<Sent> {
        let NextStep::Send(request) = &self.step else { return None };
        self.is_outdated = true;
        let effect = self.decider.effect(request);
        let before = if effect == Effect::Created { Etags::default() } else { self.before.clone() };
        Some(self.decider.sent(effect, before, self.hold.as_ref(), run))
    }

    /// The result of the identity in `run`, if it has finished.
    pub(super) fn ended(self, run: RunId) -> Option<Ended> {
        let NextStep::Finish(outcome) = self.step else { return None };
        let record = self.decider.record(outcome, self.hold.as_ref(), run);
        let before = if self.decider.is_creation() { Etags::default() } else { self.before };
        let after = if self.is_outdated { Etags::default() } else { self.etags };
        Some(Ended { identity: self.decider.identity().clone(), record, before, after })
    }
}
