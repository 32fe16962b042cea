//! The tables of a shared ledger.

use postgres::{Client, Error};

/// The version of the tables below.
pub(super) const VERSION: i64 = 1;

/// Makes the tables where they are missing, and answers their version. Stations that begin at once
/// wait for one another.
pub(super) fn prepare(client: &mut Client) -> Result<i64, Error> {
    let mut transaction = client.transaction()?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK])?;
    let is_there: bool =
        transaction.query_one("SELECT to_regclass('provisioner.ledger_version') IS NOT NULL", &[])?.get(0);
    if !is_there {
        transaction.batch_execute(TABLES)?;
        transaction.execute("INSERT INTO ledger_version (version) VALUES ($1)", &[&VERSION])?;
    }
    // Ledgers that are older have all but this; programs that are older do without it.
    let has_stations: bool =
        transaction.query_one("SELECT to_regclass('provisioner.station') IS NOT NULL", &[])?.get(0);
    if !has_stations {
        transaction.batch_execute(STATIONS)?;
    }
    let version = transaction.query_one("SELECT max(version) FROM ledger_version", &[])?.get(0);
    transaction.commit()?;
    Ok(version)
}

/// Any number will do that no other program takes.
const LOCK: i64 = 0x7072_6f76;

/// As in SQLite, but a chunk has a lease. Ids compare byte by byte, whatever the database's language.
const TABLES: &str = r#"
    CREATE SCHEMA IF NOT EXISTS provisioner;
    CREATE TABLE ledger_version (version BIGINT NOT NULL);
    CREATE TABLE run (
        id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        started      TEXT NOT NULL,
        finished     TEXT,
        state        TEXT NOT NULL,
        hub          TEXT NOT NULL,
        input        TEXT NOT NULL,
        input_sha256 TEXT NOT NULL,
        tool_version TEXT NOT NULL,
        options      TEXT NOT NULL,
        rejected     BIGINT NOT NULL DEFAULT 0
    );
    CREATE TABLE "row" (
        run           BIGINT NOT NULL REFERENCES run(id),
        device_id     TEXT COLLATE "C" NOT NULL,
        module_id     TEXT COLLATE "C" NOT NULL,
        level         BIGINT NOT NULL DEFAULT 0,
        line          BIGINT NOT NULL,
        desired       TEXT NOT NULL,
        desired_hash  TEXT NOT NULL,
        state         TEXT NOT NULL,
        effect        TEXT,
        presumed      BOOLEAN NOT NULL DEFAULT FALSE,
        attempts      BIGINT NOT NULL DEFAULT 0,
        http_status   INTEGER,
        error_code    TEXT,
        error         TEXT,
        tracking_id   TEXT,
        differences   TEXT,
        identity_etag TEXT,
        twin_etag     TEXT,
        updated       TEXT,
        PRIMARY KEY (run, device_id, module_id)
    ) WITH (fillfactor = 60);
    CREATE TABLE chunk (
        run          BIGINT NOT NULL REFERENCES run(id),
        number       BIGINT NOT NULL,
        level        BIGINT NOT NULL,
        first_device TEXT COLLATE "C" NOT NULL,
        last_device  TEXT COLLATE "C" NOT NULL,
        done         BOOLEAN NOT NULL DEFAULT FALSE,
        fence        BIGINT NOT NULL DEFAULT 0,
        expires      TIMESTAMPTZ,
        PRIMARY KEY (run, number)
    ) WITH (fillfactor = 60);
    CREATE INDEX chunk_to_do ON chunk (run, level, number) WHERE NOT done;
    CREATE TABLE credential (
        kind      TEXT NOT NULL,
        value     TEXT COLLATE "C" NOT NULL,
        device_id TEXT COLLATE "C" NOT NULL,
        module_id TEXT COLLATE "C" NOT NULL,
        run       BIGINT NOT NULL REFERENCES run(id),
        PRIMARY KEY (kind, value)
    );
"#;

/// Who is at work on a hub, until when. A station's number is drawn anew each time it starts.
const STATIONS: &str = "
    CREATE TABLE station (
        id      BIGINT PRIMARY KEY,
        hub     TEXT NOT NULL,
        expires TIMESTAMPTZ NOT NULL
    );
";
