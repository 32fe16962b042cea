-- A shared ledger as version 4 made it, with a run of a plan that was cut off.
CREATE SCHEMA IF NOT EXISTS provisioner;
SET search_path TO provisioner;
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
CREATE TABLE IF NOT EXISTS station (
    id      BIGINT PRIMARY KEY,
    hub     TEXT NOT NULL,
    expires TIMESTAMPTZ NOT NULL
);
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
INSERT INTO run (started, state, hub, input, input_sha256, tool_version, options, rejected)
VALUES ('2026-11-20T10:00:00Z', 'interrupted', 'hub.example', 'batch.csv', '4BB24EFC9641AFC5DED1CA77EABB6E2FCF062D2112CCD61BD8BD6ACD89180BAE', '0.1.0',
        '{"mode":"create","twin":"initial","plan":"64879F7D6B960A01909762D911A32D4582C20010C5641EE90278B644A9E3B525"}', 1);
INSERT INTO "row" (run, device_id, module_id, level, line, desired, desired_hash, state, effect, attempts,
                 identity_etag, twin_etag, identity_etag_before, twin_etag_before, updated)
VALUES (1, 'a', '', 0, 2, '{"auth":"x509_ca"}', 'X', 'done', 'created', 1, 'I1', 'T1', NULL, NULL,
        '2026-11-20T10:00:05Z'),
       (1, 'a', 'm', 0, 3, '{"auth":"x509_ca"}', 'X', 'pending', NULL, 0, NULL, NULL, 'I2', 'T2', NULL);
INSERT INTO ledger_version (version) VALUES (4);
