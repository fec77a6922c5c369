-- Migration 130 for SQLite says what these are.
ALTER TABLE registrations ADD COLUMN downstream BIGINT NOT NULL DEFAULT 0 CHECK (downstream IN (0, 1));

CREATE TABLE intermediates (
    authority  TEXT   COLLATE "C" PRIMARY KEY,
    serial     BYTEA  NOT NULL,
    spiffe_id  TEXT   COLLATE "C" NOT NULL,
    node       BIGINT NOT NULL,
    signer     TEXT   COLLATE "C" NOT NULL,
    not_before BIGINT NOT NULL,
    not_after  BIGINT NOT NULL
);

CREATE INDEX intermediates_by_spiffe_id ON intermediates (spiffe_id);

CREATE TABLE downstream_keys (
    id        TEXT   COLLATE "C" PRIMARY KEY,
    spiffe_id TEXT   COLLATE "C" NOT NULL,
    jwks      TEXT   COLLATE "C" NOT NULL,
    published BIGINT NOT NULL
);

CREATE TABLE above (
    one      BIGINT PRIMARY KEY CHECK (one = 1),
    x509     BYTEA  NOT NULL,
    jwks     TEXT   COLLATE "C" NOT NULL,
    sequence BIGINT NOT NULL,
    mark     TEXT   COLLATE "C" NOT NULL,
    tainted  TEXT   COLLATE "C" NOT NULL,
    heard    BIGINT NOT NULL
);
