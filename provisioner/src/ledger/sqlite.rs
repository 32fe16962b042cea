//! The ledger of one station: an SQLite file, with one process that writes to it.

use std::fs::File;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hub_types::IdentityId;
use rusqlite::{Connection, OpenFlags};

use super::store::{Loader, Store};
use super::{
    Claim, Credential, Effect, Lease, LedgerError, LedgerRow, Record, RowFilter, Run, RunFacts, RunId,
    RunState, Totals,
};
use crate::desired::DesiredIdentity;
use crate::standing::Etags;
use loading::SqliteLoader;

mod chunks;
mod credentials;
mod loading;
mod rows;
mod runs;
mod schema;

/// An SQLite file with a ledger in it.
pub(super) struct Sqlite {
    connection: Connection,
    path: PathBuf,
    /// Held as long as the ledger is open for writing.
    _lock: Option<File>,
}

impl Sqlite {
    pub(super) fn open(path: &Path) -> Result<Self, LedgerError> {
        let lock = lock(path)?;
        let ledger = Self::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        Self { _lock: Some(lock), ..ledger }.with_schema()
    }

    pub(super) fn open_to_read(path: &Path) -> Result<Self, LedgerError> {
        if !path.exists() {
            return Err(LedgerError::Missing { path: path.to_owned() });
        }
        // Reading a WAL file needs its shared memory, which is written to: hence not read-only.
        Self::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?.with_schema()
    }

    pub(super) fn open_temporary() -> Result<Self, LedgerError> {
        Self::connect(Path::new(""), OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?
            .with_schema()
    }

    fn connect(path: &Path, flags: OpenFlags) -> Result<Self, LedgerError> {
        match Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX) {
            Ok(connection) => Ok(Self { connection, path: path.to_owned(), _lock: None }),
            Err(source) => Err(database(path, source)),
        }
    }

    fn with_schema(self) -> Result<Self, LedgerError> {
        schema::prepare(&self.connection).map_err(|source| database(&self.path, source))?;
        match schema::version(&self.connection).map_err(|source| database(&self.path, source))? {
            schema::VERSION => Ok(self),
            found => {
                let ledger = self.path.display().to_string();
                Err(LedgerError::Version { ledger, found, known: schema::VERSION })
            }
        }
    }

