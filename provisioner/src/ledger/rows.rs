//! Rows: one per identity of a run.

use std::path::Path;

use hub_types::{DeviceId, Etag, IdentityId, ModuleId};
use rusqlite::{Connection, Params, Row, Statement, Transaction, params};

use super::chunks::Lease;
use super::credentials::{self, Credential, Taken};
use super::runs::{RunId, RunOptions, RunState};
use super::{Effect, Ledger, LedgerError, Record, RowState};
use crate::desired::{DesiredIdentity, DesiredState};
use crate::standing::Etags;

/// One identity of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct LedgerRow {
    /// The line of the batch file that it came from.
    pub line: u64,
    /// What the batch wants.
    pub wanted: DesiredIdentity,
    /// What became of it.
    pub record: Record,
    /// The version tags it was last seen with.
    pub etags: Etags,
}

/// Which rows of a run to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowFilter {
    /// All.
    All,
    /// Those that are not as the batch wants them, or whose twin was kept.
    Remarkable,
    /// Those whose certificate is still to be issued.
    ToBeIssued,
    /// Those that failed or are in conflict.
    Failed,
    /// Those whose symmetric keys the batch gives.
    GivenKeys,
    /// Those that are on the hub as far as the ledger knows.
    Settled,
}

impl RowFilter {
    fn condition(self) -> &'static str {
        match self {
            Self::All => "1",
            Self::Remarkable => "state IN ('conflict', 'failed', 'sent') OR differences IS NOT NULL",
            Self::ToBeIssued => "json_extract(desired, '$.auth.issued_certificate') IS NOT NULL",
            Self::Failed => "state IN ('conflict', 'failed')",
            Self::GivenKeys => "json_extract(desired, '$.auth.sas.given') = 1",
            Self::Settled => "state IN ('done', 'unchanged')",
        }
    }
}

/// What is known of a run before its rows are.
#[derive(Debug, Clone, Copy)]
pub struct RunFacts<'a> {
    /// The hub: its host, or the folder of a local hub.
    pub hub: &'a str,
    /// The batch file.
    pub input: &'a str,
    /// When the run begins (RFC 3339, UTC).
    pub started: &'a str,
    /// What the run is to do, besides what its rows say.
    pub options: &'a RunOptions,
}

/// A run whose rows are being written. Nothing of it stays unless [`Loader::commit`] is called.
pub struct Loader<'l> {
    transaction: Transaction<'l>,
    path: &'l Path,
    run: RunId,
}

impl Loader<'_> {
    /// Adds a row, unless one of its credentials is another identity's.
    pub fn insert(
        &self,
        line: u64,
        wanted: &DesiredIdentity,
        credentials: &[Credential],
    ) -> Result<Option<Taken>, LedgerError> {
        let claimed = credentials::claim(&self.transaction, self.run, &wanted.identity, credentials);
        if let Some(taken) = claimed.map_err(|source| self.error(source))? {
            return Ok(Some(taken));
        }
        self.insert_row(line, wanted)?;
        Ok(None)
    }

    fn insert_row(&self, line: u64, wanted: &DesiredIdentity) -> Result<(), LedgerError> {
        let (device, module) = key(&wanted.identity);
        let (text, hash) = stored(&wanted.state);
        self.execute(
            "INSERT INTO row (run, device_id, module_id, level, line, desired, desired_hash, state)
             VALUES (?1, ?2, ?3, 0, ?4, ?5, ?6, 'pending')",
            params![self.run.0, device, module, line, text, hash],
        )
    }

    /// Puts a device and its modules after everything of a lower level. Level 0 is the first.
    pub fn set_level(&self, device: &DeviceId, level: u32) -> Result<(), LedgerError> {
        self.execute(
            "UPDATE row SET level = ?3 WHERE run = ?1 AND device_id = ?2",
            params![self.run.0, device.as_str(), level],
        )
    }

    /// Keeps the run.
    pub fn commit(self, input_sha256: &str, rejected: u64) -> Result<RunId, LedgerError> {
        self.execute(
            "UPDATE run SET input_sha256 = ?2, rejected = ?3 WHERE id = ?1",
            params![self.run.0, input_sha256, rejected],
        )?;
        let Self { transaction, path, run } = self;
        transaction.commit().map_err(|source| LedgerError::Database { path: path.to_owned(), source })?;
        Ok(run)
    }

    fn execute(&self, sql: &str, values: impl Params) -> Result<(), LedgerError> {
        let execute = || self.transaction.prepare_cached(sql)?.execute(values).map(drop);
        execute().map_err(|source| self.error(source))
    }

    fn error(&self, source: rusqlite::Error) -> LedgerError {
        LedgerError::Database { path: self.path.to_owned(), source }
    }
}

