//! [`IssuanceIndex`]: every certificate that a CA has issued to devices and modules, in a SQLite
//! database beside the CA. It is the one place that says what exists; folders with certificates
//! (*outputs*) only hold the bytes.
//!
//! A certificate is entered before its first byte leaves the process, so the CA never signed what it
//! does not know. An entry is *pending* until its output has it on the disk; what a kill leaves
//! pending is settled by the output ([`IndexedOutput::pending`]), which knows how far it came.

mod authorities;
mod entry;
mod file;
mod lookup;
mod outputs;
pub(crate) mod revocation;

use std::path::{Path, PathBuf};

use hub_types::{IdentityId, Sha256Thumbprint};
use rusqlite::{Connection, OptionalExtension, params};

pub use self::entry::IndexEntry;
pub use self::lookup::Lookup;
use crate::error::Error;
use crate::issued::new_certificate::NewCertificate;
use crate::issued::sink::Place;
use crate::keys::fingerprint::Fingerprint;
pub use authorities::SubordinateCa;
use entry::{SELECT, entry, identity};
pub(crate) use file::INDEX;
use file::Lock;
pub(crate) use outputs::IndexedOutput;

/// The certificates that a CA has issued.
pub struct IssuanceIndex {
    path: PathBuf,
    connection: Connection,
    /// The table of keys is known to be up to date.
    has_ordered_keys: bool,
    /// Held by the one process that may issue.
    _lock: Option<Lock>,
}

/// A certificate to enter into the index.
pub(crate) struct NewEntry<'a> {
    pub(crate) made: &'a NewCertificate,
    pub(crate) place: &'a Place,
}

