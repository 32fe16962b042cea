//! The loading of a run, in one transaction.

use std::path::Path;

use hub_types::{DeviceId, IdentityId};
use rusqlite::{Connection, Params, Transaction, params};

use super::super::row::{key, stored};
use super::super::store::Load;
use super::super::stored::json_text;
use super::super::{Credential, Ended, LedgerError, Record, RowFilter, RunFacts, RunId, RunState, Taken};
use super::error::{of_file, unstorable};
use super::{credentials, rows};
use crate::model::compare::Etags;
use crate::model::spec::DesiredIdentity;

pub(super) struct SqliteLoader<'l> {
    transaction: Transaction<'l>,
    path: &'l Path,
    run: RunId,
}

impl<'l> SqliteLoader<'l> {
    pub(super) fn begin(
        connection: &'l mut Connection,
        path: &'l Path,
        facts: &RunFacts<'_>,
    ) -> Result<Self, LedgerError> {
        let (transaction, run) = begin_run(connection, facts).map_err(|source| of_file(path, source))?;
        Ok(Self { transaction, path, run })
    }

    /// Returns the number of written rows.
    fn execute(&self, sql: &str, values: impl Params) -> Result<u64, LedgerError> {
        let execute = || self.transaction.prepare_cached(sql)?.execute(values);
        execute().map(|count| count as u64).map_err(|source| of_file(self.path, source))
    }
}

impl Load for SqliteLoader<'_> {
    fn insert(
        &self,
        line: u64,
        wanted: &DesiredIdentity,
        credentials: &[Credential],
    ) -> Result<Option<Taken>, LedgerError> {
        let claimed = credentials::claim(&self.transaction, self.run, &wanted.identity, credentials);
        if let Some(taken) = claimed.map_err(|source| of_file(self.path, source))? {
            return Ok(Some(taken));
        }
        let (device, module) = key(&wanted.identity);
        let stored = stored(&wanted.state).map_err(unstorable);
        let (text, hash) = stored.map_err(|source| of_file(self.path, source))?;
        let serial = credentials.iter().find_map(Credential::serial_number);
        self.execute(
            "INSERT INTO row (run, device_id, module_id, level, line, desired, desired_hash, state, serial)
             VALUES (?1, ?2, ?3, 0, ?4, ?5, ?6, 'pending', ?7)",
            params![self.run.0, device, module, line, text, hash, serial],
        )?;
        Ok(None)
    }

    fn set_level(&self, device: &DeviceId, level: u32) -> Result<(), LedgerError> {
        self.execute(
            "UPDATE row SET level = ?3 WHERE run = ?1 AND device_id = ?2",
            params![self.run.0, device.as_str(), level],
        )
        .map(drop)
    }

    fn expect(&self, seen: &[(IdentityId, Etags)]) -> Result<(), LedgerError> {
        let written = rows::expect(&self.transaction, self.run, seen);
        written.map_err(|source| of_file(self.path, source))
    }

    fn refuse(&self, records: &[(IdentityId, Record)], now: &str) -> Result<(), LedgerError> {
        let ended: Vec<Ended> = records.iter().cloned().map(Ended::from).collect();
        let written = rows::record_within(&self.transaction, (self.run, None), &ended, now);
        written.map_err(|source| of_file(self.path, source))
    }

    fn insert_from(&self, run: RunId, filter: RowFilter) -> Result<u64, LedgerError> {
        let sql = format!(
            "INSERT INTO row (run, device_id, module_id, level, line, desired, desired_hash, state, presumed,
                              identity_etag_before, twin_etag_before, serial)
             SELECT ?1, device_id, module_id, 0, line, desired, desired_hash, 'pending',
                    presumed OR (effect = 'created' AND (identity_etag_before IS NOT NULL OR twin_etag_before IS NOT NULL)),
                    CASE effect WHEN 'created' THEN identity_etag END,
                   CASE effect WHEN 'created' THEN twin_etag END, serial
             FROM row WHERE run = ?2 AND ({})",
            rows::condition(filter)
        );
        self.execute(&sql, params![self.run.0, run.0])
    }

    fn commit(self: Box<Self>, input_sha256: &str, rejected: u64) -> Result<RunId, LedgerError> {
        self.execute(
            "UPDATE run SET input_sha256 = ?2, rejected = ?3 WHERE id = ?1",
            params![self.run.0, input_sha256, rejected],
        )?;
        let Self { transaction, path, run } = *self;
        transaction.commit().map_err(|source| of_file(path, source))?;
        Ok(run)
    }
}

fn begin_run<'c>(
    connection: &'c mut Connection,
    facts: &RunFacts<'_>,
) -> rusqlite::Result<(Transaction<'c>, RunId)> {
    let options = json_text(facts.options).map_err(unstorable)?;
    let transaction = connection.transaction()?;
    let (running, version) = (RunState::Running.to_string(), env!("CARGO_PKG_VERSION"));
    transaction.execute(
        "INSERT INTO run (started, state, hub, input, input_sha256, tool_version, options, operator, station)
         VALUES (?1, ?2, ?3, ?4, '', ?5, ?6, ?7, ?8)",
        params![
            facts.started,
            running,
            facts.hub,
            facts.input,
            version,
            options,
            facts.by.name,
            facts.by.station
        ],
    )?;
    let run = RunId(transaction.last_insert_rowid());
    Ok((transaction, run))
}
