//! The tables of a shared ledger.

use super::super::column::ResultRow;
use super::super::progress_sample::PROGRESS_SAMPLE;
use super::super::row::ROW;
use super::super::run::RUN;
use super::super::session::SESSION;
use super::super::table::Dialect::Postgres;
use super::super::table::{VERSION, additions};
use super::client::{Client, Error};

/// Makes missing tables, migrates older ones, and returns their version. Stations that start at the
/// same time wait for one another.
pub(super) fn prepare(client: &mut Client) -> Result<i64, Error> {
    client.transaction(|client| {
        client.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK])?;
        let is_there =
            client.query_one("SELECT to_regclass('provisioner.ledger_version') IS NOT NULL", &[])?;
        if !is_there.at(0)? {
            client.batch_execute(&tables())?;
            client.execute("INSERT INTO ledger_version (version) VALUES ($1)", &[&VERSION])?;
        }
        let version = client.query_one("SELECT max(version) FROM ledger_version", &[])?.at(0)?;
        if !(1..VERSION).contains(&version) {
            return Ok(version);
        }
        (version..VERSION).try_for_each(|version| client.batch_execute(&step(version)))?;
        client.execute("UPDATE ledger_version SET version = $1", &[&VERSION])?;
        Ok(VERSION)
    })
}

/// The number of an advisory lock; any number that no other program uses.
const LOCK: i64 = 0x7072_6f76;

/// The statements that make all tables.
fn tables() -> String {
    let run = RUN.create(Postgres, VERSION, "");
    let row = ROW.create(Postgres, VERSION, ROOM_FOR_UPDATES);
    format!("{SCHEMA}{run}{TOKEN_OF_RUN}{row}{DEFAULT_LEVEL}{WORK}{STATIONS}{}", sessions(VERSION))
}

/// The statements that make the tables of sessions as a version had them.
fn sessions(version: i64) -> String {
    let session = SESSION.create(Postgres, version, "");
    let sample = PROGRESS_SAMPLE.create(Postgres, version, "");
    format!("{session}{sample}")
}

/// The statements that bring the tables of a version to the next version. There was no version 2:
/// version 3 followed the first one, of which the oldest tables had no stations.
fn step(from: i64) -> String {
    let additions = additions(Postgres, from + 1);
    match from {
        1 => STATIONS.to_owned(),
        2 => format!("{additions}{MOVE_EXPECTED_ETAGS}{}", sessions(3)),
        3 => format!("{additions}{TOKEN_OF_RUN}{TOKEN_OF_CHUNK}"),
        _ => additions,
    }
}

const SCHEMA: &str = "
    CREATE SCHEMA IF NOT EXISTS provisioner;
    CREATE TABLE ledger_version (version BIGINT NOT NULL);
";

/// The settings of a table whose rows are updated several times.
const ROOM_FOR_UPDATES: &str = "WITH (fillfactor = 60)";

/// A run's token, by which a station recognizes the run after a reconnection.
const TOKEN_OF_RUN: &str = "ALTER TABLE run ADD COLUMN token BYTEA;";

/// Older programs insert rows without a level.
const DEFAULT_LEVEL: &str = r#"ALTER TABLE "row" ALTER COLUMN level SET DEFAULT 0;"#;

/// As in SQLite, but a chunk has a lease.
const WORK: &str = r#"
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

/// The etags of unfinished rows before version 3 were those that a plan expects, which have columns
/// of their own now.
const MOVE_EXPECTED_ETAGS: &str = r#"
    UPDATE "row" SET identity_etag_before = identity_etag, twin_etag_before = twin_etag,
                     identity_etag = NULL, twin_etag = NULL
    WHERE state IN ('pending', 'claimed', 'sent') AND (identity_etag IS NOT NULL OR twin_etag IS NOT NULL);
"#;

/// The addition of version 4 to chunks: the token of the lease.
const TOKEN_OF_CHUNK: &str = "ALTER TABLE chunk ADD COLUMN token BYTEA;";
