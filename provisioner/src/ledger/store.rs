//! The operations of a ledger, for every kind of database.

use std::num::NonZeroU32;
use std::time::Duration;

use hub_types::{DeviceId, IdentityId};

use super::{
    Claim, Credential, CredentialConflict, Ended, HeldDevices, Lease, LedgerError, LedgerRow, ListedRun,
    Operator, ProgressSample, Record, RowFilter, RowsLeft, Run, RunFacts, RunState, Sent, Session, Totals,
    Verification, VerifiedRow,
};
use crate::clock::Timestamp;
use crate::model::digest::Sha256Digest;
use crate::model::etags::Etags;
use crate::model::hold::Hold;
use crate::model::run_id::RunId;
use crate::model::spec::IdentitySpec;

/// A run whose rows are being written. It is discarded unless [`Load::commit`] is called.
pub(crate) type Loader<'l> = Box<dyn Load + 'l>;

/// Writes the rows of a run.
pub(crate) trait Load {
    /// Adds a row, unless one of its credentials belongs to a different identity.
    fn insert(
        &self,
        line: u64,
        spec: &IdentitySpec,
        credentials: &[Credential],
    ) -> Result<Option<CredentialConflict>, LedgerError>;

    /// Puts a device and its modules on a level, which is processed after all lower ones. Level 0
    /// is the first.
    fn set_depth(&self, device: &DeviceId, level: u32) -> Result<(), LedgerError>;

    /// Stores the etags that these identities must still have: see
    /// [`Lifecycle::expecting`](crate::apply::lifecycle::Lifecycle::expecting).
    fn expect(&self, seen: &[(IdentityId, Etags)]) -> Result<(), LedgerError>;

    /// Writes down why nothing will be done for these identities.
    fn refuse(&self, records: &[(IdentityId, Record)], now: &Timestamp) -> Result<(), LedgerError>;

    /// Adds a row for each identity of a different run whose row passes a filter, in the state that
    /// this run left, and returns their number.
    fn insert_from(&self, run: RunId, filter: RowFilter) -> Result<u64, LedgerError>;

    /// Lets all rows wait for the registration of their devices, and removes what rows of an earlier run know
    /// of enrolments.
    fn await_devices(&self) -> Result<(), LedgerError>;

    /// Commits the run: `rejected` rows were left out.
    fn commit(self: Box<Self>, input_sha256: Sha256Digest, rejected: u64) -> Result<RunId, LedgerError>;
}

/// The operations of a ledger. Every change is atomic, and survives the end of this process when
/// its call has returned. It also survives a power failure, except for the last changes of
/// [`Self::claim`], [`Self::record`] and [`Self::finish_chunk`]: those become durable with the next
/// [`Self::mark_sent`] or any other change. If they are lost, identities are `sent`, and their
/// state is read from the hub.
pub(crate) trait Store: Send {
    /// Sets the shortest wait for a database that becomes unavailable during the work.
    fn set_patience(&mut self, _patience: Duration) {}

    /// The ways in which a failure can lose writes of the ledger, as texts for people.
    fn weaknesses(&mut self) -> Result<Vec<String>, LedgerError> {
        Ok(Vec::new())
    }

