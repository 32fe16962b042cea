//! The tables of a ledger.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::super::VERSION;
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
            0 => transaction.execute_batch(&format!("{TABLES}{STINTS}"))?,
            1 => {
                transaction.execute_batch(&format!("{FROM_1_TO_2}{FROM_2_TO_3}{STINTS}{FROM_3_TO_4}"))?;
            }
            2 => transaction.execute_batch(&format!("{FROM_2_TO_3}{STINTS}{FROM_3_TO_4}"))?,
            3 => transaction.execute_batch(FROM_3_TO_4)?,
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

/// `row` is sorted in the order of work: devices by id, each before its modules ('' sorts first).
/// `chunk` is the part that a worker takes at once: the devices of a level between two ids, and
/// their modules. `credential` stores, across runs, the owners of thumbprints, public keys and
/// serial numbers.
const TABLES: &str = "
    CREATE TABLE run (
        id           INTEGER PRIMARY KEY,
        started      TEXT NOT NULL,
        finished     TEXT,
        state        TEXT NOT NULL,
        hub          TEXT NOT NULL,
        input        TEXT NOT NULL,
        input_sha256 TEXT NOT NULL,
        tool_version TEXT NOT NULL,
        options      TEXT NOT NULL,
        rejected     INTEGER NOT NULL DEFAULT 0,
        operator     TEXT NOT NULL DEFAULT '',
        station      TEXT NOT NULL DEFAULT '',
        verification TEXT
    );
    CREATE TABLE row (
        run          INTEGER NOT NULL REFERENCES run(id),
        device_id    TEXT NOT NULL,
        module_id    TEXT NOT NULL,
        level        INTEGER NOT NULL,
        line         INTEGER NOT NULL,
        desired      TEXT NOT NULL,
        desired_hash TEXT NOT NULL,
        state        TEXT NOT NULL,
        effect       TEXT,
        presumed     INTEGER NOT NULL DEFAULT 0,
        attempts     INTEGER NOT NULL DEFAULT 0,
        http_status  INTEGER,
        error_code   TEXT,
        error        TEXT,
        tracking_id  TEXT,
        differences  TEXT,
        identity_etag TEXT,
        twin_etag    TEXT,
        updated      TEXT,
        identity_etag_before TEXT,
        twin_etag_before TEXT,
        serial       TEXT,
        stint        INTEGER,
        sent         TEXT,
        deviation    TEXT,
        reason       TEXT,
        held_by      INTEGER,
        status_reason_before TEXT,
        PRIMARY KEY (run, device_id, module_id)
    ) WITHOUT ROWID;
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

/// The changes of version 3 to version 2. It has no index on the rows' states, which had to be
/// updated with each change and was hardly read. The etags of unfinished rows were those that a
/// plan expects, which have columns of their own now.
const FROM_2_TO_3: &str = "
    DROP INDEX row_by_state;
    ALTER TABLE run ADD COLUMN operator TEXT NOT NULL DEFAULT '';
    ALTER TABLE run ADD COLUMN station TEXT NOT NULL DEFAULT '';
    ALTER TABLE run ADD COLUMN verification TEXT;
    ALTER TABLE row ADD COLUMN identity_etag_before TEXT;
    ALTER TABLE row ADD COLUMN twin_etag_before TEXT;
    ALTER TABLE row ADD COLUMN serial TEXT;
    ALTER TABLE row ADD COLUMN stint INTEGER;
    ALTER TABLE row ADD COLUMN sent TEXT;
    ALTER TABLE row ADD COLUMN deviation TEXT;
    UPDATE row SET identity_etag_before = identity_etag, twin_etag_before = twin_etag,
                   identity_etag = NULL, twin_etag = NULL
    WHERE state IN ('pending', 'claimed', 'sent') AND (identity_etag IS NOT NULL OR twin_etag IS NOT NULL);
";

/// The additions of version 4 to version 3: the reason codes of rows, and a chunk's fence and
/// token, by which each write proves that its lease is valid. Older rows have no reason code.
const FROM_3_TO_4: &str = "
    ALTER TABLE row ADD COLUMN reason TEXT;
    ALTER TABLE row ADD COLUMN held_by INTEGER;
    ALTER TABLE row ADD COLUMN status_reason_before TEXT;
    ALTER TABLE chunk ADD COLUMN fence INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE chunk ADD COLUMN token BLOB;
";

/// `stint` is the work of one process on a run, `moment` its progress over time.
const STINTS: &str = "
    CREATE TABLE stint (
        run          INTEGER NOT NULL REFERENCES run(id),
        number       INTEGER NOT NULL,
        operator     TEXT NOT NULL,
        station      TEXT NOT NULL,
        tool_version TEXT NOT NULL,
        started      TEXT NOT NULL,
        PRIMARY KEY (run, number)
    ) WITHOUT ROWID;
    CREATE TABLE moment (
        run          INTEGER NOT NULL REFERENCES run(id),
        stint        INTEGER NOT NULL,
        elapsed_ms   INTEGER NOT NULL,
        rows         INTEGER NOT NULL,
        calls        INTEGER NOT NULL,
        failed       INTEGER NOT NULL,
        throttled    INTEGER NOT NULL,
        held_ms      INTEGER NOT NULL,
        down_ms      INTEGER NOT NULL,
        PRIMARY KEY (run, stint, elapsed_ms)
    ) WITHOUT ROWID;
";