    /// Calls the database, and says which one it was that failed.
    fn call<T>(
        &mut self,
        call: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, LedgerError> {
        call(&mut self.connection).map_err(|source| database(&self.path, source))
    }
}

impl Store for Sqlite {
    fn load_run(&mut self, facts: &RunFacts<'_>) -> Result<Loader<'_>, LedgerError> {
        Ok(Box::new(SqliteLoader::begin(&mut self.connection, &self.path, facts)?))
    }

    fn begin_work(&mut self, run: RunId, _: Duration) -> Result<(), LedgerError> {
        self.call(|connection| chunks::begin_work(connection, run))
    }

    fn claim(&mut self, run: RunId) -> Result<Claim, LedgerError> {
        self.call(|connection| chunks::claim(connection, run))
    }

    fn count_stations(&mut self, _: RunId) -> Result<NonZeroU32, LedgerError> {
        Ok(NonZeroU32::MIN)
    }

    fn renew_leases(&mut self) -> Result<(), LedgerError> {
        // The lock on the file is the lease.
        Ok(())
    }

    fn release_leases(&mut self) -> Result<(), LedgerError> {
        Ok(())
    }

    fn mark_sent(&mut self, lease: &Lease, sent: &[(IdentityId, Effect)]) -> Result<(), LedgerError> {
        self.call(|connection| rows::mark_sent(connection, lease.run, sent))
    }

    fn record(
        &mut self,
        lease: &Lease,
        records: &[(IdentityId, Record)],
        now: &str,
    ) -> Result<(), LedgerError> {
        self.call(|connection| rows::record(connection, lease.run, records, now))
    }

    fn finish_chunk(&mut self, lease: &Lease) -> Result<(), LedgerError> {
        self.call(|connection| chunks::finish(connection, lease))
    }

    fn refuse(&mut self, run: RunId, records: &[(IdentityId, Record)], now: &str) -> Result<(), LedgerError> {
        self.call(|connection| rows::record(connection, run, records, now))
    }

    fn set_etags(&mut self, run: RunId, seen: &[(IdentityId, Etags)]) -> Result<(), LedgerError> {
        self.call(|connection| rows::set_etags(connection, run, seen))
    }

    fn replace_wanted(&mut self, run: RunId, wanted: &[&DesiredIdentity]) -> Result<(), LedgerError> {
        self.call(|connection| rows::replace_wanted(connection, run, wanted))
    }

    fn remember(&mut self, run: RunId, owned: &[(IdentityId, Credential)]) -> Result<(), LedgerError> {
        self.call(|connection| credentials::remember_all(connection, run, owned))
    }

    fn page(
        &mut self,
        run: RunId,
        filter: RowFilter,
        after: Option<&IdentityId>,
        limit: usize,
    ) -> Result<Vec<LedgerRow>, LedgerError> {
        self.call(|connection| rows::page(connection, run, filter, after, limit))
    }

    fn count(&mut self, run: RunId, filter: RowFilter) -> Result<u64, LedgerError> {
        self.call(|connection| rows::count(connection, run, filter))
    }

    fn end_run(&mut self, run: RunId, state: RunState, now: &str) -> Result<(), LedgerError> {
        self.call(|connection| runs::end(connection, run, state, now))
    }

    fn knows_hub(&mut self, hub: &str, but: RunId) -> Result<bool, LedgerError> {
        self.call(|connection| runs::knows_hub(connection, hub, but))
    }

    fn runs(&mut self) -> Result<Vec<Run>, LedgerError> {
        self.call(|connection| runs::all(connection))
    }

    fn run(&mut self, run: Option<RunId>) -> Result<Run, LedgerError> {
        let found = self.call(|connection| runs::one(connection, run))?;
        found.ok_or_else(|| LedgerError::NoSuchRun { ledger: self.path.display().to_string(), run })
    }

    fn totals(&mut self, run: RunId) -> Result<Totals, LedgerError> {
        self.call(|connection| runs::totals(connection, run))
    }
}

fn database(path: &Path, source: rusqlite::Error) -> LedgerError {
    LedgerError::Database { ledger: path.display().to_string(), source: source.into() }
}

fn lock(ledger: &Path) -> Result<File, LedgerError> {
    let mut name = ledger.as_os_str().to_owned();
    name.push(".lock");
    let path = PathBuf::from(name);
    let file = File::options().create(true).write(true).truncate(false).open(&path);
    let file = file.map_err(|source| LedgerError::Lock { path: path.clone(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(LedgerError::Busy { path: ledger.to_owned() }),
        Err(std::fs::TryLockError::Error(source)) => Err(LedgerError::Lock { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::with_causes;
    use crate::ledger::tests::{claim, identity, load};
    use crate::ledger::{Ledger, RowState};

    #[test]
    fn a_second_writer_is_refused_and_a_reader_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("provisioner.ledger");
        assert!(matches!(Sqlite::open_to_read(&path), Err(LedgerError::Missing { .. })));
        let writer = Sqlite::open(&path).unwrap();
        assert!(matches!(Sqlite::open(&path), Err(LedgerError::Busy { .. })));
        assert!(Sqlite::open_to_read(&path).unwrap().runs().unwrap().is_empty());
        drop(writer);
        assert!(Sqlite::open(&path).is_ok());
    }

    #[test]
    fn a_full_disk_is_said_with_the_path_and_marks_nothing_done() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("provisioner.ledger");
        let mut ledger = Ledger(Box::new(Sqlite::open(&path).unwrap()));
        let run = load(&mut ledger, &["a", "b"], &[]);
        ledger.begin_work(run, Duration::ZERO).unwrap();
        let lease = claim(&mut ledger, run).lease;
        drop(ledger);
        let mut ledger = Sqlite::open(&path).unwrap();
        let pages: i64 = ledger.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        ledger.connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
        let done = Record { error: Some("long ".repeat(10_000)), ..Record::new(RowState::Done) };
        let records = [(identity("a"), done.clone()), (identity("b"), done)];
        let error = ledger.record(&lease, &records, "now").unwrap_err();
        assert!(error.to_string().contains("provisioner.ledger"), "{error}");
        assert!(with_causes(&error).contains("full"), "{}", with_causes(&error));
        assert_eq!(ledger.totals(run).unwrap().pending, 2);
    }
}
