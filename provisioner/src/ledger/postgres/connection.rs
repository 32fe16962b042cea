//! The connection to the database: made anew, with growing delays, when it breaks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{BlockingRetryable, ExponentialBuilder};
use postgres::error::SqlState;
use postgres::{Client, Config, Error};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::super::LedgerError;
use super::outage::Outage;
use crate::sign::tell;

/// A connection that comes back.
pub(super) struct Connection {
    access: Config,
    name: String,
    tls: ClientConfig,
    client: Option<Client>,
}

impl Connection {
    /// Connects. What is wrong with the access is said at once; a database that does not answer is tried for a
    /// while.
    pub(super) fn open(access: Config, name: String) -> Result<Self, LedgerError> {
        let database = |source: Box<dyn std::error::Error + Send + Sync>| LedgerError::Database {
            ledger: name.clone(),
            source,
        };
        let tls = tls().map_err(database)?;
        let mut access = access;
        access.application_name("provisioner").connect_timeout(CONNECT_TIMEOUT);
        // A database that vanished without a word is noticed by its silence.
        access.keepalives_idle(KEEPALIVE).keepalives_interval(KEEPALIVE).keepalives_retries(3);
        // A station may start while the database restarts; one that is not there at all is soon told.
        let first = policy().with_max_times(FIRST_RETRIES);
        let client = persistently(first, || connect(&access, &tls));
        let client = client.map_err(|error| database(error.into()))?;
        Ok(Self { access, name, tls, client: Some(client) })
    }

    /// The database, without the password.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Makes a call to the database. When the connection breaks, the call is made again on a new one:
    /// it must be such that it may have been made before.
    pub(super) fn call<T>(
        &mut self,
        mut call: impl FnMut(&mut Client) -> Result<T, Error>,
    ) -> Result<T, LedgerError> {
        let made = persistently(policy(), || self.call_once(&mut call));
        made.map_err(|error| self.error(error))
    }

    /// Makes a call that is not made again.
    pub(super) fn call_once<T>(
        &mut self,
        call: impl FnOnce(&mut Client) -> Result<T, Error>,
    ) -> Result<T, Error> {
        blocking(|| {
            let mut client = match self.client.take() {
                Some(client) if !client.is_closed() => client,
                _ => connect(&self.access, &self.tls)?,
            };
            let result = call(&mut client);
            if !result.as_ref().is_err_and(may_pass) {
                self.client = Some(client);
            }
            result
        })
    }

    pub(super) fn error(&self, source: Error) -> LedgerError {
        LedgerError::Database { ledger: self.name.clone(), source: source.into() }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        blocking(|| drop(self.client.take()));
    }
}

/// Makes a call again and again while a new connection may do what the last one could not, and tells people
/// when that lasts.
fn persistently<T>(policy: ExponentialBuilder, call: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    let mut outage = Outage::new(Instant::now());
    let failed = |error: &Error, delay: Duration| {
        tracing::warn!(error = %crate::causes::with_causes(error), ?delay, "the ledger is away");
        tell(outage.failed(Instant::now()));
    };
    let made = blocking(|| call.retry(policy).when(may_pass).notify(failed).call());
    if made.is_ok() {
        tell(outage.over(Instant::now()));
    }
    made
}

fn connect(access: &Config, tls: &ClientConfig) -> Result<Client, Error> {
    let mut client = access.connect(MakeRustlsConnect::new(tls.clone()))?;
    client.batch_execute("SET search_path TO provisioner; SET statement_timeout TO '5min'")?;
    Ok(client)
}

/// Trusts the roots that `PGSSLROOTCERT` names, as PostgreSQL's own tools do, or the system's.
fn tls() -> Result<ClientConfig, Box<dyn std::error::Error + Send + Sync>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let Some(file) = std::env::var_os("PGSSLROOTCERT").filter(|file| !file.is_empty()) else {
        return Ok(builder.with_platform_verifier()?.with_no_client_auth());
    };
    let mut roots = RootCertStore::empty();
    let unusable = |error: &dyn std::fmt::Display| format!("PGSSLROOTCERT can't be used: {error}");
    for root in CertificateDer::pem_file_iter(file).map_err(|error| unusable(&error))? {
        roots.add(root.map_err(|error| unusable(&error))?)?;
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Whether a new connection may do what this one could not.
fn may_pass(error: &Error) -> bool {
    let state = error.code();
    let broken = state.is_none() && (error.is_closed() || has_io_cause(error));
    broken
        || state.is_some_and(|state| {
            let passing = [
                SqlState::ADMIN_SHUTDOWN,
                SqlState::CANNOT_CONNECT_NOW,
                SqlState::CRASH_SHUTDOWN,
                SqlState::TOO_MANY_CONNECTIONS,
                SqlState::T_R_DEADLOCK_DETECTED,
                SqlState::T_R_SERIALIZATION_FAILURE,
            ];
            passing.contains(state) || state.code().starts_with("08")
        })
}

fn has_io_cause(error: &Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.is::<std::io::Error>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The client has a runtime of its own, which must not be entered from within another.
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
        .with_max_times(MAX_RETRIES)
        .with_jitter()
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Some thirty seconds in all.
const FIRST_RETRIES: usize = 9;
const KEEPALIVE: Duration = Duration::from_secs(10);
/// With delays of up to five seconds: some ten minutes in all.
const MAX_RETRIES: usize = 120;
