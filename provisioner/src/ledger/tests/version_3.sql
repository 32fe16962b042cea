-- An SQLite ledger as version 3 made it, with a run of a plan that was cut off.
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
    PRIMARY KEY (run, device_id, module_id)
) WITHOUT ROWID;
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
INSERT INTO run (started, state, hub, input, input_sha256, tool_version, options, rejected)
VALUES ('2026-11-20T10:00:00Z', 'interrupted', 'hub.example', 'batch.csv', '4BB24EFC9641AFC5DED1CA77EABB6E2FCF062D2112CCD61BD8BD6ACD89180BAE', '0.1.0',
        '{"mode":"create","twin":"initial","plan":"64879F7D6B960A01909762D911A32D4582C20010C5641EE90278B644A9E3B525"}', 1);
INSERT INTO row (run, device_id, module_id, level, line, desired, desired_hash, state, effect, attempts,
                 identity_etag, twin_etag, identity_etag_before, twin_etag_before, updated)
VALUES (1, 'a', '', 0, 2, '{"auth":"x509_ca"}', 'X', 'done', 'created', 1, 'I1', 'T1', NULL, NULL,
        '2026-11-20T10:00:05Z'),
       (1, 'a', 'm', 0, 3, '{"auth":"x509_ca"}', 'X', 'pending', NULL, 0, NULL, NULL, 'I2', 'T2', NULL);
PRAGMA user_version = 3;
