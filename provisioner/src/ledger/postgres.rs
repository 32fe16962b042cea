//! The ledger that stations share: a schema `provisioner` in a PostgreSQL database.
//!
//! Chunks are given out with `FOR UPDATE SKIP LOCKED`, on leases that end by the database's clock.
//! Each time a chunk is given out its fence rises, and every write to its rows asks for the fence in
//! the same statement: so a station that slept past its lease can't write over what another found.

use std::num::NonZeroU32;
use std::time::Duration;

use hub_types::IdentityId;
use postgres::Config;

use super::store::{Loader, Store};
use super::{
    Claim, Credential, Effect, Lease, LedgerError, LedgerLocation, LedgerRow, Record, RowFilter, Run,
    RunFacts, RunId, RunState, Totals,
};
use crate::desired::DesiredIdentity;
use crate::standing::Etags;
use connection::Connection;
use loading::PostgresLoader;
pub(super) use password::password_of;

mod chunks;
mod connection;
mod credentials;
mod loading;
mod password;
mod rows;
mod runs;
mod schema;
mod stations;

/// A database with a ledger in it.
pub(super) struct Postgres {
    connection: Connection,
    /// The number that tells this station from others.
    station: i64,
    /// How long a lease lasts.
    lease: Duration,
    /// The leases that were given and not ended.
    held: Vec<Lease>,
}

impl Postgres {
    pub(super) fn open(access: &Config) -> Result<Self, LedgerError> {
        let name = LedgerLocation::Postgres(Box::new(access.clone())).to_string();
        let mut connection = Connection::open(access.clone(), name)?;
        let found = connection.call(schema::prepare)?;
        match found {
            schema::VERSION => {
                let station = fastrand::i64(..);
                Ok(Self { connection, station, lease: Duration::ZERO, held: Vec::new() })
            }
            found => {
                let ledger = connection.name().to_owned();
                Err(LedgerError::Version { ledger, found, known: schema::VERSION })
            }
        }
    }

    /// Forgets a lease that turned out to be lost.
    fn held<T>(&mut self, lease: &Lease, written: Option<T>) -> Result<T, LedgerError> {
        written.ok_or_else(|| {
            self.held.retain(|held| held != lease);
            LedgerError::LeaseLost { run: lease.run }
        })
    }
}

impl Store for Postgres {
    fn load_run(&mut self, facts: &RunFacts<'_>) -> Result<Loader<'_>, LedgerError> {
        Ok(Box::new(PostgresLoader::begin(&mut self.connection, facts)?))
    }

    fn begin_work(&mut self, run: RunId, lease: Duration) -> Result<(), LedgerError> {
        self.lease = lease;
        self.connection.call(|client| chunks::begin_work(client, run))
    }

    fn claim(&mut self, run: RunId) -> Result<Claim, LedgerError> {
        let lease = self.lease;
        let claim = self.connection.call(|client| chunks::claim(client, run, lease))?;
        if let Claim::Chunk(chunk) = &claim {
            self.held.push(chunk.lease);
        }
        Ok(claim)
    }

    fn count_stations(&mut self, run: RunId) -> Result<NonZeroU32, LedgerError> {
        let (station, lease) = (self.station, self.lease);
        self.connection.call(|client| stations::count(client, station, run, lease))
    }

    fn renew_leases(&mut self) -> Result<(), LedgerError> {
        let (lease, held) = (self.lease, &self.held);
        self.connection.call(|client| chunks::renew(client, held, lease))
    }

    fn release_leases(&mut self) -> Result<(), LedgerError> {
        let (station, held) = (self.station, std::mem::take(&mut self.held));
        self.connection.call(|client| chunks::renew(client, &held, Duration::ZERO))?;
        self.connection.call(|client| stations::leave(client, station))
    }

    fn mark_sent(&mut self, lease: &Lease, sent: &[(IdentityId, Effect)]) -> Result<(), LedgerError> {
        let length = self.lease;
        let written = self.connection.call(|client| rows::mark_sent(client, lease, length, sent))?;
        self.held(lease, written)
    }

    fn record(
        &mut self,
        lease: &Lease,
        records: &[(IdentityId, Record)],
        now: &str,
    ) -> Result<(), LedgerError> {
        let length = self.lease;
        let written = self
            .connection
            .call(|client| rows::record(client, lease.run, Some((lease, length)), records, now))?;
        self.held(lease, written)
    }

    fn finish_chunk(&mut self, lease: &Lease) -> Result<(), LedgerError> {
        let written = self.connection.call(|client| chunks::finish(client, lease))?;
        self.held(lease, written)?;
        self.held.retain(|held| held != lease);
        Ok(())
    }

    fn refuse(&mut self, run: RunId, records: &[(IdentityId, Record)], now: &str) -> Result<(), LedgerError> {
        self.connection.call(|client| rows::record(client, run, None, records, now)).map(drop)
    }

    fn set_etags(&mut self, run: RunId, seen: &[(IdentityId, Etags)]) -> Result<(), LedgerError> {
        self.connection.call(|client| rows::set_etags(client, run, seen))
    }

    fn replace_wanted(&mut self, run: RunId, wanted: &[&DesiredIdentity]) -> Result<(), LedgerError> {
        self.connection.call(|client| rows::replace_wanted(client, run, wanted))
    }

    fn remember(&mut self, run: RunId, owned: &[(IdentityId, Credential)]) -> Result<(), LedgerError> {
        self.connection.call(|client| credentials::remember(client, run, owned))
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

    fn count(&mut self, run: RunId, filter: RowFilter) -> Result<u64, LedgerError> {
        self.connection.call(|client| rows::count(client, run, filter))
    }

    fn end_run(&mut self, run: RunId, state: RunState, now: &str) -> Result<(), LedgerError> {
        self.connection.call(|client| runs::end(client, run, state, now))
    }

    fn knows_hub(&mut self, hub: &str, but: RunId) -> Result<bool, LedgerError> {
        self.connection.call(|client| runs::knows_hub(client, hub, but))
    }

    fn runs(&mut self) -> Result<Vec<Run>, LedgerError> {
        self.connection.call(runs::all)
    }

    fn run(&mut self, run: Option<RunId>) -> Result<Run, LedgerError> {
        let found = self.connection.call(|client| runs::one(client, run))?;
        found.ok_or_else(|| LedgerError::NoSuchRun { ledger: self.connection.name().to_owned(), run })
    }

    fn totals(&mut self, run: RunId) -> Result<Totals, LedgerError> {
        self.connection.call(|client| runs::totals(client, run))
    }
}
