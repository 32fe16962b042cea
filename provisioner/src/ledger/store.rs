//! The operations of a ledger, for every kind of database.

use std::num::NonZeroU32;
use std::time::Duration;

use hub_types::{DeviceId, IdentityId};

use super::{
    Claim, Credential, Ended, Hold, Lease, LedgerError, LedgerRow, ListedRun, Moment, Operator, Record,
    RowFilter, Run, RunFacts, RunId, RunState, Seen, Sent, Stint, Taken, Totals, Verification,
};
use crate::desired::DesiredIdentity;
use crate::standing::Etags;

/// A run whose rows are being written. Nothing of it stays unless [`Load::commit`] is called.
pub type Loader<'l> = Box<dyn Load + 'l>;

/// Writes the rows of a run.
pub trait Load {
    /// Adds a row, unless one of its credentials is another identity's.
    fn insert(
        &self,
        line: u64,
        wanted: &DesiredIdentity,
        credentials: &[Credential],
    ) -> Result<Option<Taken>, LedgerError>;

    /// Puts a device and its modules after everything of a lower level. Level 0 is the first.
    fn set_level(&self, device: &DeviceId, level: u32) -> Result<(), LedgerError>;

    /// Writes down the version tags that these identities must still have: see
    /// [`Lifecycle::expecting`](crate::lifecycle::Lifecycle::expecting).
    fn expect(&self, seen: &[(IdentityId, Etags)]) -> Result<(), LedgerError>;

    /// Writes down why nothing will be done for these identities.
    fn refuse(&self, records: &[(IdentityId, Record)], now: &str) -> Result<(), LedgerError>;

    /// Adds a row for each identity of another run whose row passes a filter, as that run left it, and answers
    /// how many there are.
    fn insert_from(&self, run: RunId, filter: RowFilter) -> Result<u64, LedgerError>;

    /// Keeps the run: `rejected` rows were left out.
    fn commit(self: Box<Self>, input_sha256: &str, rejected: u64) -> Result<RunId, LedgerError>;
}

/// The operations of a ledger. Every change is atomic, and survives the end of this process when
/// its call has returned. It also survives a power failure, except for the last changes of
/// [`Self::claim`], [`Self::record`] and [`Self::finish_chunk`]: those become durable with the next
/// [`Self::mark_sent`] or any other change. If they are lost, identities are `sent`, and their
/// state is read from the hub.
pub trait Store: Send {
    /// Waits at least as long as this for a database that is away in the middle of the work.
    fn set_patience(&mut self, _patience: Duration) {}

    /// The ways in which a failure can take from the ledger what was written to it, as people are told them.
    fn weaknesses(&mut self) -> Result<Vec<String>, LedgerError> {
        Ok(Vec::new())
    }

