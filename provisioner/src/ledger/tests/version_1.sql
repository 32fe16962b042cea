-- An SQLite ledger as version 1 made it, with a run that was cut off.
CREATE TABLE run (
    id           INTEGER PRIMARY KEY,
    started      TEXT NOT NULL,
    finished     TEXT,
    state        TEXT NOT NULL,
    hub          TEXT NOT NULL,
    input        TEXT NOT NULL,
    input_sha256 TEXT NOT NULL,
    tool_version TEXT NOT NULL,
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
CREATE TABLE credential (
    kind         TEXT NOT NULL,
    value        TEXT NOT NULL,
    device_id    TEXT NOT NULL,
    module_id    TEXT NOT NULL,
    run          INTEGER NOT NULL REFERENCES run(id),
    PRIMARY KEY (kind, value)
) WITHOUT ROWID;
INSERT INTO run (started, state, hub, input, input_sha256, tool_version, rejected)
VALUES ('2026-11-20T10:00:00Z', 'interrupted', 'hub.example', 'batch.csv', '4BB24EFC9641AFC5DED1CA77EABB6E2FCF062D2112CCD61BD8BD6ACD89180BAE', '0.1.0', 1);
INSERT INTO row (run, device_id, module_id, level, line, desired, desired_hash, state, effect, attempts,
                 identity_etag, twin_etag, updated)
VALUES (1, 'a', '', 0, 2, '{"auth":"x509_ca"}', 'X', 'done', 'created', 1, 'I1', 'T1', '2026-11-20T10:00:05Z'),
       (1, 'a', 'm', 0, 3, '{"auth":"x509_ca"}', 'X', 'pending', NULL, 0, 'I2', 'T2', NULL);
PRAGMA user_version = 1;
