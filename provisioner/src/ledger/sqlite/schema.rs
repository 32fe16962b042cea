//! The tables of a ledger.

use rusqlite::Connection;

/// The version of the tables below.
pub(super) const VERSION: i64 = 2;

/// Sets the connection up and makes the tables where they are missing.
pub(super) fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // Each commit reaches the disk before it counts, so that a power failure loses nothing.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.set_prepared_statement_cache_capacity(32);
    if version(connection)? == 0 {
        connection.execute_batch(&format!("BEGIN; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;"))?;
    }
    Ok(())
}

pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// `row` is kept in the order of work: devices by id, each before its modules ('' sorts first).
/// `chunk` is what a worker takes at once: the devices of a level between two ids, and their modules.
/// `credential` remembers, across runs, whose a thumbprint, a public key or a serial is.
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
        rejected     INTEGER NOT NULL DEFAULT 0
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
        PRIMARY KEY (run, device_id, module_id)
    ) WITHOUT ROWID;
    CREATE INDEX row_by_state ON row (run, state);
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
    CREATE TABLE credential (
        kind         TEXT NOT NULL,
        value        TEXT NOT NULL,
        device_id    TEXT NOT NULL,
        module_id    TEXT NOT NULL,
        run          INTEGER NOT NULL REFERENCES run(id),
        PRIMARY KEY (kind, value)
    ) WITHOUT ROWID;
";