    /// Begins a run. Its rows are added to the answer, which is committed as a whole.
    fn load_run(&mut self, facts: &RunFacts<'_>) -> Result<Loader<'_>, LedgerError>;

    /// Begins this process's stint on a run: from now on, its rows and moments are put down to it.
    fn begin_stint(&mut self, run: RunId, by: &Operator, now: &str) -> Result<(), LedgerError>;

    /// Writes down how far this process's stint is.
    fn add_moment(&mut self, run: RunId, moment: &Moment) -> Result<(), LedgerError>;

    /// Makes the chunks of a run whose rows are complete. From now on, a chunk that was claimed and not
    /// heard of for as long as `lease` may be claimed by another station, where there are others; what
    /// a process of this station had that is no more can be claimed at once.
    fn begin_work(&mut self, run: RunId, lease: Duration) -> Result<(), LedgerError>;

    /// Claims the next chunk of a run. What stands on a level is not given out before all that stands
    /// below it is done.
    fn claim(&mut self, run: RunId) -> Result<Claim, LedgerError>;

    /// Says that this station works on the hub of a run, and answers how many stations do, this one
    /// among them: those that said so no longer ago than a lease lasts.
    fn count_stations(&mut self, run: RunId) -> Result<NonZeroU32, LedgerError>;

    /// Makes all leases that were given and not ended last as long again.
    fn renew_leases(&mut self) -> Result<(), LedgerError>;

    /// Gives back all leases that were given and not ended: this station works no longer.
    fn release_leases(&mut self) -> Result<(), LedgerError>;

    /// Writes down that these requests for identities of a chunk are about to leave.
    fn mark_sent(&mut self, lease: &Lease, sent: &[Sent], now: &str) -> Result<(), LedgerError>;

    /// Writes down what became of these identities of a chunk.
    fn record(&mut self, lease: &Lease, ended: &[Ended], now: &str) -> Result<(), LedgerError>;

    /// Writes down that all rows of a chunk have come to an end.
    fn finish_chunk(&mut self, lease: &Lease) -> Result<(), LedgerError>;

    /// Writes down why these identities can't be sent at all.
    fn refuse(&mut self, run: RunId, records: &[(IdentityId, Record)], now: &str) -> Result<(), LedgerError>;

    /// Writes down what verification saw of these identities.
    fn set_seen(&mut self, run: RunId, seen: &[Seen]) -> Result<(), LedgerError>;

    /// Writes down what verification as a whole came to.
    fn set_verification(&mut self, run: RunId, verification: &Verification) -> Result<(), LedgerError>;

    /// Replaces what is wanted of these identities now that their certificates have been issued, whose
    /// serial numbers are given.
    fn replace_wanted(&mut self, run: RunId, issued: &[(&DesiredIdentity, &str)]) -> Result<(), LedgerError>;

    /// Remembers whose these credentials are.
    fn remember(&mut self, run: RunId, owned: &[(IdentityId, Credential)]) -> Result<(), LedgerError>;

    /// The first of an identity's credentials that is known to be another's on a hub.
    fn first_taken(
        &mut self,
        identity: &IdentityId,
        credentials: &[Credential],
    ) -> Result<Option<Taken>, LedgerError>;

    /// Forgets what a run remembered of owners that `undo` found gone or has deleted.
    fn forget_undone(&mut self, run: RunId, undo: RunId) -> Result<(), LedgerError>;

    /// Up to `limit` rows of a run, in the order of their ids, after an identity.
    fn page(
        &mut self,
        run: RunId,
        filter: RowFilter,
        after: Option<&IdentityId>,
        limit: usize,
    ) -> Result<Vec<LedgerRow>, LedgerError>;

    /// The row of an identity in a run, where it has one.
    fn row(&mut self, run: RunId, identity: &IdentityId) -> Result<Option<LedgerRow>, LedgerError>;

    /// The run that keeps a device of a hub disabled on purpose, by what the ledger knows; only runs before
    /// `before` count, where one is given.
    fn hold(
        &mut self,
        hub: &str,
        device: &IdentityId,
        before: Option<RunId>,
    ) -> Result<Option<Hold>, LedgerError>;

    /// The number of a run's rows that pass a filter.
    fn count(&mut self, run: RunId, filter: RowFilter) -> Result<u64, LedgerError>;

    /// Writes down how a run ended. A run that finished stays so.
    fn end_run(&mut self, run: RunId, state: RunState, now: &str) -> Result<(), LedgerError>;

    /// Returns true if an earlier run worked on the same hub.
    fn knows_hub(&mut self, hub: &str, but: RunId) -> Result<bool, LedgerError>;

    /// All runs, the newest first.
    fn runs(&mut self) -> Result<Vec<ListedRun>, LedgerError>;

    /// One run; the newest when no number is given.
    fn run(&mut self, run: Option<RunId>) -> Result<Run, LedgerError>;

    /// The stints of a run, in the order in which they began.
    fn stints(&mut self, run: RunId) -> Result<Vec<Stint>, LedgerError>;

    /// The moments of a stint, in order.
    fn moments(&mut self, run: RunId, stint: u32) -> Result<Vec<Moment>, LedgerError>;

    /// Counts the rows of a run by what became of them.
    fn totals(&mut self, run: RunId) -> Result<Totals, LedgerError>;
}
