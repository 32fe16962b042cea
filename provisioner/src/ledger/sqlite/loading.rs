//! The loading of a run, in one transaction.

use std::cell::OnceCell;
use std::path::Path;

use hub_types::{DeviceId, IdentityId};
use rusqlite::{Connection, Params, Transaction, params, params_from_iter};

use super::super::column::names;
use super::super::row::{self, Context};
use super::super::store::Load;
use super::super::table::Dialect::Sqlite;
use super::super::{Credential, CredentialConflict, Ended, LedgerError, Record, RowFilter, RunFacts};
use super::error::{of_file, unstorable};
use super::{credentials, rows};
use crate::clock::Timestamp;
use crate::model::digest::Sha256Digest;
use crate::model::etags::Etags;
use crate::model::run_id::RunId;
use crate::model::spec::IdentitySpec;

pub(super) struct SqliteLoader<'l> {
    transaction: Transaction<'l>,
    path: &'l Path,
    run: RunId,
    started: Timestamp,
    /// The statement that inserts a row.
    insert_sql: OnceCell<String>,
}

impl<'l> SqliteLoader<'l> {
    pub(super) fn begin(
        connection: &'l mut Connection,
        path: &'l Path,
        facts: &RunFacts<'_>,
    ) -> Result<Self, LedgerError> {
        let (transaction, run) = begin_run(connection, facts).map_err(|source| of_file(path, source))?;
        let started = facts.started.clone();
        Ok(Self { transaction, path, run, started, insert_sql: OnceCell::new() })
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
        spec: &IdentitySpec,
        credentials: &[Credential],
    ) -> Result<Option<CredentialConflict>, LedgerError> {
        let claimed =
            credentials::claim(&self.transaction, self.run, &spec.identity, credentials, &self.started);
        if let Some(conflict) = claimed.map_err(|source| of_file(self.path, source))? {
            return Ok(Some(conflict));
        }
        let serial = credentials.iter().find_map(Credential::serial_number);
        let insert = || {
            let row = row::loaded(&line, spec, serial).map_err(unstorable)?;
            let sql = self.insert_sql.get_or_init(|| rows::insert_sql(&row));
            rows::write(&mut *self.transaction.prepare_cached(sql)?, self.run, &row)
        };
        insert().map_err(|source| of_file(self.path, source))?;
        Ok(None)
    }

    fn set_depth(&self, device: &DeviceId, level: u32) -> Result<(), LedgerError> {
        self.execute(
            "UPDATE row SET level = ?3 WHERE run = ?1 AND device_id = ?2",
            params![self.run.0, device.as_str(), level],
        )
        .map(drop)
    }

    fn expect(&self, seen: &[(IdentityId, Etags)]) -> Result<(), LedgerError> {
        let written = rows::update_within(&self.transaction, self.run, seen.iter().map(row::expected));
        written.map_err(|source| of_file(self.path, source))
    }

    fn refuse(&self, records: &[(IdentityId, Record)], now: &Timestamp) -> Result<(), LedgerError> {
        let ended: Vec<Ended> = records.iter().cloned().map(Ended::from).collect();
        let at = Context { session: None, now };
        let changes = ended.iter().map(|ended| ended.change(at));
        let written = rows::update_within(&self.transaction, self.run, changes);
        written.map_err(|source| of_file(self.path, source))
    }

    fn insert_from(&self, run: RunId, filter: RowFilter) -> Result<u64, LedgerError> {
        let sql = row::copy_sql(Sqlite, filter);
        self.execute(&sql, params![self.run.0, run.0])
    }

    fn await_devices(&self) -> Result<(), LedgerError> {
        self.execute(&row::await_sql(Sqlite), params![self.run.0]).map(drop)
    }

    fn commit(self: Box<Self>, input_sha256: Sha256Digest, rejected: u64) -> Result<RunId, LedgerError> {
        self.execute(
            "UPDATE run SET input_sha256 = ?2, rejected = ?3 WHERE id = ?1",
            params![self.run.0, input_sha256.to_string(), rejected],
        )?;
        let Self { transaction, path, run, .. } = *self;
        transaction.commit().map_err(|source| of_file(path, source))?;
        Ok(run)
    }
}

fn begin_run<'c>(
    connection: &'c mut Connection,
    facts: &RunFacts<'_>,
) -> rusqlite::Result<(Transaction<'c>, RunId)> {
    let cells = facts.cells().map_err(unstorable)?;
    let transaction = connection.transaction()?;
    let sql = format!("INSERT INTO run ({}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)", names(&cells));
    transaction.execute(&sql, params_from_iter(cells.iter().map(|cell| &cell.value)))?;
    let run = RunId(transaction.last_insert_rowid());
    Ok((transaction, run))
}
