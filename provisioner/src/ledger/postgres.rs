//! The ledger that stations share: a schema `provisioner` in a PostgreSQL database.
//!
//! Chunks are claimed with `FOR UPDATE SKIP LOCKED`, on leases that expire by the database's clock.
//! Each claim increases the chunk's fence, and every write to its rows checks the fence in the same
//! statement: so a station that slept past its lease can't overwrite the results of a different
//! one.

use std::num::NonZeroU32;
use std::time::Duration;

use hub_types::{DeviceId, IdentityId};
use tokio_postgres::Config;

use super::chunk::FencingToken;
use super::past_row::{hold_of, last_change, unfinished_hold_of};
use super::row::{self, Context};
use super::store::{Loader, Store};
use super::{
    Claim, Credential, CredentialConflict, Ended, HeldDevices, Lease, LedgerError, LedgerLocation, LedgerRow,
    ListedRun, Operator, ProgressSample, Record, RowFilter, RowsLeft, Run, RunFacts, RunState, Sent, Session,
    Totals, VERSION, Verification, VerifiedRow,
};
use crate::clock::Timestamp;
use crate::model::hold::Hold;
use crate::model::run_id::RunId;
use crate::model::service_status::StatusListener;
use crate::model::spec::IdentitySpec;
use chunks::Finished;
use connection::Connection;
use loading::PostgresLoader;
pub(super) use password::password_of;
use rows::Held;

mod access;
mod chunks;
mod client;
mod connection;
mod credentials;
mod loading;
mod memory;
mod outage;
mod password;
mod rows;
mod runs;
mod schema;
mod sessions;
mod silence;
mod stations;
mod value;
mod weakness;

/// A database with a ledger in it.
pub(super) struct Postgres {
    connection: Connection,
    /// The number that tells this station from others.
    station: i64,
    /// This process's session on a run.
    session: Option<u32>,
    /// The duration of a lease.
    lease: Duration,
}

impl Postgres {
    pub(super) fn open(access: &Config, status: StatusListener) -> Result<Self, LedgerError> {
        let name = LedgerLocation::Postgres(Box::new(access.clone())).to_string();
        let mut connection = Connection::open(access, name, status)?;
        let found = connection.call(schema::prepare)?;
        match found {
            VERSION => {
                let station = fastrand::i64(..);
                connection.set_patience(PATIENCE);
                Ok(Self { connection, station, session: None, lease: Duration::ZERO })
            }
            found => {
                let ledger = connection.name().to_owned();
                Err(LedgerError::Version { ledger, found, known: VERSION })
            }
        }
    }

    /// Removes a lease that was lost.
    fn held<T>(&mut self, lease: &Lease, written: Option<T>) -> Result<T, LedgerError> {
        written.ok_or_else(|| {
            self.connection.memory.give_back(lease);
            LedgerError::LeaseLost { run: lease.run }
        })
    }
}

impl Store for Postgres {
    fn set_patience(&mut self, patience: Duration) {
        self.connection.set_patience(patience.max(PATIENCE));
    }

    fn weaknesses(&mut self) -> Result<Vec<String>, LedgerError> {
        self.connection.call(weakness::all)
    }