impl IssuanceIndex {
    /// Enters certificates, all or none, and that everything before them was released.
    pub(crate) fn enter<'a>(
        &mut self,
        output: &IndexedOutput,
        entries: impl Iterator<Item = NewEntry<'a>>,
    ) -> Result<i64, Error> {
        self.end_read()?;
        self.has_ordered_keys = false;
        let last = enter(&mut self.connection, output, entries);
        last.map_err(|source| Error::database(&self.path, source))
    }

    /// Lets the lookups that follow see one state of the index, until something is written: each by
    /// itself would lock the file and unlock it, and that takes longer than to look.
    fn begin_read(&self) -> Result<(), Error> {
        if !self.connection.is_autocommit() {
            return Ok(());
        }
        self.connection.execute_batch("BEGIN").map_err(|source| Error::database(&self.path, source))
    }

    fn end_read(&self) -> Result<(), Error> {
        if self.connection.is_autocommit() {
            return Ok(());
        }
        self.connection.execute_batch("COMMIT").map_err(|source| Error::database(&self.path, source))
    }

    /// The newest certificate of an identity.
    pub fn current(&self, identity: &IdentityId) -> Result<Option<IndexEntry>, Error> {
        let sql = format!("{SELECT} WHERE c.identity = ?1 ORDER BY c.id DESC LIMIT 1");
        let mut statement = self.prepare(&sql)?;
        let found = statement.query_row(params![identity.common_name()], entry).optional();
        found.map_err(|source| Error::database(&self.path, source))
    }

    /// The folder of the output that has the newest certificate of an identity, as it was when it was last opened.
    pub(crate) fn folder_of(&self, identity: &IdentityId) -> Result<Option<PathBuf>, Error> {
        let mut statement = self.prepare(
            "SELECT o.path FROM certificates c JOIN outputs o ON o.id = c.output
             WHERE c.identity = ?1 ORDER BY c.id DESC LIMIT 1",
        )?;
        let found = statement.query_row(params![identity.common_name()], |row| row.get::<_, String>(0));
        let found = found.optional().map_err(|source| Error::database(&self.path, source))?;
        Ok(found.map(PathBuf::from))
    }

    /// Returns whether an identity has a certificate; cheaper than reading its entry.
    pub(crate) fn contains(&self, identity: &IdentityId) -> Result<bool, Error> {
        self.begin_read()?;
        let mut statement = self.prepare("SELECT 1 FROM certificates WHERE identity = ?1")?;
        let found = statement.exists(params![identity.common_name()]);
        found.map_err(|source| Error::database(&self.path, source))
    }

    /// Returns whether an identity has a certificate in this output, its newest or an older one.
    pub(crate) fn has_in(&self, identity: &IdentityId, output: &IndexedOutput) -> Result<bool, Error> {
        let sql = "SELECT 1 FROM certificates WHERE identity = ?1 AND output = ?2";
        let found = self.prepare(sql)?.exists(params![identity.common_name(), output.id]);
        found.map_err(|source| Error::database(&self.path, source))
    }

    /// Returns whether no certificate was issued yet.
    pub(crate) fn is_empty(&self) -> Result<bool, Error> {
        let found = self.prepare("SELECT 1 FROM certificates LIMIT 1")?.exists([]);
        found.map(|found| !found).map_err(|source| Error::database(&self.path, source))
    }

    /// Returns the number of issued certificates. It reads the whole index.
    pub fn count(&self) -> Result<u64, Error> {
        let found = self.prepare("SELECT COUNT(*) FROM certificates")?.query_row([], |row| row.get(0));
        found.map_err(|source| Error::database(&self.path, source))
    }

    /// The identity that a public key belongs to.
    pub(crate) fn owner_of(&mut self, key: Fingerprint) -> Result<Option<IdentityId>, Error> {
        self.begin_read_of_keys()?;
        let find = |connection: &Connection| {
            connection
                .prepare_cached(
                    "SELECT c.identity FROM keys k JOIN certificates c ON c.id = k.certificate
                     WHERE k.prefix = ?2 AND c.key = ?1 LIMIT 1",
                )?
                .query_row(params![key.as_bytes(), key.as_bytes().first_chunk::<8>()], |row| identity(row, 0))
                .optional()
        };
        find(&self.connection).map_err(|source| Error::database(&self.path, source))
    }

    /// Brings the table of keys up to date before lookups in it.
    fn begin_read_of_keys(&mut self) -> Result<(), Error> {
        if !self.has_ordered_keys {
            self.end_read()?;
            order_keys(&mut self.connection).map_err(|source| Error::database(&self.path, source))?;
            self.has_ordered_keys = true;
        }
        self.begin_read()
    }

    /// Shows `visit` certificates, the first one first, with a bounded number of them in memory.
    pub fn visit(
        &self,
        lookup: &Lookup,
        mut visit: impl FnMut(IndexEntry) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut after = 0;
        loop {
            let page = self.page(lookup, after)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.id;
            page.into_iter().try_for_each(&mut visit)?;
        }
    }

    /// The certificates asked for, the first one first, one after the other.
    pub fn into_entries(self, lookup: Lookup) -> impl Iterator<Item = Result<IndexEntry, Error>> + Send {
        let mut page = Vec::new().into_iter();
        let mut after = Some(0);
        std::iter::from_fn(move || {
            if let Some(entry) = page.next() {
                return Some(Ok(entry));
            }
            match self.page(&lookup, after?) {
                Ok(next) => {
                    after = next.last().map(|entry| entry.id);
                    page = next.into_iter();
                    page.next().map(Ok)
                }
                Err(error) => {
                    after = None;
                    Some(Err(error))
                }
            }
        })
    }

    fn page(&self, lookup: &Lookup, after: i64) -> Result<Vec<IndexEntry>, Error> {
        let (condition, value) = lookup.sql();
        let sql = format!("{SELECT} WHERE {condition} AND c.id > ?2 ORDER BY c.id LIMIT {PAGE}");
        let rows = self.prepare(&sql)?.query_map(params![value, after], entry).and_then(Iterator::collect);
        rows.map_err(|source| Error::database(&self.path, source))
    }

    pub(crate) fn prepare(&self, sql: &str) -> Result<rusqlite::CachedStatement<'_>, Error> {
        self.connection.prepare_cached(sql).map_err(|source| Error::database(&self.path, source))
    }

    pub(crate) fn execute(&self, sql: &str, values: impl rusqlite::Params) -> Result<usize, Error> {
        self.end_read()?;
        self.prepare(sql)?.execute(values).map_err(|source| Error::database(&self.path, source))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn enter<'a>(
    connection: &mut Connection,
    output: &IndexedOutput,
    entries: impl Iterator<Item = NewEntry<'a>>,
) -> Result<i64, rusqlite::Error> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let mut last = output.flushed;
    {
        let mut update = transaction.prepare_cached("UPDATE outputs SET released = ?2 WHERE id = ?1")?;
        update.execute(params![output.id, output.flushed])?;
        let mut insert = transaction.prepare_cached(INSERT)?;
        for NewEntry { made, place } in entries {
            last = insert.insert(params![
                output.id,
                &made.common_name,
                made.serial.as_bytes(),
                made.sha256.as_bytes(),
                made.sha1.as_bytes(),
                made.key.as_bytes(),
                made.validity.not_before.unix_timestamp(),
                made.validity.not_after.unix_timestamp(),
                made.auth.number(),
                place.entry,
                place.certificate,
                place.private_key,
                place.list,
                made.replaced.as_ref().map(Sha256Thumbprint::as_bytes),
                made.key_elsewhere.as_ref().map(|path| path.to_string_lossy()),
            ])?;
        }
    }
    transaction.commit()?;
    Ok(last)
}

/// Brings the table of keys up to date. Keys are random, so that a row at a time would touch a page
/// for each; in order, and only when somebody asks, it is cheap.
fn order_keys(connection: &mut Connection) -> Result<(), rusqlite::Error> {
    let find = "SELECT keyed < (SELECT COALESCE(MAX(id), 0) FROM certificates) FROM progress";
    if !connection.prepare_cached(find)?.query_row([], |row| row.get::<_, bool>(0))? {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "INSERT INTO keys SELECT substr(key, 1, 8), id FROM certificates
             WHERE id > (SELECT keyed FROM progress) ORDER BY 1, 2;
         UPDATE progress SET keyed = (SELECT MAX(id) FROM certificates);",
    )?;
    transaction.commit()
}

/// Entries in memory at once.
const PAGE: usize = 1000;

const INSERT: &str = "INSERT INTO certificates
    (output, identity, serial, sha256, sha1, key, not_before, not_after, auth, entry_at, certificate_at,
     key_at, list_at, replaced, private_key)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";
