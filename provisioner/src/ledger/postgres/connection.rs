//! The connection to the database, which is re-established, with growing delays, when it breaks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{BlockingRetryable, ExponentialBuilder};
use cli_support::causes::{causes, with_causes};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio_postgres::Config;
use tokio_postgres::error::SqlState;

use super::super::LedgerError;
use super::access::Servers;
use super::client::{Backend, Client, Error};
use super::memory::Memory;
use super::silence::END;
use crate::model::service_status::StatusListener;

/// A connection that comes back.
pub(super) struct Connection {
    access: Arc<Servers>,
    name: String,
    client: Option<Client>,
    /// The backend of the last broken connection, until its end is confirmed.
    lost: Option<Backend>,
    /// The data that the database must still have after a reconnection.
    pub(super) memory: Memory,
    /// The longest wait for an unavailable database.
    patience: Duration,
}

impl Connection {
    /// Connects. Errors of the access settings are returned at once; a database that does not
    /// respond is retried for a while.
    pub(super) fn open(access: &Config, name: String, status: StatusListener) -> Result<Self, LedgerError> {
        let access = Servers::new(access, status.clone()).map_err(|source| LedgerError::Database {
            ledger: name.clone(),
            is_shared: true,
            source,
        })?;
        let memory = Memory::new(status);
        let mut connection = Self {
            access: Arc::new(access),
            name,
            client: None,
            lost: None,
            memory,
            // A station may start while the database restarts; one that is not there at all is soon told.
            patience: FIRST_PATIENCE,
        };
        connection.call(|_| Ok(()))?;
        Ok(connection)
    }

    /// Sets the longest wait for an unavailable database.
    pub(super) fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// The database, without the password.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Makes a call to the database. If the connection breaks, the call is repeated on a new one,
    /// so it must be idempotent.
    pub(super) fn call<T>(
        &mut self,
        mut call: impl FnMut(&mut Client) -> Result<T, Error>,
    ) -> Result<T, LedgerError> {
        let (access, patience) = (self.access.clone(), self.patience);
        let failed = |error: &Error, delay: Duration| {
            tracing::warn!(error = %with_causes(error), ?delay, "the ledger is away");
        };
        let made = blocking(|| {
            (|| self.call_once(&mut call))
                .retry(policy())
                .when(|error: &Error| error.may_pass() && access.outage.length() < patience)
                .notify(failed)
                .call()
        });
        made.map_err(|error| self.error(error))
    }

    /// Makes a call that is not repeated.
    pub(super) fn call_once<T>(
        &mut self,
        call: impl FnOnce(&mut Client) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let begun = Instant::now();
        let made = blocking(|| {
            let mut client = self.client()?;
            let result = call(&mut client);
            match result.as_ref().is_err_and(Error::may_pass) {
                false => self.client = Some(client),
                true => self.lost = Some(client.backend().clone()),
            }
            result
        });
        let outage = &self.access.outage;
        match &made {
            Err(error) if error.may_pass() => {
                outage.begin(begun);
                outage.failed();
            }
            _ => outage.over(),
        }
        made
    }

    /// Makes a call within an open transaction. If the connection breaks, or if it and the transaction of a
    /// different station wait for each other, the transaction is rolled back.
    pub(super) fn call_within_transaction<T>(
        &mut self,
        call: impl FnOnce(&mut Client) -> Result<T, Error>,
    ) -> Result<T, LedgerError> {
        let broken = |ledger: &str, source: Error| LedgerError::LoadingBroken {
            ledger: ledger.to_owned(),
            source: source.into(),
        };
        if self.client.as_ref().is_none_or(Client::is_closed) {
            return Err(broken(&self.name, Error::Silent));
        }
        self.call_once(call).map_err(|error| match error {
            error if error.is_deadlock() => LedgerError::Overtaken { ledger: self.name.clone() },
            error if error.may_pass() => broken(&self.name, error),
            error => self.error(error),
        })
    }