    /// Begins a run. Rows are added to the returned value, which commits them as a whole.
    fn load_run(&mut self, facts: &RunFacts<'_>) -> Result<Loader<'_>, LedgerError>;

    /// Begins this process's session on a run: later rows and samples are recorded under it.
    fn begin_session(&mut self, run: RunId, by: &Operator, now: &Timestamp) -> Result<(), LedgerError>;

    /// Writes down how far this process's session is.
    fn add_progress_sample(&mut self, run: RunId, sample: &ProgressSample) -> Result<(), LedgerError>;

    /// Makes the chunks of a run whose rows are complete. From now on, a claimed chunk whose lease
    /// has not been renewed for `lease` may be claimed by a different station, if there is one;
    /// chunks of an ended process of this station can be claimed at once.
    fn begin_work(&mut self, run: RunId, lease: Duration) -> Result<(), LedgerError>;

    /// Claims the next chunk of a run. Chunks of a level are only claimed after all lower depths
    /// are done.
    fn claim(&mut self, run: RunId) -> Result<Claim, LedgerError>;

    /// Up to `limit` devices with rows that wait for their registration, in the order of their ids, after a
    /// device.
    fn awaited_devices(
        &mut self,
        run: RunId,
        after: Option<&DeviceId>,
        limit: usize,
    ) -> Result<Vec<DeviceId>, LedgerError>;

    /// Makes the waiting rows of these devices pending, because the devices have registered, and frees the
    /// chunks that they are in. Returns the number of rows.
    fn wake(&mut self, run: RunId, devices: &[DeviceId]) -> Result<u64, LedgerError>;

    /// Frees the chunks that were finished with rows that are not, and makes the waiting modules of devices
    /// pending that failed or are in conflict. Returns which rows are left.
    fn wake_stranded(&mut self, run: RunId) -> Result<RowsLeft, LedgerError>;

    /// Records that this station works on the hub of a run, and returns the number of active
    /// stations, including this one: those that did the same within a lease's duration.
    fn count_stations(&mut self, run: RunId) -> Result<NonZeroU32, LedgerError>;

    /// Renews all open leases.
    fn renew_leases(&mut self) -> Result<(), LedgerError>;

    /// Releases all open leases: this station stops.
    fn release_leases(&mut self) -> Result<(), LedgerError>;

    /// Writes down that these requests for identities of a chunk are about to leave.
    fn mark_sent(&mut self, lease: &Lease, sent: &[Sent], now: &Timestamp) -> Result<(), LedgerError>;

    /// Writes down what became of these identities of a chunk.
    fn record(&mut self, lease: &Lease, ended: &[Ended], now: &Timestamp) -> Result<(), LedgerError>;

    /// Writes down that all rows of a chunk have come to an end.
    fn finish_chunk(&mut self, lease: &Lease) -> Result<(), LedgerError>;

    /// Writes down why these identities can't be sent at all.
    fn refuse(
        &mut self,
        run: RunId,
        records: &[(IdentityId, Record)],
        now: &Timestamp,
    ) -> Result<(), LedgerError>;

    /// Writes down what verification saw of these identities.
    fn set_seen(&mut self, run: RunId, seen: &[VerifiedRow]) -> Result<(), LedgerError>;

    /// Writes down what verification as a whole came to.
    fn set_verification(&mut self, run: RunId, verification: &Verification) -> Result<(), LedgerError>;

    /// Replaces the requested state of these identities after their certificates have been issued,
    /// and stores the serial numbers.
    fn replace_wanted(&mut self, run: RunId, issued: &[(&IdentitySpec, &str)]) -> Result<(), LedgerError>;

    /// Stores the owner of these credentials.
    fn remember(&mut self, run: RunId, owned: &[(IdentityId, Credential)]) -> Result<(), LedgerError>;

    /// Gives these credentials to their identities in a run, except those that belong to different
    /// identities by now: returns the latter. A run may have been interrupted, and its credentials freed and
    /// given away since.
    fn claim_again(
        &mut self,
        run: RunId,
        wanted: &[(IdentityId, Credential)],
    ) -> Result<Vec<(IdentityId, CredentialConflict)>, LedgerError>;

    /// The first of an identity's credentials that is known to be another's on a hub.
    fn find_conflict(
        &mut self,
        identity: &IdentityId,
        credentials: &[Credential],
    ) -> Result<Option<CredentialConflict>, LedgerError>;

    /// Removes a run's credentials of owners that `undo` found missing or has deleted.
    fn forget_undone(&mut self, run: RunId, undo: RunId) -> Result<(), LedgerError>;

    /// Removes the credentials that a run has taken out of identities again.
    fn forget_reverted(&mut self, run: RunId) -> Result<(), LedgerError>;

    /// Up to `limit` rows of a run, in the order of their ids, after an identity.
    fn page(
        &mut self,
        run: RunId,
        filter: RowFilter,
        after: Option<&IdentityId>,
        limit: usize,
    ) -> Result<Vec<LedgerRow>, LedgerError>;

    /// The row of an identity in a run, if it has one.
    fn row(&mut self, run: RunId, identity: &IdentityId) -> Result<Option<LedgerRow>, LedgerError>;

    /// The run that keeps a device of a hub disabled on purpose, by the ledger's records; only runs
    /// before `before` count, if it is given.
    fn hold(
        &mut self,
        hub: &str,
        device: &IdentityId,
        before: Option<RunId>,
    ) -> Result<Option<Hold>, LedgerError>;

    /// The last run after `run` on a hub that changed an identity, by the ledger's records.
    fn last_change(
        &mut self,
        hub: &str,
        identity: &IdentityId,
        run: RunId,
    ) -> Result<Option<RunId>, LedgerError>;

    /// The devices that a run left disabled on purpose, by the run that disabled them.
    fn held_devices(&mut self, run: RunId) -> Result<Vec<HeldDevices>, LedgerError>;

    /// The run that was interrupted and is to disable a device of a hub when it is resumed, by the ledger's
    /// records; only runs before `before` count, if it is given.
    fn unfinished_hold(
        &mut self,
        hub: &str,
        device: &IdentityId,
        before: Option<RunId>,
    ) -> Result<Option<Hold>, LedgerError>;

    /// The number of a run's rows that pass a filter.
    fn count(&mut self, run: RunId, filter: RowFilter) -> Result<u64, LedgerError>;

    /// Writes down how a run ended, and frees the credentials of identities for which it did nothing. A
    /// run that finished stays so.
    fn end_run(&mut self, run: RunId, state: RunState, now: &Timestamp) -> Result<(), LedgerError>;

    /// Returns true if an earlier run worked on the same hub.
    fn knows_hub(&mut self, hub: &str, but: RunId) -> Result<bool, LedgerError>;

    /// All runs, the newest first.
    fn runs(&mut self) -> Result<Vec<ListedRun>, LedgerError>;

    /// One run; the newest if no number is given.
    fn run(&mut self, run: Option<RunId>) -> Result<Run, LedgerError>;

    /// The sessions of a run, in the order in which they began.
    fn sessions(&mut self, run: RunId) -> Result<Vec<Session>, LedgerError>;

    /// The samples of a session, in order.
    fn progress_samples(&mut self, run: RunId, session: u32) -> Result<Vec<ProgressSample>, LedgerError>;

    /// Counts the rows of a run by their results, as the run itself knows them: see
    /// [`Ledger::totals`](super::Ledger::totals).
    fn count_results(&mut self, run: RunId) -> Result<Totals, LedgerError>;
}
