-- Migration 2 for SQLite says what these are.
CREATE TABLE log_leaves (
    position BIGINT PRIMARY KEY CHECK (position >= 0),
    leaf     BYTEA  NOT NULL,
    hashes   BYTEA  NOT NULL CHECK (length(hashes) >= 32 AND length(hashes) % 32 = 0),
    serial   BYTEA
);

CREATE INDEX log_leaves_by_serial ON log_leaves (serial) WHERE serial IS NOT NULL;

CREATE TABLE log_checkpoints (
    size      BIGINT PRIMARY KEY CHECK (size >= 0),
    note      TEXT   COLLATE "C" NOT NULL,
    signed_at BIGINT NOT NULL
);
