//! The ledger of one station: an SQLite file, with one process that writes to it.

use hub_types::shown::ShownPath;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hub_types::{DeviceId, IdentityId};
use rusqlite::{Connection, OpenFlags};

use super::past_row::{hold_of, last_change, unfinished_hold_of};
use super::row::{self, Context};
use super::store::{Loader, Store};
use super::{
    Claim, Credential, CredentialConflict, Ended, HeldDevices, Lease, LedgerError, LedgerRow, ListedRun,
    Operator, ProgressSample, Record, RowFilter, RowsLeft, Run, RunFacts, RunState, Sent, Session, Totals,
    VERSION, Verification, VerifiedRow,
};
use crate::clock::Timestamp;
use crate::model::hold::Hold;
use crate::model::run_id::RunId;
use crate::model::spec::IdentitySpec;
use error::of_file;
use file::{FileState, Lock};
use loading::SqliteLoader;

mod chunks;
mod credentials;
mod error;
mod file;
mod loading;
mod rows;
mod runs;
mod schema;
mod sessions;
mod value;

/// An SQLite file with a ledger in it.
pub(super) struct Sqlite {
    connection: Connection,
    path: PathBuf,
    /// This process's session on a run.
    session: Option<u32>,
    /// The lock, held as long as the ledger is open for writing.
    _lock: Option<Lock>,
}

impl Sqlite {
    pub(super) fn open(path: &Path) -> Result<Self, LedgerError> {
        file::look(path)?;
        let ledger = Self::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        // Before anything is written, a lock file beside it included.
        file::refuse_foreign(&ledger.connection, path)?;
        Self { _lock: Some(file::lock(path)?), ..ledger }.with_schema()
    }

    pub(super) fn open_to_read(path: &Path) -> Result<Self, LedgerError> {
        match file::look(path)? {
            FileState::Missing => return Err(LedgerError::Missing { path: path.to_owned() }),
            FileState::Empty => return Err(LedgerError::Empty { path: path.to_owned() }),
            FileState::Sqlite => {}
        }
        // Reading a WAL file needs its shared memory, which is written to: hence not read-only.
        let ledger = Self::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        file::refuse_foreign(&ledger.connection, path)?;
        ledger.with_schema()
    }

    pub(super) fn open_temporary() -> Result<Self, LedgerError> {
        Self::connect(Path::new(""), OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?
            .with_schema()
    }

    fn connect(path: &Path, flags: OpenFlags) -> Result<Self, LedgerError> {
        match Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX) {
            Ok(connection) => Ok(Self { connection, path: path.to_owned(), session: None, _lock: None }),
            Err(source) => Err(of_file(path, source)),
        }
    }

    fn with_schema(self) -> Result<Self, LedgerError> {
        schema::prepare(&self.connection).map_err(|source| of_file(&self.path, source))?;
        match schema::version(&self.connection).map_err(|source| of_file(&self.path, source))? {
            VERSION => Ok(self),
            found => {
                let ledger = ShownPath(&self.path).to_string();
                Err(LedgerError::Version { ledger, found, known: VERSION })
            }
        }
    }

