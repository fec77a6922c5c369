-- Migration 3 for SQLite says what these are.

-- What SQLite calls so.
CREATE FUNCTION hex(BYTEA) RETURNS TEXT IMMUTABLE LANGUAGE sql RETURN upper(encode($1, 'hex'));

CREATE TABLE issued (
    serial     BYTEA  PRIMARY KEY CHECK (length(serial) BETWEEN 1 AND 20),
    spiffe_id  TEXT   COLLATE "C" NOT NULL,
    node       TEXT   COLLATE "C" NOT NULL,
    not_before BIGINT NOT NULL,
    not_after  BIGINT NOT NULL
);

CREATE INDEX issued_by_spiffe_id ON issued (spiffe_id);
CREATE INDEX issued_by_node ON issued (node);
CREATE INDEX issued_by_end ON issued (not_after);

CREATE TABLE revocations (
    kind    TEXT   COLLATE "C" NOT NULL CHECK (kind IN ('serial', 'spiffe-id', 'node', 'authority')),
    subject TEXT   COLLATE "C" NOT NULL,
    owner   TEXT   COLLATE "C" NOT NULL,
    cause   TEXT   COLLATE "C" NOT NULL,
    cut     BIGINT NOT NULL,
    reason  TEXT   COLLATE "C" NOT NULL,
    asker   TEXT   COLLATE "C" NOT NULL,
    at      BIGINT NOT NULL,
    until   BIGINT NOT NULL,
    closed  BIGINT NOT NULL CHECK (closed IN (0, 1)),
    banned  BIGINT NOT NULL CHECK (banned IN (0, 1)),
    version BIGINT NOT NULL,
    PRIMARY KEY (kind, subject)
);

ALTER TABLE nodes ADD COLUMN evicted_at BIGINT;

ALTER TABLE changes DROP CONSTRAINT changes_kind_check;
ALTER TABLE changes ADD CONSTRAINT changes_kind_check
    CHECK (kind IN ('node', 'identity', 'registration', 'cluster', 'bundle', 'revocation'));
