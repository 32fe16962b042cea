//! The tables of a shared ledger.

use super::super::VERSION;
use super::client::{Client, Error};
use super::columns::get;

/// Makes missing tables, migrates older ones, and returns their version. Stations that start at the
/// same time wait for one another.
pub(super) fn prepare(client: &mut Client) -> Result<i64, Error> {
    client.transaction(|client| {
        client.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK])?;
        let is_there =
            client.query_one("SELECT to_regclass('provisioner.ledger_version') IS NOT NULL", &[])?;
        if !get(&is_there, 0)? {
            client.batch_execute(&format!("{TABLES}{STATIONS}{STINTS}"))?;
            client.execute("INSERT INTO ledger_version (version) VALUES ($1)", &[&VERSION])?;
        }
        let version: i64 = get(&client.query_one("SELECT max(version) FROM ledger_version", &[])?, 0)?;
        let steps = match version {
            FIRST => format!("{STATIONS}{FROM_FIRST}{STINTS}{FROM_3_TO_4}"),
            3 => FROM_3_TO_4.to_owned(),
            _ => return Ok(version),
        };
        client.batch_execute(&steps)?;
        client.execute("UPDATE ledger_version SET version = $1", &[&VERSION])?;
        Ok(VERSION)
    })
}

/// The version of the first tables, without stations in the oldest of them. The next one was 3.
const FIRST: i64 = 1;

/// The number of an advisory lock; any number that no other program uses.
const LOCK: i64 = 0x7072_6f76;

/// As in SQLite, but a chunk has a lease. Ids compare byte by byte, regardless of the database's
/// language.
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
        rejected     BIGINT NOT NULL DEFAULT 0,
        operator     TEXT NOT NULL DEFAULT '',
        station      TEXT NOT NULL DEFAULT '',
        verification TEXT,
        token        BYTEA
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
        identity_etag_before TEXT,
        twin_etag_before TEXT,
        serial        TEXT,
        stint         BIGINT,
        sent          TEXT,
        deviation     TEXT,
        reason        TEXT,
        held_by       BIGINT,
        status_reason_before TEXT,
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
        token        BYTEA,
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

/// The active stations of a hub, with their expiry. A station gets a new random number each time it
/// starts.
const STATIONS: &str = "
    CREATE TABLE IF NOT EXISTS station (
        id      BIGINT PRIMARY KEY,
        hub     TEXT NOT NULL,
        expires TIMESTAMPTZ NOT NULL
    );
";

/// The work of one process on a run, with its progress over time.
const STINTS: &str = "
    CREATE TABLE stint (
        run          BIGINT NOT NULL REFERENCES run(id),
        number       BIGINT NOT NULL,
        operator     TEXT NOT NULL,
        station      TEXT NOT NULL,
        tool_version TEXT NOT NULL,
        started      TEXT NOT NULL,
        PRIMARY KEY (run, number)
    );
    CREATE TABLE moment (
        run          BIGINT NOT NULL REFERENCES run(id),
        stint        BIGINT NOT NULL,
        elapsed_ms   BIGINT NOT NULL,
        rows         BIGINT NOT NULL,
        calls        BIGINT NOT NULL,
        failed       BIGINT NOT NULL,
        throttled    BIGINT NOT NULL,
        held_ms      BIGINT NOT NULL,
        down_ms      BIGINT NOT NULL,
        PRIMARY KEY (run, stint, elapsed_ms)
    );
";

/// The changes since the first tables. The etags of unfinished rows were those that a plan expects,
/// which have columns of their own now.
const FROM_FIRST: &str = r#"
    ALTER TABLE run
        ADD COLUMN operator TEXT NOT NULL DEFAULT '',
        ADD COLUMN station TEXT NOT NULL DEFAULT '',
        ADD COLUMN verification TEXT;
    ALTER TABLE "row"
        ADD COLUMN identity_etag_before TEXT,
        ADD COLUMN twin_etag_before TEXT,
        ADD COLUMN serial TEXT,
        ADD COLUMN stint BIGINT,
        ADD COLUMN sent TEXT,
        ADD COLUMN deviation TEXT;
    UPDATE "row" SET identity_etag_before = identity_etag, twin_etag_before = twin_etag,
                     identity_etag = NULL, twin_etag = NULL
    WHERE state IN ('pending', 'claimed', 'sent') AND (identity_etag IS NOT NULL OR twin_etag IS NOT NULL);
"#;

/// The additions of version 4 to version 3. Older rows have no reason code.
const FROM_3_TO_4: &str = r#"
    ALTER TABLE "row"
        ADD COLUMN reason TEXT,
        ADD COLUMN held_by BIGINT,
        ADD COLUMN status_reason_before TEXT;
    ALTER TABLE run ADD COLUMN token BYTEA;
    ALTER TABLE chunk ADD COLUMN token BYTEA;
"#;
