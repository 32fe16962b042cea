//! Rows: one per identity of a run.

use std::path::Path;

use hub_types::{DeviceId, Etag, IdentityId, ModuleId};
use rusqlite::{Connection, Params, Row, Statement, Transaction, params};

use super::credentials::{self, Credential, Taken};
use super::runs::{RunId, RunState};
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
    /// Those that are on the hub as far as the ledger knows.
    Settled,
}

impl RowFilter {
    fn condition(self) -> &'static str {
        match self {
            Self::All => "1",
            Self::Remarkable => "state IN ('conflict', 'failed', 'sent') OR differences IS NOT NULL",
            Self::ToBeIssued => "json_extract(desired, '$.auth.issued_certificate') IS NOT NULL",
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

    /// The highest level that the rows of a run have.
    pub fn highest_level(&self, run: RunId) -> Result<u32, LedgerError> {
        self.connection
            .query_row("SELECT coalesce(max(level), 0) FROM row WHERE run = ?1", [run.0], |row| row.get(0))
            .map_err(|source| self.error(source))
    }

    /// Claims the next rows to do on a level: those of up to `devices` devices after `after`, each
    /// device before its modules. Empty when the level is done.
    pub fn claim_group(
        &mut self,
        run: RunId,
        level: u32,
        after: Option<&DeviceId>,
        devices: usize,
    ) -> Result<Vec<LedgerRow>, LedgerError> {
        let after = after.map_or("", DeviceId::as_str);
        let Self { connection, path, .. } = self;
        claim_group(connection, run, level, after, devices)
            .map_err(|source| LedgerError::Database { path: path.clone(), source })
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

    /// Writes down that requests for these identities are about to leave.
    pub fn mark_sent<'i>(
        &mut self,
        run: RunId,
        identities: impl Iterator<Item = &'i IdentityId>,
    ) -> Result<(), LedgerError> {
        self.write_rows(
            "UPDATE row SET state = 'sent', attempts = attempts + 1
             WHERE run = ?1 AND device_id = ?2 AND module_id = ?3",
            identities,
            |identity, statement| {
                let (device, module) = key(identity);
                statement.execute(params![run.0, device, module])
            },
        )
    }

    /// Writes down what became of these identities.
    pub fn record<'r>(
        &mut self,
        run: RunId,
        records: impl Iterator<Item = (&'r IdentityId, &'r Record)>,
        now: &str,
    ) -> Result<(), LedgerError> {
        self.write_rows(
            "UPDATE row SET state = ?4, effect = ?5, http_status = ?6, error_code = ?7, error = ?8, tracking_id = ?9,
                 differences = ?10, updated = ?11
             WHERE run = ?1 AND device_id = ?2 AND module_id = ?3",
            records,
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
                    now
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
    pub fn replace_wanted<'w>(
        &mut self,
        run: RunId,
        wanted: impl Iterator<Item = &'w DesiredIdentity>,
    ) -> Result<(), LedgerError> {
        self.write_rows(
            "UPDATE row SET desired = ?4, desired_hash = ?5 WHERE run = ?1 AND device_id = ?2 AND module_id = ?3",
            wanted,
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
        "INSERT INTO run (started, state, hub, input, input_sha256, tool_version) VALUES (?1, ?2, ?3, ?4, '', ?5)",
        params![facts.started, running, facts.hub, facts.input, version],
    )?;
    let run = RunId(transaction.last_insert_rowid());
    Ok((transaction, run))
}

fn claim_group(
    connection: &mut Connection,
    run: RunId,
    level: u32,
    after: &str,
    devices: usize,
) -> rusqlite::Result<Vec<LedgerRow>> {
    let transaction = connection.transaction()?;
    let last: Option<String> = transaction
        .prepare_cached(&format!(
            "SELECT max(device_id) FROM (
                 SELECT DISTINCT device_id FROM row
                 WHERE run = ?1 AND level = ?2 AND device_id > ?3 AND {UNDONE}
                 ORDER BY device_id LIMIT ?4)"
        ))?
        .query_row(params![run.0, level, after, devices], |row| row.get(0))?;
    let Some(last) = last else { return Ok(Vec::new()) };
    let group = "run = ?1 AND level = ?2 AND device_id > ?3 AND device_id <= ?4";
    transaction
        .prepare_cached(&format!("UPDATE row SET state = 'claimed' WHERE {group} AND state = 'pending'"))?
        .execute(params![run.0, level, after, last])?;
    let rows = transaction
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM row WHERE {group} AND {UNDONE} ORDER BY device_id, module_id"
        ))?
        .query_map(params![run.0, level, after, last], read_row)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    transaction.commit()?;
    Ok(rows)
}