    /// Calls the database, and names it in the error.
    fn call<T>(
        &mut self,
        call: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, LedgerError> {
        call(&mut self.connection).map_err(|source| of_file(&self.path, source))
    }

    /// As [`Self::call`], without waiting for the disk: the write becomes durable with the next
    /// change that waits, at the latest with the next request. A power failure until then (not the
    /// end of this process) undoes it, and the state of `sent` rows is read from the hub again.
    fn call_ahead_of_disk<T>(
        &mut self,
        call: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, LedgerError> {
        self.call(|connection| schema::wait_for_disk(connection, false))?;
        let result = self.call(call);
        self.call(|connection| schema::wait_for_disk(connection, true))?;
        result
    }
}

impl Store for Sqlite {
    fn load_run(&mut self, facts: &RunFacts<'_>) -> Result<Loader<'_>, LedgerError> {
        Ok(Box::new(SqliteLoader::begin(&mut self.connection, &self.path, facts)?))
    }

    fn begin_session(&mut self, run: RunId, by: &Operator, now: &Timestamp) -> Result<(), LedgerError> {
        self.session = Some(self.call(|connection| sessions::begin(connection, run, by, now))?);
        Ok(())
    }

    fn add_progress_sample(&mut self, run: RunId, sample: &ProgressSample) -> Result<(), LedgerError> {
        match self.session {
            Some(session) => {
                self.call(|connection| sessions::add_progress_sample(connection, run, session, sample))
            }
            None => Ok(()),
        }
    }

    fn begin_work(&mut self, run: RunId, _: Duration) -> Result<(), LedgerError> {
        self.call(|connection| chunks::begin_work(connection, run))
    }

    fn claim(&mut self, run: RunId) -> Result<Claim, LedgerError> {
        self.call_ahead_of_disk(|connection| chunks::claim(connection, run))
    }

    fn awaited_devices(
        &mut self,
        run: RunId,
        after: Option<&DeviceId>,
        limit: usize,
    ) -> Result<Vec<DeviceId>, LedgerError> {
        let after = after.map_or("", DeviceId::as_str);
        self.call(|connection| chunks::awaited_devices(connection, run, after, limit))
    }

    fn wake(&mut self, run: RunId, devices: &[DeviceId]) -> Result<u64, LedgerError> {
        self.call_ahead_of_disk(|connection| chunks::wake(connection, run, devices))
    }

    fn wake_stranded(&mut self, run: RunId) -> Result<RowsLeft, LedgerError> {
        self.call_ahead_of_disk(|connection| chunks::wake_stranded(connection, run))
    }

    fn count_stations(&mut self, _: RunId) -> Result<NonZeroU32, LedgerError> {
        Ok(NonZeroU32::MIN)
    }

    fn renew_leases(&mut self) -> Result<(), LedgerError> {
        // The lock on the file is the lease.
        Ok(())
    }

    fn release_leases(&mut self) -> Result<(), LedgerError> {
        Ok(())
    }

    fn mark_sent(&mut self, lease: &Lease, sent: &[Sent], now: &Timestamp) -> Result<(), LedgerError> {
        let session = self.session;
        let at = Context { session: session.as_ref(), now };
        let changes = sent.iter().map(|sent| sent.change(at));
        held(lease, self.call(|connection| rows::update(connection, lease.run, Some(lease), changes))?)
    }

    fn record(&mut self, lease: &Lease, ended: &[Ended], now: &Timestamp) -> Result<(), LedgerError> {
        let session = self.session;
        let at = Context { session: session.as_ref(), now };
        let changes = ended.iter().map(|ended| ended.change(at));
        let recorded =
            self.call_ahead_of_disk(|connection| rows::update(connection, lease.run, Some(lease), changes))?;
        held(lease, recorded)
    }

    fn finish_chunk(&mut self, lease: &Lease) -> Result<(), LedgerError> {
        held(lease, self.call_ahead_of_disk(|connection| chunks::finish(connection, lease))?)
    }

    fn refuse(
        &mut self,
        run: RunId,
        records: &[(IdentityId, Record)],
        now: &Timestamp,
    ) -> Result<(), LedgerError> {
        let ended: Vec<Ended> = records.iter().cloned().map(Ended::from).collect();
        let session = self.session;
        let at = Context { session: session.as_ref(), now };
        let changes = ended.iter().map(|ended| ended.change(at));
        self.call(|connection| rows::update(connection, run, None, changes)).map(drop)
    }

    fn set_seen(&mut self, run: RunId, seen: &[VerifiedRow]) -> Result<(), LedgerError> {
        self.call(|connection| rows::update(connection, run, None, seen.iter().map(VerifiedRow::change)))
            .map(drop)
    }

    fn set_verification(&mut self, run: RunId, verification: &Verification) -> Result<(), LedgerError> {
        self.call(|connection| runs::set_verification(connection, run, verification))
    }

    fn replace_wanted(&mut self, run: RunId, issued: &[(&IdentitySpec, &str)]) -> Result<(), LedgerError> {
        let changes = issued.iter().map(|(spec, serial)| row::issued(spec, serial));
        self.call(|connection| rows::update(connection, run, None, changes)).map(drop)
    }

    fn remember(&mut self, run: RunId, owned: &[(IdentityId, Credential)]) -> Result<(), LedgerError> {
        self.call(|connection| credentials::remember_all(connection, run, owned))
    }

    fn claim_again(
        &mut self,
        run: RunId,
        wanted: &[(IdentityId, Credential)],
    ) -> Result<Vec<(IdentityId, CredentialConflict)>, LedgerError> {
        self.call(|connection| credentials::claim_again(connection, run, wanted))
    }

    fn find_conflict(
        &mut self,
        identity: &IdentityId,
        credentials: &[Credential],
    ) -> Result<Option<CredentialConflict>, LedgerError> {
        self.call(|connection| credentials::find_conflict(connection, identity, credentials))
    }

    fn forget_undone(&mut self, run: RunId, undo: RunId) -> Result<(), LedgerError> {
        self.call(|connection| credentials::forget_undone(connection, run, undo))
    }

    fn forget_reverted(&mut self, run: RunId) -> Result<(), LedgerError> {
        self.call(|connection| credentials::forget_reverted(connection, run))
    }

    fn page(
        &mut self,
        run: RunId,
        filter: RowFilter,
        after: Option<&IdentityId>,
        limit: usize,
    ) -> Result<Vec<LedgerRow>, LedgerError> {
        self.call(|connection| rows::page(connection, run, filter, after, limit))
    }

    fn row(&mut self, run: RunId, identity: &IdentityId) -> Result<Option<LedgerRow>, LedgerError> {
        self.call(|connection| rows::one(connection, run, identity))
    }

    fn hold(
        &mut self,
        hub: &str,
        device: &IdentityId,
        before: Option<RunId>,
    ) -> Result<Option<Hold>, LedgerError> {
        let past = self.call(|connection| rows::past(connection, hub, device, before))?;
        Ok(hold_of(&past))
    }

    fn last_change(
        &mut self,
        hub: &str,
        identity: &IdentityId,
        run: RunId,
    ) -> Result<Option<RunId>, LedgerError> {
        let past = self.call(|connection| rows::past(connection, hub, identity, None))?;
        Ok(last_change(&past, run))
    }

    fn held_devices(&mut self, run: RunId) -> Result<Vec<HeldDevices>, LedgerError> {
        self.call(|connection| runs::held_devices(connection, run))
    }

    fn unfinished_hold(
        &mut self,
        hub: &str,
        device: &IdentityId,
        before: Option<RunId>,
    ) -> Result<Option<Hold>, LedgerError> {
        let past = self.call(|connection| rows::past(connection, hub, device, before))?;
        Ok(unfinished_hold_of(&past))
    }

    fn count(&mut self, run: RunId, filter: RowFilter) -> Result<u64, LedgerError> {
        self.call(|connection| rows::count(connection, run, filter))
    }

    fn end_run(&mut self, run: RunId, state: RunState, now: &Timestamp) -> Result<(), LedgerError> {
        self.call(|connection| runs::end(connection, run, state, now))
    }

    fn knows_hub(&mut self, hub: &str, but: RunId) -> Result<bool, LedgerError> {
        self.call(|connection| runs::knows_hub(connection, hub, but))
    }

    fn runs(&mut self) -> Result<Vec<ListedRun>, LedgerError> {
        self.call(|connection| runs::all(connection))
    }

    fn run(&mut self, run: Option<RunId>) -> Result<Run, LedgerError> {
        let found = self.call(|connection| runs::one(connection, run))?;
        found.ok_or_else(|| LedgerError::NoSuchRun { ledger: ShownPath(&self.path).to_string(), run })
    }

    fn sessions(&mut self, run: RunId) -> Result<Vec<Session>, LedgerError> {
        self.call(|connection| sessions::all(connection, run))
    }

    fn progress_samples(&mut self, run: RunId, session: u32) -> Result<Vec<ProgressSample>, LedgerError> {
        self.call(|connection| sessions::progress_samples(connection, run, session))
    }

    fn count_results(&mut self, run: RunId) -> Result<Totals, LedgerError> {
        self.call(|connection| runs::totals(connection, run))
    }
}

/// The outcome of a write that needs a lease: `None` if the lease is lost.
fn held(lease: &Lease, written: Option<()>) -> Result<(), LedgerError> {
    written.ok_or(LedgerError::LeaseLost { run: lease.run })
}

#[cfg(test)]
mod tests;
