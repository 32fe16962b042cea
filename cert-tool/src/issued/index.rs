//! [`IssuanceIndex`]: every certificate that a CA has issued to devices and modules, in a SQLite
//! database beside the CA. It is the one place that says what exists; folders with certificates
//! (*outputs*) only hold the bytes.
//!
//! A certificate is entered before its first byte leaves the process, so the CA never signed what it
//! does not know. An entry is *pending* until its output has it on the disk; what a kill leaves
//! pending is settled by the output ([`IndexedOutput::pending`]), which knows how far it came.

mod authorities;
mod lookup;
pub(crate) mod revocation;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hub_types::thumbprint::upper_hex;
use hub_types::{IdentityId, Sha1Thumbprint, Sha256Thumbprint};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};
use time::OffsetDateTime;

pub use self::lookup::Lookup;
use crate::error::Error;
use crate::error::refusal::Refusal;
use crate::issued::new_certificate::NewCertificate;
use crate::issued::record::{IssuedAuth, IssuedCertificate};
use crate::issued::sink::{Place, Sink};
use crate::keys::fingerprint::Fingerprint;
use crate::platform::fs;

pub use authorities::SubordinateCa;

/// The certificates that a CA has issued.
pub struct IssuanceIndex {
    path: PathBuf,
    connection: Connection,
    /// The table of keys is known to be up to date.
    has_ordered_keys: bool,
    /// Held by the one process that may issue.
    _lock: Option<Lock>,
}

/// A certificate as the index knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    pub(crate) id: i64,
    /// The identity that the certificate is for.
    pub identity: IdentityId,
    /// The record of the certificate, with its place.
    pub record: IssuedCertificate,
    /// SHA-256 of its `SubjectPublicKeyInfo`.
    pub key: Fingerprint,
    /// True for the newest certificate of its identity.
    pub is_current: bool,
    /// The time and the reason of its revocation, if it is revoked.
    pub revocation: Option<revocation::Revocation>,
    pub(crate) output: i64,
}

impl IndexEntry {
    /// Returns the reason why its identity gets no certificate in an output, if there is one; `is_here` says
    /// whether this one is there.
    pub(crate) fn refusal(&self, is_here: bool) -> Option<Refusal> {
        match (&self.revocation, is_here) {
            (Some(_), _) => Some(Refusal::Revoked),
            (None, true) => None,
            (None, false) => Some(Refusal::IssuedElsewhere { certificate: self.record.certificate.clone() }),
        }
    }
}

/// A certificate to enter into the index.
pub(crate) struct NewEntry<'a> {
    pub(crate) made: &'a NewCertificate,
    pub(crate) place: &'a Place,
}

/// An output of this CA.
pub(crate) struct IndexedOutput {
    pub(crate) id: i64,
    pub(crate) sink: Sink,
    /// Entries up to this one are on its disk for certain.
    flushed: i64,
}

/// An entry that may not have reached its output, or the last one that did.
pub(crate) struct Placed {
    pub(crate) id: i64,
    pub(crate) sha256: Sha256Thumbprint,
    pub(crate) place: Place,
}

impl IssuanceIndex {
    /// Opens a CA's index to issue; only one process can.
    pub(crate) fn open(ca: &Path) -> Result<Self, Error> {
        let lock = Lock::take(ca)?;
        Self::open_with(&ca.join(INDEX), Some(lock))
    }

    /// Opens an index file, and makes it if it is missing.
    pub(crate) fn open_with(path: &Path, lock: Option<Lock>) -> Result<Self, Error> {
        let path = path.to_owned();
        // SQLite gives its other files the mode of this one.
        drop(fs::open_private(&path)?);
        let connect = || {
            let connection = Connection::open(&path)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            // Otherwise a statement may be prepared anew each time a value is bound.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
            connection.pragma_update(None, "journal_mode", "wal")?;
            // Written means written, also after a power cut.
            connection.pragma_update(None, "synchronous", "full")?;
            let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
            if version == 0 {
                connection.execute_batch(SCHEMA)?;
            }
            if version < VERSION {
                let steps = format!(
                    "BEGIN EXCLUSIVE; {} PRAGMA user_version = {VERSION}; COMMIT;",
                    authorities::TABLE
                );
                connection.execute_batch(&steps)?;
            }
            Ok((connection, version))
        };
        let (connection, version) = connect().map_err(|source| Error::database(&path, source))?;
        refuse_newer(&path, version)?;
        Ok(Self { path, connection, has_ordered_keys: false, _lock: lock })
    }

