//! The tables of a ledger.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::super::progress_sample::PROGRESS_SAMPLE;
use super::super::row::ROW;
use super::super::run::RUN;
use super::super::session::SESSION;
use super::super::table::Dialect::Sqlite;
use super::super::table::{VERSION, additions};
use super::file::APPLICATION_ID;

/// Configures the connection, makes missing tables, and migrates older ones.
pub(super) fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    wait_for_disk(connection, true)?;
    // The file itself is written to, and waited for, when so much stands beside it: SQLite's own 1,000 pages are
    // less than a run of a few thousand rows is loaded with.
    connection.pragma_update(None, "wal_autocheckpoint", PAGES_BESIDE)?;
    // Thumbprints come in no order: with SQLite's own 2 MB, a large batch would read pages again and again.
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.set_prepared_statement_cache_capacity(32);
    if version(connection)? < VERSION {
        // Another process may be at the same: so the version is asked for again under the lock.
        let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
        match version(&transaction)? {
            0 => transaction.execute_batch(&tables())?,
            found @ 1..VERSION => {
                (found..VERSION).try_for_each(|version| transaction.execute_batch(&step(version)))?;
            }
            _ => return Ok(()),
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
        transaction.commit()?;
    }
    Ok(())
}

/// Sets whether later commits are on the disk when they return. A durable commit includes all
/// earlier ones: in either case a power failure leaves an earlier state of the ledger.
pub(super) fn wait_for_disk(connection: &Connection, wait: bool) -> rusqlite::Result<()> {
    connection.pragma_update(None, "synchronous", if wait { "full" } else { "normal" })
}

pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// 16 MiB.
const PAGES_BESIDE: i64 = 4096;
/// The size of the database's memory cache.
const CACHE_KIB: i64 = 16 * 1024;

/// The statements that make all tables.
fn tables() -> String {
    let run = RUN.create(Sqlite, VERSION, "");
    let row = ROW.create(Sqlite, VERSION, "WITHOUT ROWID");
    format!("{run}{row}{WORK}{}", sessions(VERSION))
}

/// The statements that make the tables of sessions as a version had them.
fn sessions(version: i64) -> String {
    let session = SESSION.create(Sqlite, version, "WITHOUT ROWID");
    let sample = PROGRESS_SAMPLE.create(Sqlite, version, "WITHOUT ROWID");
    format!("{session}{sample}")
}

/// The statements that bring the tables of a version to the next version.
fn step(from: i64) -> String {
    let additions = additions(Sqlite, from + 1);
    match from {
        1 => FROM_1_TO_2.to_owned(),
        2 => format!("{DROP_INDEX}{additions}{MOVE_EXPECTED_ETAGS}{}", sessions(3)),
        3 => format!("{additions}{ADD_FENCES}"),
        _ => additions,
    }
}

/// `chunk` is the part that a worker takes at once: the devices of a level between two ids, and
/// their modules. `credential` stores, across runs, the owners of thumbprints, public keys and
/// serial numbers.
const WORK: &str = "
    CREATE TABLE chunk (
        run          INTEGER NOT NULL REFERENCES run(id),
        number       INTEGER NOT NULL,
        level        INTEGER NOT NULL,
        first_device TEXT NOT NULL,
        last_device  TEXT NOT NULL,
        state        TEXT NOT NULL,
        fence        INTEGER NOT NULL DEFAULT 0,
        token        BLOB,
        PRIMARY KEY (run, number)
    ) WITHOUT ROWID;
    CREATE INDEX chunk_by_state ON chunk (run, state, number);
    CREATE TABLE credential (
        kind         TEXT NOT NULL,
        value        TEXT NOT NULL,
        device_id    TEXT NOT NULL,
        module_id    TEXT NOT NULL,
        run          INTEGER NOT NULL REFERENCES run(id),
        PRIMARY KEY (kind, value)
    ) WITHOUT ROWID;
";

/// The additions of version 2 to version 1. Runs had no options: each created missing identities.
const FROM_1_TO_2: &str = "
    ALTER TABLE run ADD COLUMN options TEXT NOT NULL DEFAULT '{}';
    ALTER TABLE row ADD COLUMN presumed INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE chunk (
        run          INTEGER NOT NULL REFERENCES run(id),
        number       INTEGER NOT NULL,
        level        INTEGER NOT NULL,
        first_device TEXT NOT NULL,
        last_device  TEXT NOT NULL,
        state        TEXT NOT NULL,
        PRIMARY KEY (run, number)
    ) WITHOUT ROWID;
    CREATE INDEX chunk_by_state ON chunk (run, state, number);
";

/// An index on the rows' states, which had to be updated with each change and was hardly read.
/// Version 3 does not have it.
const DROP_INDEX: &str = "DROP INDEX row_by_state;";

/// The etags of unfinished rows before version 3 were those that a plan expects, which have columns
/// of their own now.
const MOVE_EXPECTED_ETAGS: &str = "
    UPDATE row SET identity_etag_before = identity_etag, twin_etag_before = twin_etag,
                   identity_etag = NULL, twin_etag = NULL
    WHERE state IN ('pending', 'claimed', 'sent') AND (identity_etag IS NOT NULL OR twin_etag IS NOT NULL);
";

/// The additions of version 4: a chunk's fence and token, by which each write proves that its lease
/// is valid.
const ADD_FENCES: &str = "
    ALTER TABLE chunk ADD COLUMN fence INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE chunk ADD COLUMN token BLOB;
";
