//! Loading a run, in one transaction.

use std::cell::RefCell;
use std::collections::HashMap;

use hub_types::{DeviceId, IdentityId};

use super::super::chunk::Token;
use super::super::row::stored;
use super::super::store::Load;
use super::super::stored::json_text;
use super::super::{Credential, Ended, LedgerError, Record, RowFilter, RunFacts, RunId, RunState, Taken};
use super::client::{Client, Error};
use super::columns::get;
use super::connection::Connection;
use super::{credentials, rows};
use crate::model::compare::Etags;
use crate::model::spec::{DesiredIdentity, DesiredState};

pub(super) struct PostgresLoader<'l> {
    run: RunId,
    loading: RefCell<Loading<'l>>,
}

struct Loading<'l> {
    run: RunId,
    token: Token,
    connection: &'l mut Connection,
    waiting: Vec<Waiting>,
    /// The credentials of those rows, and whose they are.
    owned: Vec<(IdentityId, Credential)>,
    owners: HashMap<(&'static str, String), IdentityId>,
    is_committed: bool,
}

/// A row that waits to be written.
struct Waiting {
    line: u64,
    identity: IdentityId,
    state: DesiredState,
    serial: Option<String>,
}

impl<'l> PostgresLoader<'l> {
    pub(super) fn begin(connection: &'l mut Connection, facts: &RunFacts<'_>) -> Result<Self, LedgerError> {
        // Whether a commit whose answer was lost was made is asked of the database by this token.
        let token = Token::draw().map_err(|error| connection.error(error.into()))?;
        let begun = connection.call(|client| {
            client.batch_execute("ROLLBACK; BEGIN")?;
            let begun = client
                .query_one(
                    "INSERT INTO run (started, state, hub, input, input_sha256, tool_version, options, operator, station,
                                      token)
                     VALUES ($1, $2, $3, $4, '', $5, $6, $7, $8, $9) RETURNING id",
                    &[
                        &facts.started,
                        &RunState::Running.as_str(),
                        &facts.hub,
                        &facts.input,
                        &env!("CARGO_PKG_VERSION"),
                        &json_text(facts.options)?,
                        &facts.by.name,
                        &facts.by.station,
                        &token.as_bytes(),
                    ],
                )?;
            get(&begun, 0)
        });
        let loading = Loading {
            run: RunId(begun?),
            token,
            connection,
            waiting: Vec::new(),
            owned: Vec::new(),
            owners: HashMap::new(),
            is_committed: false,
        };
        Ok(Self { run: loading.run, loading: RefCell::new(loading) })
    }
}