/// Rows that have not come to an end.
const UNDONE: &str = "state IN ('pending', 'claimed', 'sent')";

const COLUMNS: &str = "device_id, module_id, line, desired, state, effect, http_status, error_code, error, tracking_id, \
                       differences, identity_etag, twin_etag";

fn read_row(row: &Row<'_>) -> rusqlite::Result<LedgerRow> {
    let (device, module): (String, String) = (row.get(0)?, row.get(1)?);
    let identity = IdentityId::parse(&device, Some(&module)).map_err(|error| corrupt(0, error))?;
    let state: DesiredState =
        serde_json::from_str(&row.get::<_, String>(3)?).map_err(|error| corrupt(3, error))?;
    let differences: Option<String> = row.get(10)?;
    let differences = differences.map(|text| serde_json::from_str(&text)).transpose();
    Ok(LedgerRow {
        line: row.get(2)?,
        wanted: DesiredIdentity { identity, state },
        record: Record {
            state: RowState::parse(&row.get::<_, String>(4)?),
            effect: row.get::<_, Option<String>>(5)?.as_deref().map(Effect::parse),
            http_status: row.get(6)?,
            error_code: row.get(7)?,
            error: row.get(8)?,
            tracking_id: row.get(9)?,
            differences: differences.map_err(|error| corrupt(10, error))?.unwrap_or_default(),
        },
        etags: Etags {
            identity: row.get::<_, Option<String>>(11)?.map(Etag::from),
            twin: row.get::<_, Option<String>>(12)?.map(Etag::from),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::DesiredAuth;
    use crate::ledger::Totals;

    const FACTS: RunFacts<'_> =
        RunFacts { hub: "hub.example", input: "batch.csv", started: "2026-11-22T10:00:00Z" };

    fn wanted(name: &str) -> DesiredIdentity {
        DesiredIdentity {
            identity: IdentityId::from_common_name(name).unwrap(),
            state: DesiredState::default(),
        }
    }

    fn ledger_with(names: &[&str]) -> (Ledger, RunId) {
        let mut ledger = Ledger::open_temporary().unwrap();
        let loader = ledger.load_run(&FACTS).unwrap();
        for (line, name) in (2..).zip(names) {
            loader.insert(line, &wanted(name), &[]).unwrap();
        }
        let run = loader.commit("AB", 0).unwrap();
        (ledger, run)
    }

    fn names(rows: &[LedgerRow]) -> Vec<String> {
        rows.iter().map(|row| row.wanted.identity.to_string()).collect()
    }

    #[test]
    fn groups_hold_whole_units_with_the_device_first() {
        let (mut ledger, run) = ledger_with(&["b/m", "a/n", "c", "a", "b", "a/m"]);
        let first = ledger.claim_group(run, 0, None, 2).unwrap();
        assert_eq!(names(&first), ["a", "a/m", "a/n", "b", "b/m"]);
        let second = ledger.claim_group(run, 0, Some(&"b".parse().unwrap()), 2).unwrap();
        assert_eq!(names(&second), ["c"]);
        assert!(ledger.claim_group(run, 0, Some(&"c".parse().unwrap()), 2).unwrap().is_empty());
    }

    #[test]
    fn a_level_holds_the_modules_of_its_devices() {
        let mut ledger = Ledger::open_temporary().unwrap();
        let loader = ledger.load_run(&FACTS).unwrap();
        for name in ["gate", "leaf", "leaf/m"] {
            loader.insert(2, &wanted(name), &[]).unwrap();
        }
        loader.set_level(&"leaf".parse().unwrap(), 1).unwrap();
        let run = loader.commit("AB", 0).unwrap();
        assert_eq!(ledger.highest_level(run).unwrap(), 1);
        assert_eq!(names(&ledger.claim_group(run, 0, None, 9).unwrap()), ["gate"]);
        assert_eq!(names(&ledger.claim_group(run, 1, None, 9).unwrap()), ["leaf", "leaf/m"]);
    }

    #[test]
    fn a_run_that_is_not_committed_leaves_nothing() {
        let mut ledger = Ledger::open_temporary().unwrap();
        ledger.load_run(&FACTS).unwrap().insert(2, &wanted("a"), &[]).unwrap();
        assert!(ledger.runs().unwrap().is_empty());
    }

    #[test]
    fn totals_count_each_row_once() {
        let (mut ledger, run) = ledger_with(&["a", "b", "c", "d", "e"]);
        ledger.mark_sent(run, ["a", "b"].map(|id| IdentityId::parse(id, None).unwrap()).iter()).unwrap();
        let records = [
            ("a", Record { effect: Some(Effect::Created), ..Record::new(RowState::Done) }),
            ("c", Record { effect: Some(Effect::Updated), ..Record::new(RowState::Done) }),
            ("d", Record::failed("disk on fire")),
        ]
        .map(|(id, record)| (IdentityId::parse(id, None).unwrap(), record));
        ledger.record(run, records.iter().map(|(id, record)| (id, record)), "now").unwrap();
        let totals = ledger.totals(run).unwrap();
        assert_eq!(
            totals,
            Totals { rows: 5, created: 1, updated: 1, failed: 1, pending: 2, ..Totals::default() }
        );
        assert!(totals.add_up() && !totals.all_well());
        let remarkable = ledger.page(run, RowFilter::Remarkable, None, 10).unwrap();
        assert_eq!(names(&remarkable), ["b", "d"]);
        assert_eq!(remarkable[1].record.error.as_deref(), Some("disk on fire"));
    }

    #[test]
    fn issued_rows_are_no_longer_to_be_issued() {
        let (mut ledger, run) = ledger_with(&["a", "b"]);
        let mut rows = ledger.page(run, RowFilter::ToBeIssued, None, 10).unwrap();
        assert_eq!(names(&rows), ["a", "b"]);
        rows[0].wanted.state.auth =
            DesiredAuth::Thumbprint { primary: "AB".repeat(32).parse().ok(), secondary: None };
        ledger.replace_wanted(run, rows.iter().take(1).map(|row| &row.wanted)).unwrap();
        assert_eq!(names(&ledger.page(run, RowFilter::ToBeIssued, None, 10).unwrap()), ["b"]);
        assert_eq!(ledger.claim_group(run, 0, None, 1).unwrap()[0].wanted, rows[0].wanted);
    }

    #[test]
    fn a_row_with_a_thumbprint_is_never_issued_whatever_its_twin_says() {
        let mut row = wanted("a");
        row.state.auth = DesiredAuth::X509Ca;
        row.state.tags.insert("note".to_owned(), "issued_certificate".into());
        let mut ledger = Ledger::open_temporary().unwrap();
        let loader = ledger.load_run(&FACTS).unwrap();
        loader.insert(2, &row, &[]).unwrap();
        let run = loader.commit("AB", 0).unwrap();
        assert!(ledger.page(run, RowFilter::ToBeIssued, None, 10).unwrap().is_empty());
    }

    #[test]
    fn a_second_writer_is_refused_and_a_reader_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("provisioner.ledger");
        assert!(matches!(Ledger::open_to_read(&path), Err(LedgerError::Missing { .. })));
        let writer = Ledger::open(&path).unwrap();
        assert!(matches!(Ledger::open(&path), Err(LedgerError::Busy { .. })));
        assert!(Ledger::open_to_read(&path).unwrap().runs().unwrap().is_empty());
        drop(writer);
        assert!(Ledger::open(&path).is_ok());
    }
}
