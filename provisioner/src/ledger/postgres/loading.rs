//! Loading of a run, in one transaction.

use std::cell::RefCell;
use std::collections::HashMap;

use hub_types::{DeviceId, IdentityId};

use super::super::chunk::FencingToken;
use super::super::column::{ResultRow, names};
use super::super::row::{self, Context};
use super::super::store::Load;
use super::super::table::Dialect::Postgres;
use super::super::{Credential, CredentialConflict, Ended, LedgerError, Record, RowFilter, RunFacts};
use super::client::{Client, Error};
use super::connection::Connection;
use super::value::parameter;
use super::{credentials, rows};
use crate::clock::Timestamp;
use crate::model::digest::Sha256Digest;
use crate::model::etags::Etags;
use crate::model::run_id::RunId;
use crate::model::spec::IdentitySpec;

pub(super) struct PostgresLoader<'l> {
    run: RunId,
    loading: RefCell<LoadState<'l>>,
}

struct LoadState<'l> {
    run: RunId,
    started: Timestamp,
    token: FencingToken,
    connection: &'l mut Connection,
    waiting: Vec<Waiting>,
    /// The credentials of those rows, and whose they are.
    owned: Vec<(IdentityId, Credential)>,
    owners: HashMap<(&'static str, String), IdentityId>,
    /// The run of the last conflict with a row that a different run has committed.
    rival: Option<RunId>,
    is_committed: bool,
}

/// A row that waits to be written.
struct Waiting {
    line: u64,
    spec: IdentitySpec,
    serial: Option<String>,
}

impl<'l> PostgresLoader<'l> {
    pub(super) fn begin(connection: &'l mut Connection, facts: &RunFacts<'_>) -> Result<Self, LedgerError> {
        // Whether a commit whose answer was lost was made is asked of the database by this token.
        let token = FencingToken::draw().map_err(|error| connection.error(error.into()))?;
        let begun = connection.call(|client| {
            client.batch_execute("ROLLBACK; BEGIN")?;
            let (cells, token) = (facts.cells()?, token.as_bytes());
            let sql = format!(
                "INSERT INTO run ({}, token) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING id",
                names(&cells)
            );
            let parameters = cells.iter().map(parameter).chain([&token as _]).collect::<Vec<_>>();
            client.query_one(&sql, &parameters)?.at(0)
        });
        let loading = LoadState {
            run: begun?,
            started: facts.started.clone(),
            token,
            connection,
            waiting: Vec::new(),
            owned: Vec::new(),
            owners: HashMap::new(),
            rival: None,
            is_committed: false,
        };
        Ok(Self { run: loading.run, loading: RefCell::new(loading) })
    }
}

impl Load for PostgresLoader<'_> {
    fn insert(
        &self,
        line: u64,
        spec: &IdentitySpec,
        credentials: &[Credential],
    ) -> Result<Option<CredentialConflict>, LedgerError> {
        let mut loading = self.loading.borrow_mut();
        if let Some(conflict) = loading.find_conflict(&spec.identity, credentials)? {
            loading.meet(conflict.since)?;
            return Ok(Some(conflict));
        }
        for credential in credentials {
            let key = (credential.kind().as_str(), credential.value());
            loading.owners.insert(key, spec.identity.clone());
            loading.owned.push((spec.identity.clone(), credential.clone()));
        }
        let serial = credentials.iter().find_map(Credential::serial_number).map(str::to_owned);
        loading.waiting.push(Waiting { line, spec: spec.clone(), serial });
        if loading.waiting.len() >= ROWS_AT_ONCE {
            loading.flush()?;
        }
        Ok(None)
    }

    fn set_depth(&self, device: &DeviceId, level: u32) -> Result<(), LedgerError> {
        let mut loading = self.loading.borrow_mut();
        loading.flush()?;
        let (run, device, level) = (self.run, device.as_str(), i64::from(level));
        loading.call(|client| {
            client.execute(
                r#"UPDATE "row" SET level = $3 WHERE run = $1 AND device_id = $2"#,
                &[&run.0, &device, &level],
            )
        })?;
        Ok(())
    }

    fn expect(&self, seen: &[(IdentityId, Etags)]) -> Result<(), LedgerError> {
        let mut loading = self.loading.borrow_mut();
        loading.flush()?;
        let run = self.run;
        loading.call(|client| rows::update(client, run, None, seen.iter().map(row::expected))).map(drop)
    }

    fn refuse(&self, records: &[(IdentityId, Record)], now: &Timestamp) -> Result<(), LedgerError> {
        let mut loading = self.loading.borrow_mut();
        loading.flush()?;
        let run = self.run;
        let ended: Vec<Ended> = records.iter().cloned().map(Ended::from).collect();
        let at = Context { session: None, now };
        let changes = ended.iter().map(|ended| ended.change(at));
        loading.call(|client| rows::update(client, run, None, changes)).map(drop)
    }

    fn insert_from(&self, run: RunId, filter: RowFilter) -> Result<u64, LedgerError> {
        let into = self.run;
        let sql = row::copy_sql(Postgres, filter);
        self.loading.borrow_mut().call(|client| client.execute(&sql, &[&into.0, &run.0]))
    }

    fn await_devices(&self) -> Result<(), LedgerError> {
        let mut loading = self.loading.borrow_mut();
        loading.flush()?;
        let run = self.run;
        loading.call(|client| client.execute(&row::await_sql(Postgres), &[&run.0])).map(drop)
    }

    fn commit(self: Box<Self>, input_sha256: Sha256Digest, rejected: u64) -> Result<RunId, LedgerError> {
        let mut loading = self.loading.borrow_mut();
        loading.flush()?;
        let rejected = i64::try_from(rejected).unwrap_or(i64::MAX);
        let run = self.run;
        let committed = loading.call(|client| {
            client.execute(
                "UPDATE run SET input_sha256 = $2, rejected = $3 WHERE id = $1",
                &[&run.0, &input_sha256.to_string(), &rejected],
            )?;
            client.batch_execute("COMMIT")
        });
        match committed {
            Err(error @ LedgerError::LoadingBroken { .. }) if !loading.was_committed()? => return Err(error),
            Err(LedgerError::LoadingBroken { .. }) | Ok(()) => {}
            Err(error) => return Err(error),
        }
        loading.is_committed = true;
        let token = loading.token.as_bytes().to_owned();
        loading.connection.memory.begin(run, Some(token));
        Ok(run)
    }
}

