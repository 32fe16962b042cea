//! A blocking client of PostgreSQL whose waits are bounded.
//!
//! A server that is suspended or behind a broken network keeps its connections open without a
//! response, and TCP keep-alive may not notice it, because the kernel of a suspended process still
//! acknowledges. So a call without a response checks its own backend on a second connection (see
//! [`super::silence`]).

use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::Runtime;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, SimpleQueryMessage, Statement};
use tokio_util::task::AbortOnDropHandle;

use super::super::chunk::NoRandomness;
use super::super::stored::{NotStorable, NotUnderstood};
use super::access::Servers;
use super::outage::{BRIEF, DatabaseOutage};
use super::silence::answered;

/// Values of a statement's parameters.
pub(super) type Params<'p> = &'p [&'p (dyn ToSql + Sync)];

/// The error of a call.
#[derive(Debug, thiserror::Error)]
pub(in crate::ledger) enum Error {
    /// The error of the server or the connection.
    #[error(transparent)]
    Database(#[from] tokio_postgres::Error),
    /// The client could not be made.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The database lacks what this station wrote into it.
    #[error("the database lacks what was written to it")]
    Forgotten,
    /// The server does not list the connection that asks.
    #[error("the server does not list this connection in `pg_stat_activity`")]
    NoBackend,
    /// A token can't be drawn.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// A value that can't be written.
    #[error(transparent)]
    NotStorable(#[from] NotStorable),
    /// A value that was read.
    #[error(transparent)]
    NotUnderstood(#[from] NotUnderstood),
    /// The server does not respond, or has lost the connection.
    #[error("the server does not answer")]
    Silent,
}

/// A backend: the server's process of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Backend {
    pub(super) pid: String,
    pub(super) since: String,
}

/// A connection.
pub(super) struct Client {
    inner: tokio_postgres::Client,
    access: Arc<Servers>,
    backend: Backend,
    /// The prepared statements, by their text: preparing one takes a round trip to the server.
    prepared: RefCell<HashMap<String, Statement>>,
    runtime: Runtime,
    _connection: AbortOnDropHandle<()>,
}

impl Client {
    /// Connects to the first of the servers that accepts writes.
    pub(super) fn connect(access: &Arc<Servers>) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let connecting = async {
            let (client, connection) = access.connect().await?;
            let connection = AbortOnDropHandle::new(tokio::spawn(connection));
            let backend = access.within(backend_of(&client)).await?;
            Ok::<_, Error>((client, connection, backend))
        };
        let (inner, connection, backend) = runtime.block_on(announced(connecting, &access.outage))?;
        let (access, prepared) = (access.clone(), RefCell::default());
        Ok(Self { inner, access, backend, prepared, runtime, _connection: connection })
    }

    /// The server's process for this connection.
    pub(super) fn backend(&self) -> &Backend {
        &self.backend
    }

    /// Returns true if the connection has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }

    pub(super) fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64, Error> {
        self.wait(async { Ok(self.inner.execute(&self.prepare(sql).await?, params).await?) })
    }

    pub(super) fn query(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, Error> {
        self.wait(async { Ok(self.inner.query(&self.prepare(sql).await?, params).await?) })
    }

    pub(super) fn query_one(&self, sql: &str, params: Params<'_>) -> Result<Row, Error> {
        self.wait(async { Ok(self.inner.query_one(&self.prepare(sql).await?, params).await?) })
    }

    pub(super) fn query_opt(&self, sql: &str, params: Params<'_>) -> Result<Option<Row>, Error> {
        self.wait(async { Ok(self.inner.query_opt(&self.prepare(sql).await?, params).await?) })
    }

    /// Runs statements that have no parameters.
    pub(super) fn batch_execute(&self, sql: &str) -> Result<(), Error> {
        self.wait(async { Ok(self.inner.batch_execute(sql).await?) })
    }

    /// Runs all calls in one transaction.
    pub(super) fn transaction<T>(&self, work: impl FnOnce(&Self) -> Result<T, Error>) -> Result<T, Error> {
        self.batch_execute("BEGIN")?;
        let worked = work(self);
        match &worked {
            Ok(_) => self.batch_execute("COMMIT")?,
            // On a connection that is broken the server rolls back by itself.
            Err(_) => drop(self.batch_execute("ROLLBACK")),
        }
        worked
    }

    async fn prepare(&self, sql: &str) -> Result<Statement, tokio_postgres::Error> {
        if let Some(statement) = self.prepared.borrow().get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.inner.prepare(sql).await?;
        self.prepared.borrow_mut().insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    fn wait<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        // Pinned here, so that its state, which is large, is not moved.
        let call = pin!(answered(call, &self.access, &self.backend));
        self.runtime.block_on(call)
    }
}

/// Waits for a connection, and notifies people if that takes long.
async fn announced<T>(connecting: impl Future<Output = T>, outage: &DatabaseOutage) -> T {
    let (begun, mut connecting) = (Instant::now(), pin!(connecting));
    if let Ok(connected) = tokio::time::timeout(BRIEF, &mut connecting).await {
        return connected;
    }
    outage.begin(begun);
    outage.failed();
    connecting.await
}

/// The backend of a new connection, which also gets its settings.
async fn backend_of(client: &tokio_postgres::Client) -> Result<Backend, Error> {
    let messages = client
        .simple_query(
            "SET search_path TO provisioner; SET statement_timeout TO '5min';
             SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()",
        )
        .await?;
    let backend = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            Some(Backend { pid: row.get(0)?.to_owned(), since: row.get(1)?.to_owned() })
        }
        _ => None,
    });
    backend.ok_or(Error::NoBackend)
}