impl Load for PostgresLoader<'_> {
    fn insert(
        &self,
        line: u64,
        wanted: &DesiredIdentity,
        credentials: &[Credential],
    ) -> Result<Option<Taken>, LedgerError> {
        let mut loading = self.loading.borrow_mut();
        if let Some(taken) = loading.first_taken(&wanted.identity, credentials)? {
            return Ok(Some(taken));
        }
        for credential in credentials {
            let key = (credential.kind().as_str(), credential.value());
            loading.owners.insert(key, wanted.identity.clone());
            loading.owned.push((wanted.identity.clone(), credential.clone()));
        }
        let serial = credentials.iter().find_map(Credential::serial_number).map(str::to_owned);
        let DesiredIdentity { identity, state } = wanted.clone();
        loading.waiting.push(Waiting { line, identity, state, serial });
        if loading.waiting.len() >= ROWS_AT_ONCE {
            loading.flush()?;
        }
        Ok(None)
    }

    fn set_level(&self, device: &DeviceId, level: u32) -> Result<(), LedgerError> {
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
        loading.call(|client| rows::expect(client, run, seen))
    }

    fn refuse(&self, records: &[(IdentityId, Record)], now: &str) -> Result<(), LedgerError> {
        let mut loading = self.loading.borrow_mut();
        loading.flush()?;
        let run = self.run;
        let ended: Vec<Ended> = records.iter().cloned().map(Ended::from).collect();
        loading.call(|client| rows::record(client, (run, None), None, &ended, now)).map(drop)
    }

    fn insert_from(&self, run: RunId, filter: RowFilter) -> Result<u64, LedgerError> {
        let into = self.run;
        let sql = format!(
            r#"INSERT INTO "row" (run, device_id, module_id, line, desired, desired_hash, state, presumed,
                                      identity_etag_before, twin_etag_before, serial)
                   SELECT $1, device_id, module_id, line, desired, desired_hash, 'pending',
                          presumed OR (effect = 'created' AND (identity_etag_before IS NOT NULL OR twin_etag_before IS NOT NULL)),
                          CASE effect WHEN 'created' THEN identity_etag END,
                   CASE effect WHEN 'created' THEN twin_etag END, serial
                   FROM "row" WHERE run = $2 AND ({})"#,
            rows::condition(filter)
        );
        self.loading.borrow_mut().call(|client| client.execute(&sql, &[&into.0, &run.0]))
    }

    fn commit(self: Box<Self>, input_sha256: &str, rejected: u64) -> Result<RunId, LedgerError> {
        let mut loading = self.loading.borrow_mut();
        loading.flush()?;
        let rejected = i64::try_from(rejected).unwrap_or(i64::MAX);
        let run = self.run;
        let committed = loading.call(|client| {
            client.execute(
                "UPDATE run SET input_sha256 = $2, rejected = $3 WHERE id = $1",
                &[&run.0, &input_sha256, &rejected],
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

impl Loading<'_> {
    fn first_taken(
        &mut self,
        identity: &IdentityId,
        credentials: &[Credential],
    ) -> Result<Option<Taken>, LedgerError> {
        if credentials.is_empty() {
            return Ok(None);
        }
        let run = self.run;
        let taken = self.call(|client| credentials::first_taken(client, Some(run), identity, credentials))?;
        if taken.is_some() {
            return Ok(taken);
        }
        // The rows that wait to be written are in no table yet.
        for credential in credentials {
            let owner = self.owners.get(&(credential.kind().as_str(), credential.value()));
            if let Some(owner) = owner.filter(|owner| *owner != identity) {
                let (credential, owner) = (credential.clone(), owner.to_string());
                return Ok(Some(Taken { credential, owner, since: None }));
            }
        }
        Ok(None)
    }

    /// Writes the rows that wait to be written.
    fn flush(&mut self) -> Result<(), LedgerError> {
        let (waiting, owned) = (std::mem::take(&mut self.waiting), std::mem::take(&mut self.owned));
        self.owners.clear();
        let run = self.run;
        if !owned.is_empty() {
            self.call(|client| credentials::remember(client, run, &owned))?;
        }
        if waiting.is_empty() {
            return Ok(());
        }
        let (devices, modules) = rows::keys(waiting.iter().map(|row| &row.identity));
        let lines: Vec<i64> = waiting.iter().map(|row| i64::try_from(row.line).unwrap_or(i64::MAX)).collect();
        let stored = waiting.iter().map(|row| stored(&row.state));
        let stored =
            stored.collect::<Result<Vec<_>, _>>().map_err(|error| self.connection.error(error.into()))?;
        let (texts, hashes): (Vec<_>, Vec<_>) = stored.into_iter().unzip();
        let serials: Vec<Option<&str>> = waiting.iter().map(|row| row.serial.as_deref()).collect();
        self.call(|client| {
            client.execute(
                r#"INSERT INTO "row" (run, device_id, module_id, line, desired, desired_hash, state, serial)
                   SELECT $1, device_id, module_id, line, desired, hash, 'pending', serial
                   FROM unnest($2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[])
                       AS new (device_id, module_id, line, desired, hash, serial)"#,
                &[&run.0, &devices, &modules, &lines, &texts, &hashes, &serials],
            )
        })?;
        Ok(())
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

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        if !self.is_committed {
            self.connection.roll_back();
        }
    }
}

/// Rows that are written with one statement.
const ROWS_AT_ONCE: usize = 1_000;