    /// Opens a CA's index without the right to write it; `None` if the CA has issued nothing yet.
    pub(crate) fn open_to_read(ca: &Path) -> Result<Option<Self>, Error> {
        let path = ca.join(INDEX);
        if !fs::is_present(&path)? {
            return Ok(None);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connect = || {
            let connection = Connection::open_with_flags(&path, flags)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
            Ok((connection, version))
        };
        let (connection, version) = connect().map_err(|source| Error::database(&path, source))?;
        refuse_newer(&path, version)?;
        Ok(Some(Self { path, connection, has_ordered_keys: false, _lock: None }))
    }

    /// The output that has a token, entered if it is new. It may have been moved since.
    pub(crate) fn output(&mut self, token: &str, folder: &Path, sink: Sink) -> Result<IndexedOutput, Error> {
        let folder = std::path::absolute(folder).map_err(Error::io("find", folder))?;
        let enter = |connection: &Connection| {
            connection.execute(
                "INSERT INTO outputs (token, path, sink, released) VALUES (?1, ?2, ?3, 0)
                 ON CONFLICT (token) DO UPDATE SET path = ?2",
                params![token, folder.to_string_lossy(), sink.as_str()],
            )?;
            connection.query_row(
                "SELECT id, sink, released FROM outputs WHERE token = ?1",
                params![token],
                |row| Ok(IndexedOutput { id: row.get(0)?, sink: sink_of(row, 1)?, flushed: row.get(2)? }),
            )
        };
        enter(&self.connection).map_err(|source| Error::database(&self.path, source))
    }

    /// Returns whether the index knows an output.
    pub(crate) fn knows_output(&self, token: &str) -> Result<bool, Error> {
        self.find_output(token).map(|found| found.is_some())
    }

    /// The number of the output that has a token.
    pub(crate) fn find_output(&self, token: &str) -> Result<Option<i64>, Error> {
        let mut found = self.prepare("SELECT id FROM outputs WHERE token = ?1")?;
        let found = found.query_row(params![token], |row| row.get(0)).optional();
        found.map_err(|source| Error::database(&self.path, source))
    }

    /// The outputs that may lack what was entered for them, each with its folder and its token.
    pub(crate) fn unsettled_outputs(&self) -> Result<Vec<(IndexedOutput, PathBuf, String)>, Error> {
        let mut statement = self.prepare(
            "SELECT id, sink, released, path, token FROM outputs o
             WHERE EXISTS (SELECT 1 FROM certificates c WHERE c.id > o.released AND c.output = o.id)",
        )?;
        let read = |row: &Row<'_>| {
            let output = IndexedOutput { id: row.get(0)?, sink: sink_of(row, 1)?, flushed: row.get(2)? };
            Ok((output, PathBuf::from(row.get::<_, String>(3)?), row.get(4)?))
        };
        let found = statement.query_map([], read).and_then(Iterator::collect);
        found.map_err(|source| Error::database(&self.path, source))
    }

    /// Forgets an output that has no entry, and tells whether it was such a one.
    pub(crate) fn forget_output(&self, output: &IndexedOutput) -> Result<bool, Error> {
        let sql = "DELETE FROM outputs WHERE id = ?1
                   AND NOT EXISTS (SELECT 1 FROM certificates WHERE output = ?1)";
        self.execute(sql, params![output.id]).map(|forgotten| forgotten == 1)
    }

    /// The entries that may not have reached an output, the first one first.
    pub(crate) fn pending(&self, output: &IndexedOutput) -> Result<Vec<Placed>, Error> {
        self.placed(
            "SELECT id, sha256, entry_at, certificate_at, key_at, list_at FROM certificates
             WHERE id > ?2 AND output = ?1 ORDER BY id",
            params![output.id, output.flushed],
        )
    }