    fn load_run(&mut self, facts: &RunFacts<'_>) -> Result<Loader<'_>, LedgerError> {
        Ok(Box::new(PostgresLoader::begin(&mut self.connection, facts)?))
    }

    fn begin_session(&mut self, run: RunId, by: &Operator, now: &Timestamp) -> Result<(), LedgerError> {
        self.session = Some(self.connection.call(|client| sessions::begin(client, run, by, now))?);
        Ok(())
    }

    fn add_progress_sample(&mut self, run: RunId, sample: &ProgressSample) -> Result<(), LedgerError> {
        match self.session {
            Some(session) => {
                self.connection.call(|client| sessions::add_progress_sample(client, run, session, sample))
            }
            None => Ok(()),
        }
    }

    fn begin_work(&mut self, run: RunId, lease: Duration) -> Result<(), LedgerError> {
        self.lease = lease;
        let token = self.connection.call(|client| chunks::begin_work(client, run))?;
        self.connection.memory.begin(run, token);
        Ok(())
    }

    fn claim(&mut self, run: RunId) -> Result<Claim, LedgerError> {
        let lease = self.lease;
        let claim =
            self.connection.call(|client| chunks::claim(client, run, FencingToken::draw()?, lease))?;
        if let Claim::Chunk(chunk) = &claim {
            self.connection.memory.hold(chunk.lease);
        }
        Ok(claim)
    }

    fn awaited_devices(
        &mut self,
        run: RunId,
        after: Option<&DeviceId>,
        limit: usize,
    ) -> Result<Vec<DeviceId>, LedgerError> {
        let after = after.map_or("", DeviceId::as_str);
        self.connection.call(|client| chunks::awaited_devices(client, run, after, limit))
    }

    fn wake(&mut self, run: RunId, devices: &[DeviceId]) -> Result<u64, LedgerError> {
        self.connection.call(|client| chunks::wake(client, run, devices))
    }

    fn wake_stranded(&mut self, run: RunId) -> Result<RowsLeft, LedgerError> {
        self.connection.call(|client| chunks::wake_stranded(client, run))
    }

    fn count_stations(&mut self, run: RunId) -> Result<NonZeroU32, LedgerError> {
        let (station, lease) = (self.station, self.lease);
        self.connection.call(|client| stations::count(client, station, run, lease))
    }

    fn renew_leases(&mut self) -> Result<(), LedgerError> {
        let (lease, held) = (self.lease, self.connection.memory.held());
        self.connection.call(|client| chunks::renew(client, &held, lease))
    }

    fn release_leases(&mut self) -> Result<(), LedgerError> {
        let (station, held) = (self.station, self.connection.memory.held());
        self.connection.memory.give_back_all();
        self.connection.call(|client| chunks::renew(client, &held, Duration::ZERO))?;
        self.connection.call(|client| stations::leave(client, station))
    }

    fn mark_sent(&mut self, lease: &Lease, sent: &[Sent], now: &Timestamp) -> Result<(), LedgerError> {
        let (held, session) = (Held { lease, length: self.lease }, self.session);
        let at = Context { session: session.as_ref(), now };
        let written = self.connection.call(|client| {
            rows::update(client, lease.run, Some(held), sent.iter().map(|sent| sent.change(at)))
        })?;
        self.held(lease, written)
    }

    fn record(&mut self, lease: &Lease, ended: &[Ended], now: &Timestamp) -> Result<(), LedgerError> {
        let (held, session) = (Held { lease, length: self.lease }, self.session);
        let at = Context { session: session.as_ref(), now };
        let written = self.connection.call(|client| {
            rows::update(client, lease.run, Some(held), ended.iter().map(|ended| ended.change(at)))
        })?;
        self.held(lease, written)
    }

    fn finish_chunk(&mut self, lease: &Lease) -> Result<(), LedgerError> {
        let is_doubtful = self.connection.memory.is_doubtful(lease);
        match self.connection.call(|client| chunks::finish(client, lease, is_doubtful))? {
            Finished::Done => {
                self.connection.memory.finish(lease);
                Ok(())
            }
            Finished::Lost => self.held(lease, None),
            Finished::Undone => {
                self.connection.memory.tell_lost();
                self.held(lease, None)
            }
        }
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
        self.connection
            .call(|client| rows::update(client, run, None, ended.iter().map(|ended| ended.change(at))))
            .map(drop)
    }

    fn set_seen(&mut self, run: RunId, seen: &[VerifiedRow]) -> Result<(), LedgerError> {
        self.connection
            .call(|client| rows::update(client, run, None, seen.iter().map(VerifiedRow::change)))
            .map(drop)
    }

    fn set_verification(&mut self, run: RunId, verification: &Verification) -> Result<(), LedgerError> {
        self.connection.call(|client| runs::set_verification(client, run, verification))
    }

    fn replace_wanted(&mut self, run: RunId, issued: &[(&IdentitySpec, &str)]) -> Result<(), LedgerError> {
        let changes = || issued.iter().map(|(spec, serial)| row::issued(spec, serial));
        self.connection.call(|client| rows::update(client, run, None, changes())).map(drop)
    }

    fn remember(&mut self, run: RunId, owned: &[(IdentityId, Credential)]) -> Result<(), LedgerError> {
        self.connection.call(|client| credentials::remember(client, run, owned))
    }

    fn claim_again(
        &mut self,
        run: RunId,
        wanted: &[(IdentityId, Credential)],
    ) -> Result<Vec<(IdentityId, CredentialConflict)>, LedgerError> {
        self.connection.call(|client| credentials::claim_again(client, run, wanted))
    }

    fn find_conflict(
        &mut self,
        identity: &IdentityId,
        credentials: &[Credential],
    ) -> Result<Option<CredentialConflict>, LedgerError> {
        self.connection.call(|client| credentials::find_conflict(client, None, identity, credentials))
    }

    fn forget_undone(&mut self, run: RunId, undo: RunId) -> Result<(), LedgerError> {
        self.connection.call(|client| credentials::forget_undone(client, run, undo))
    }

    fn forget_reverted(&mut self, run: RunId) -> Result<(), LedgerError> {
        self.connection.call(|client| credentials::forget_reverted(client, run))
    }

    fn page(
        &mut self,
        run: RunId,
        filter: RowFilter,
        after: Option<&IdentityId>,
        limit: usize,
    ) -> Result<Vec<LedgerRow>, LedgerError> {
        self.connection.call(|client| rows::page(client, run, filter, after, limit))
    }

    fn row(&mut self, run: RunId, identity: &IdentityId) -> Result<Option<LedgerRow>, LedgerError> {
        self.connection.call(|client| rows::one(client, run, identity))
    }

    fn hold(
        &mut self,
        hub: &str,
        device: &IdentityId,
        before: Option<RunId>,
    ) -> Result<Option<Hold>, LedgerError> {
        let past = self.connection.call(|client| rows::past(client, hub, device, before))?;
        Ok(hold_of(&past))
    }

    fn last_change(
        &mut self,
        hub: &str,
        identity: &IdentityId,
        run: RunId,
    ) -> Result<Option<RunId>, LedgerError> {
        let past = self.connection.call(|client| rows::past(client, hub, identity, None))?;
        Ok(last_change(&past, run))
    }

    fn held_devices(&mut self, run: RunId) -> Result<Vec<HeldDevices>, LedgerError> {
        self.connection.call(|client| runs::held_devices(client, run))
    }

    fn unfinished_hold(
        &mut self,
        hub: &str,
        device: &IdentityId,
        before: Option<RunId>,
    ) -> Result<Option<Hold>, LedgerError> {
        let past = self.connection.call(|client| rows::past(client, hub, device, before))?;
        Ok(unfinished_hold_of(&past))
    }

    fn count(&mut self, run: RunId, filter: RowFilter) -> Result<u64, LedgerError> {
        self.connection.call(|client| rows::count(client, run, filter))
    }

    fn end_run(&mut self, run: RunId, state: RunState, now: &Timestamp) -> Result<(), LedgerError> {
        match self.connection.call(|client| runs::end(client, run, state, now))? {
            true => Ok(()),
            false => {
                let ledger = self.connection.name().to_owned();
                Err(LedgerError::Forgotten { ledger, run })
            }
        }
    }

    fn knows_hub(&mut self, hub: &str, but: RunId) -> Result<bool, LedgerError> {
        self.connection.call(|client| runs::knows_hub(client, hub, but))
    }

    fn runs(&mut self) -> Result<Vec<ListedRun>, LedgerError> {
        self.connection.call(runs::all)
    }

    fn run(&mut self, run: Option<RunId>) -> Result<Run, LedgerError> {
        let found = self.connection.call(|client| runs::one(client, run))?;
        found.ok_or_else(|| LedgerError::NoSuchRun { ledger: self.connection.name().to_owned(), run })
    }

    fn sessions(&mut self, run: RunId) -> Result<Vec<Session>, LedgerError> {
        self.connection.call(|client| sessions::all(client, run))
    }

    fn progress_samples(&mut self, run: RunId, session: u32) -> Result<Vec<ProgressSample>, LedgerError> {
        self.connection.call(|client| sessions::progress_samples(client, run, session))
    }

    fn count_results(&mut self, run: RunId) -> Result<Totals, LedgerError> {
        self.connection.call(|client| runs::totals(client, run))
    }
}

/// The longest wait for an unavailable database.
const PATIENCE: Duration = Duration::from_secs(600);