impl LoadState<'_> {
    fn find_conflict(
        &mut self,
        identity: &IdentityId,
        credentials: &[Credential],
    ) -> Result<Option<CredentialConflict>, LedgerError> {
        if credentials.is_empty() {
            return Ok(None);
        }
        let run = self.run;
        let taken =
            self.call(|client| credentials::find_conflict(client, Some(run), identity, credentials))?;
        if taken.is_some() {
            return Ok(taken);
        }
        // The rows that wait to be written are in no table yet.
        for credential in credentials {
            let owner = self.owners.get(&(credential.kind().as_str(), credential.value()));
            if let Some(owner) = owner.filter(|owner| *owner != identity) {
                let (credential, owner) = (credential.clone(), owner.to_string());
                return Ok(Some(CredentialConflict { credential, owner, since: None }));
            }
        }
        Ok(None)
    }

    /// Writes the rows that wait to be written at the first conflict with a run: the run may have been committed
    /// after they were looked at, and all conflicts are to be reported.
    fn meet(&mut self, since: Option<RunId>) -> Result<(), LedgerError> {
        if since.is_none() || since == self.rival {
            return Ok(());
        }
        self.rival = since;
        self.flush()
    }

    /// Writes the rows that wait to be written.
    fn flush(&mut self) -> Result<(), LedgerError> {
        let (waiting, owned) = (std::mem::take(&mut self.waiting), std::mem::take(&mut self.owned));
        self.owners.clear();
        let run = self.run;
        if !owned.is_empty() {
            let started = self.started.clone();
            if !self.call(|client| credentials::claim(client, run, &owned, &started))? {
                return Err(LedgerError::Overtaken { ledger: self.connection.name().to_owned() });
            }
        }
        let rows =
            waiting.iter().map(|Waiting { line, spec, serial }| row::loaded(line, spec, serial.as_deref()));
        let rows =
            rows.collect::<Result<Vec<_>, _>>().map_err(|error| self.connection.error(error.into()))?;
        self.call(|client| rows::insert(client, run, &rows))
    }

    /// Within the transaction a call can't be made again on another connection.
    fn call<T>(&mut self, call: impl FnOnce(&mut Client) -> Result<T, Error>) -> Result<T, LedgerError> {
        self.connection.call_within_transaction(call)
    }

    /// Returns true if the database has the run although the response to its commit was lost.
    fn was_committed(&mut self) -> Result<bool, LedgerError> {
        let (run, token) = (self.run, self.token);
        self.connection.call(|client| {
            let found = client
                .query_opt("SELECT 1 FROM run WHERE id = $1 AND token = $2", &[&run.0, &token.as_bytes()])?;
            Ok(found.is_some())
        })
    }
}

impl Drop for LoadState<'_> {
    fn drop(&mut self) {
        if !self.is_committed {
            self.connection.roll_back();
        }
    }
}

/// Rows that are written with one statement.
const ROWS_AT_ONCE: usize = 1_000;