    /// The last entry that is in an output for certain.
    pub(crate) fn last_flushed(&self, output: &IndexedOutput) -> Result<Option<Placed>, Error> {
        // One process issues at a time, so the last one entered for it is the last one released.
        let found = self.placed(
            "SELECT id, sha256, entry_at, certificate_at, key_at, list_at FROM certificates
             WHERE id = ?2 AND output = ?1",
            params![output.id, output.flushed],
        )?;
        Ok(found.into_iter().next())
    }

    fn placed(&self, sql: &str, values: impl rusqlite::Params) -> Result<Vec<Placed>, Error> {
        let mut statement = self.prepare(sql)?;
        let read = |row: &Row<'_>| {
            Ok(Placed {
                id: row.get(0)?,
                sha256: Sha256Thumbprint::from_bytes(row.get(1)?),
                place: Place {
                    entry: row.get(2)?,
                    certificate: row.get(3)?,
                    private_key: row.get(4)?,
                    list: row.get(5)?,
                },
            })
        };
        let rows = statement.query_map(values, read).and_then(Iterator::collect);
        rows.map_err(|source| Error::database(&self.path, source))
    }

    /// Takes back entries of an output that never reached it, from one on.
    pub(crate) fn rollback_from(&self, output: &IndexedOutput, from: i64) -> Result<(), Error> {
        let sql = "DELETE FROM certificates WHERE id >= ?2 AND output = ?1";
        self.execute(sql, params![output.id, from])?;
        let sql = "DELETE FROM keys WHERE certificate >= ?1";
        self.execute(sql, params![from])?;
        let sql = "UPDATE progress SET keyed = MIN(keyed, ?1 - 1)";
        self.execute(sql, params![from])?;
        Ok(())
    }

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

    /// Takes to the disk what an output has for certain.
    pub(crate) fn flush(&self, output: &IndexedOutput) -> Result<(), Error> {
        let sql = "UPDATE outputs SET released = ?2 WHERE id = ?1 AND released < ?2";
        self.execute(sql, params![output.id, output.flushed]).map(drop)
    }

    /// Notes that an output has everything up to an entry; the next one entered takes it to the disk.
    pub(crate) fn mark_flushed(output: &mut IndexedOutput, last: i64) {
        output.flushed = output.flushed.max(last);
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
        if !self.has_ordered_keys {
            self.end_read()?;
            order_keys(&mut self.connection).map_err(|source| Error::database(&self.path, source))?;
            self.has_ordered_keys = true;
        }
        self.begin_read()?;
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

fn refuse_newer(path: &Path, version: i64) -> Result<(), Error> {
    match version > VERSION {
        true => Err(Error::BadCa {
            path: path.to_owned(),
            reason: format!("its index has version {version}, and this program knows {VERSION}"),
        }),
        false => Ok(()),
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

fn entry(row: &Row<'_>) -> Result<IndexEntry, rusqlite::Error> {
    let identity = identity(row, 1)?;
    let sink = sink_of(row, 13)?;
    let folder = PathBuf::from(row.get::<_, String>(12)?);
    let place = Place { entry: row.get(16)?, certificate: row.get(9)?, private_key: row.get(10)?, list: 0 };
    let elsewhere: Option<String> = row.get(15)?;
    let private_key = match elsewhere {
        Some(path) => Some(path.into()),
        None => sink.key_location(&identity, &place).map(|path| folder.join(path)),
    };
    Ok(IndexEntry {
        id: row.get(0)?,
        record: IssuedCertificate {
            auth: auth_of(row, 8)?,
            sha256: Sha256Thumbprint::from_bytes(row.get(3)?),
            sha1: Sha1Thumbprint::from_bytes(row.get(4)?),
            serial: upper_hex(&row.get::<_, Vec<u8>>(2)?),
            not_before: time_of(row, 6)?,
            not_after: time_of(row, 7)?,
            certificate: folder.join(sink.certificate_location(&identity, &place)),
            private_key,
            replaced: row.get::<_, Option<_>>(14)?.map(Sha256Thumbprint::from_bytes),
        },
        identity,
        key: Fingerprint::from_bytes(row.get(5)?),
        is_current: row.get(19)?,
        revocation: revocation::of_row(row, 17)?,
        output: row.get(11)?,
    })
}

fn auth_of(row: &Row<'_>, column: usize) -> Result<IssuedAuth, rusqlite::Error> {
    let number = row.get(column)?;
    IssuedAuth::from_number(number).ok_or(rusqlite::Error::IntegralValueOutOfRange(column, number))
}

fn sink_of(row: &Row<'_>, column: usize) -> Result<Sink, rusqlite::Error> {
    let name: String = row.get(column)?;
    Sink::parse(&name).ok_or_else(|| rusqlite::Error::InvalidColumnName(name))
}

fn time_of(row: &Row<'_>, column: usize) -> Result<OffsetDateTime, rusqlite::Error> {
    let seconds: i64 = row.get(column)?;
    OffsetDateTime::from_unix_timestamp(seconds)
        .map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, seconds))
}

fn identity(row: &Row<'_>, column: usize) -> Result<IdentityId, rusqlite::Error> {
    let text: String = row.get(column)?;
    IdentityId::from_common_name(&text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
    })
}