impl Ledger {
    /// Begins a run. Its rows are added to the answer, which is committed as a whole.
    pub fn load_run(&mut self, facts: &RunFacts<'_>) -> Result<Loader<'_>, LedgerError> {
        let Self { connection, path, .. } = self;
        let (transaction, run) = begin_run(connection, facts)
            .map_err(|source| LedgerError::Database { path: path.clone(), source })?;
        Ok(Loader { transaction, path, run })
    }

    /// Up to `limit` rows of a run, in the order of work, after an identity.
    pub fn page(
        &self,
        run: RunId,
        filter: RowFilter,
        after: Option<&IdentityId>,
        limit: usize,
    ) -> Result<Vec<LedgerRow>, LedgerError> {
        let (device, module) = after.map_or(("", ""), key);
        let query = || -> rusqlite::Result<Vec<LedgerRow>> {
            let mut rows = self.connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM row
                 WHERE run = ?1 AND (device_id, module_id) > (?2, ?3) AND ({})
                 ORDER BY device_id, module_id LIMIT ?4",
                filter.condition()
            ))?;
            rows.query_map(params![run.0, device, module, limit], read_row)?.collect()
        };
        query().map_err(|source| self.error(source))
    }

    /// How many rows of a run pass a filter.
    pub fn count(&self, run: RunId, filter: RowFilter) -> Result<u64, LedgerError> {
        let sql = format!("SELECT count(*) FROM row WHERE run = ?1 AND ({})", filter.condition());
        let count = || self.connection.prepare_cached(&sql)?.query_row([run.0], |row| row.get(0));
        count().map_err(|source| self.error(source))
    }

    /// Writes down that requests for these identities, which are to have these effects, are about to
    /// leave.
    pub fn mark_sent(&mut self, lease: &Lease, sent: &[(IdentityId, Effect)]) -> Result<(), LedgerError> {
        self.write_rows(
            "UPDATE row SET state = 'sent', effect = ?4, attempts = attempts + 1
             WHERE run = ?1 AND device_id = ?2 AND module_id = ?3",
            sent.iter(),
            |(identity, effect), statement| {
                let (device, module) = key(identity);
                statement.execute(params![lease.run.0, device, module, effect.as_str()])
            },
        )
    }

    /// Writes down what became of these identities of a chunk.
    pub fn record(
        &mut self,
        lease: &Lease,
        records: &[(IdentityId, Record)],
        now: &str,
    ) -> Result<(), LedgerError> {
        self.record_in(lease.run, records, now)
    }

    /// Writes down why these identities can't be sent at all.
    pub fn refuse(
        &mut self,
        run: RunId,
        records: &[(IdentityId, Record)],
        now: &str,
    ) -> Result<(), LedgerError> {
        self.record_in(run, records, now)
    }

    fn record_in(
        &mut self,
        run: RunId,
        records: &[(IdentityId, Record)],
        now: &str,
    ) -> Result<(), LedgerError> {
        self.write_rows(
            "UPDATE row SET state = ?4, effect = ?5, http_status = ?6, error_code = ?7, error = ?8, tracking_id = ?9,
                 differences = ?10, updated = ?11, presumed = ?12
             WHERE run = ?1 AND device_id = ?2 AND module_id = ?3",
            records.iter(),
            |(identity, record), statement| {
                let (device, module) = key(identity);
                let differences = (!record.differences.is_empty()).then(|| json_text(&record.differences));
                statement.execute(params![
                    run.0,
                    device,
                    module,
                    record.state.as_str(),
                    record.effect.map(Effect::as_str),
                    record.http_status,
                    record.error_code,
                    record.error,
                    record.tracking_id,
                    differences,
                    now,
                    record.presumed
                ])
            },
        )
    }

    /// Writes down the version tags that these identities were seen with.
    pub fn set_etags(&mut self, run: RunId, seen: &[(IdentityId, Etags)]) -> Result<(), LedgerError> {
        self.write_rows(
            "UPDATE row SET identity_etag = ?4, twin_etag = ?5
             WHERE run = ?1 AND device_id = ?2 AND module_id = ?3",
            seen.iter(),
            |(identity, etags), statement| {
                let (device, module) = key(identity);
                let (identity, twin) = (etags.identity.as_ref(), etags.twin.as_ref());
                statement.execute(params![
                    run.0,
                    device,
                    module,
                    identity.map(Etag::as_str),
                    twin.map(Etag::as_str)
                ])
            },
        )
    }

    /// Replaces what is wanted of these identities, as when their certificates have been issued.
    pub fn replace_wanted(&mut self, run: RunId, wanted: &[&DesiredIdentity]) -> Result<(), LedgerError> {
        self.write_rows(
            "UPDATE row SET desired = ?4, desired_hash = ?5 WHERE run = ?1 AND device_id = ?2 AND module_id = ?3",
            wanted.iter(),
            |wanted, statement| {
                let (device, module) = key(&wanted.identity);
                let (text, hash) = stored(&wanted.state);
                statement.execute(params![run.0, device, module, text, hash])
            },
        )
    }

    /// Runs one statement for many rows, all or none.
    fn write_rows<T>(
        &mut self,
        sql: &str,
        rows: impl Iterator<Item = T>,
        write: impl Fn(T, &mut Statement<'_>) -> rusqlite::Result<usize>,
    ) -> Result<(), LedgerError> {
        let Self { connection, path, .. } = self;
        let write_all = || -> rusqlite::Result<()> {
            let transaction = connection.transaction()?;
            let mut statement = transaction.prepare_cached(sql)?;
            for row in rows {
                write(row, &mut statement)?;
            }
            drop(statement);
            transaction.commit()
        };
        write_all().map_err(|source| LedgerError::Database { path: path.clone(), source })
    }
}