    /// Rolls back an open transaction. On a broken connection the server has already done so.
    pub(super) fn roll_back(&mut self) {
        if let Some(client) = self.client.take() {
            let rolled_back = blocking(|| client.batch_execute("ROLLBACK"));
            match rolled_back {
                Ok(()) => self.client = Some(client),
                Err(_) => self.lost = Some(client.backend().clone()),
            }
        }
    }

    /// The existing connection, or a new one to a database that has all data that it must have.
    fn client(&mut self) -> Result<Client, Error> {
        if let Some(client) = self.client.take().filter(|client| !client.is_closed()) {
            return Ok(client);
        }
        let client = Client::connect(&self.access)?;
        if let Some(lost) = &self.lost {
            end(&client, lost)?;
            self.lost = None;
        }
        self.memory.compare(&client)?;
        Ok(client)
    }

    /// The error of a call as callers of a ledger know it.
    pub(super) fn error(&self, error: Error) -> LedgerError {
        let ledger = self.name.clone();
        match error {
            Error::NotUnderstood(value) => LedgerError::NotUnderstood { ledger, value: Box::new(value) },
            Error::NotStorable(error) => error.into(),
            Error::Forgotten => match self.memory.run() {
                Some(run) => LedgerError::Forgotten { ledger, run },
                None => LedgerError::Database { ledger, is_shared: true, source: error.into() },
            },
            error => LedgerError::Database { ledger, is_shared: true, source: error.into() },
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        blocking(|| drop(self.client.take()));
    }
}

/// Waits until the backend of a lost connection has ended.
fn end(client: &Client, lost: &Backend) -> Result<(), Error> {
    let deadline = Instant::now() + ENDS_WITHIN;
    while !client.query(END, &[&lost.pid, &lost.since])?.is_empty() {
        if Instant::now() > deadline {
            return Err(Error::Silent);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

impl Error {
    /// Returns true if a new connection may succeed.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Database(error) => match error.code() {
                None => error.is_closed() || has_io_cause(error),
                Some(state) => PASSING.contains(state) || state.code().starts_with("08"),
            },
            Self::Silent => true,
            Self::Forgotten
            | Self::Io(_)
            | Self::NoBackend
            | Self::NoRandomness(_)
            | Self::NotStorable(_)
            | Self::NotUnderstood(_) => false,
        }
    }

    /// Returns true if the database ended a transaction because it and a different one waited for each other.
    fn is_deadlock(&self) -> bool {
        matches!(self, Self::Database(error) if error.code() == Some(&SqlState::T_R_DEADLOCK_DETECTED))
    }

    /// Returns true if a server responded with a refusal.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Database(error) if error.code().is_some())
    }
}

/// Errors that pass when a server restarts, or a different one takes over.
const PASSING: [SqlState; 9] = [
    SqlState::ADMIN_SHUTDOWN,
    SqlState::CANNOT_CONNECT_NOW,
    SqlState::CRASH_SHUTDOWN,
    SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
    SqlState::IDLE_SESSION_TIMEOUT,
    SqlState::READ_ONLY_SQL_TRANSACTION,
    SqlState::TOO_MANY_CONNECTIONS,
    SqlState::T_R_DEADLOCK_DETECTED,
    SqlState::T_R_SERIALIZATION_FAILURE,
];

/// Returns true if the network is the cause. A certificate error is permanent; the client reports
/// it as invalid data.
fn has_io_cause(error: &tokio_postgres::Error) -> bool {
    let mut causes = causes(error).filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    causes.next().is_some_and(|cause| cause.kind() != std::io::ErrorKind::InvalidData)
}

/// Runs a call outside of the async runtime: the client has its own runtime, which must not be
/// nested.
fn blocking<T>(call: impl FnOnce() -> T) -> T {
    match Handle::try_current() {
        Ok(handle) if handle.runtime_flavor() == RuntimeFlavor::MultiThread => {
            tokio::task::block_in_place(call)
        }
        _ => call(),
    }
}

fn policy() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(5))
        .without_max_times()
        .with_jitter()
}

const FIRST_PATIENCE: Duration = Duration::from_secs(30);
const ENDS_WITHIN: Duration = Duration::from_secs(5);