/// The right to issue, held by one process at a time.
pub(crate) struct Lock(File);

impl Lock {
    fn take(ca: &Path) -> Result<Self, Error> {
        let path = ca.join(LOCK);
        let file = fs::open_private(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(Error::Locked { path: ca.to_owned() }),
            Err(TryLockError::Error(source)) => Err(Error::io("lock", &path)(source)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough while a process that is just being started shares the open file.
        let _ = self.0.unlock();
    }
}

pub(crate) const INDEX: &str = "index.db";
const LOCK: &str = "index.lock";
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
const VERSION: i64 = 2;
/// Entries in memory at once.
const PAGE: usize = 1000;

const SCHEMA: &str = "
BEGIN EXCLUSIVE;
CREATE TABLE IF NOT EXISTS outputs (
    id INTEGER PRIMARY KEY,
    -- Also in a file in the folder, which may be moved.
    token TEXT NOT NULL UNIQUE,
    path TEXT NOT NULL,
    sink TEXT NOT NULL,
    -- Certificates of this output up to this one have reached it.
    released INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS certificates (
    id INTEGER PRIMARY KEY,
    output INTEGER NOT NULL REFERENCES outputs,
    -- `device` or `device/module`.
    identity TEXT NOT NULL,
    serial BLOB NOT NULL,
    sha256 BLOB NOT NULL,
    sha1 BLOB NOT NULL,
    -- SHA-256 of the SubjectPublicKeyInfo.
    key BLOB NOT NULL,
    -- Seconds since 1970.
    not_before INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    auth INTEGER NOT NULL,
    -- Places in the files of the output.
    entry_at INTEGER NOT NULL,
    certificate_at INTEGER NOT NULL,
    key_at INTEGER,
    list_at INTEGER NOT NULL,
    -- The thumbprint of the certificate that this one takes the place of.
    replaced BLOB,
    -- Where the private key is when it is not in the output.
    private_key TEXT,
    revoked_at INTEGER,
    -- CRLReason, RFC 5280 section 5.3.1.
    reason INTEGER
);
CREATE INDEX IF NOT EXISTS by_identity ON certificates (identity);
CREATE INDEX IF NOT EXISTS revoked ON certificates (revoked_at) WHERE revoked_at IS NOT NULL;
-- The first 8 bytes of keys, in order, of certificates up to progress.keyed.
CREATE TABLE IF NOT EXISTS keys (
    prefix BLOB NOT NULL,
    certificate INTEGER NOT NULL,
    PRIMARY KEY (prefix, certificate)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS progress (keyed INTEGER NOT NULL, crl_number INTEGER NOT NULL);
INSERT INTO progress SELECT 0, 0 WHERE NOT EXISTS (SELECT 1 FROM progress);
PRAGMA user_version = 1;
COMMIT;
";

const INSERT: &str = "INSERT INTO certificates
    (output, identity, serial, sha256, sha1, key, not_before, not_after, auth, entry_at, certificate_at,
     key_at, list_at, replaced, private_key)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";

const SELECT: &str = "SELECT c.id, c.identity, c.serial, c.sha256, c.sha1, c.key, c.not_before, c.not_after,
    c.auth, c.certificate_at, c.key_at, c.output, o.path, o.sink, c.replaced, c.private_key, c.entry_at,
    c.revoked_at, c.reason,
    NOT EXISTS (SELECT 1 FROM certificates n WHERE n.identity = c.identity AND n.id > c.id)
    FROM certificates c JOIN outputs o ON o.id = c.output";