fn begin_run<'c>(
    connection: &'c mut Connection,
    facts: &RunFacts<'_>,
) -> rusqlite::Result<(Transaction<'c>, RunId)> {
    let transaction = connection.transaction()?;
    let (running, version) = (RunState::Running.to_string(), env!("CARGO_PKG_VERSION"));
    transaction.execute(
        "INSERT INTO run (started, state, hub, input, input_sha256, tool_version, options)
         VALUES (?1, ?2, ?3, ?4, '', ?5, ?6)",
        params![facts.started, running, facts.hub, facts.input, version, json_text(facts.options)],
    )?;
    let run = RunId(transaction.last_insert_rowid());
    Ok((transaction, run))
}

/// Rows that have not come to an end.
pub(super) const UNDONE: &str = "state IN ('pending', 'claimed', 'sent')";

pub(super) const COLUMNS: &str = "device_id, module_id, line, desired, state, effect, presumed, http_status, error_code, error, tracking_id, \
                       differences, identity_etag, twin_etag";

pub(super) fn read_row(row: &Row<'_>) -> rusqlite::Result<LedgerRow> {
    let (device, module): (String, String) = (row.get(0)?, row.get(1)?);
    let identity = IdentityId::parse(&device, Some(&module)).map_err(|error| corrupt(0, error))?;
    let state: DesiredState =
        serde_json::from_str(&row.get::<_, String>(3)?).map_err(|error| corrupt(3, error))?;
    let differences: Option<String> = row.get(11)?;
    let differences = differences.map(|text| serde_json::from_str(&text)).transpose();
    Ok(LedgerRow {
        line: row.get(2)?,
        wanted: DesiredIdentity { identity, state },
        record: Record {
            state: RowState::parse(&row.get::<_, String>(4)?),
            effect: row.get::<_, Option<String>>(5)?.as_deref().map(Effect::parse),
            presumed: row.get(6)?,
            http_status: row.get(7)?,
            error_code: row.get(8)?,
            error: row.get(9)?,
            tracking_id: row.get(10)?,
            differences: differences.map_err(|error| corrupt(11, error))?.unwrap_or_default(),
        },
        etags: Etags {
            identity: row.get::<_, Option<String>>(12)?.map(Etag::from),
            twin: row.get::<_, Option<String>>(13)?.map(Etag::from),
        },
    })
}

fn corrupt(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}

/// The primary key of an identity within a run.
pub(super) fn key(identity: &IdentityId) -> (&str, &str) {
    (identity.device().as_str(), identity.module().map_or("", ModuleId::as_str))
}

fn stored(state: &DesiredState) -> (String, String) {
    (json_text(state), state.hash())
}

fn json_text(value: &impl serde::Serialize) -> String {
    // Strings, numbers and maps with text keys always serialise.
    serde_json::to_string(value).unwrap_or_default()
}
