-- Migration 40 for SQLite says what these are.
CREATE TABLE authorities (
    kind      TEXT   COLLATE "C" NOT NULL CHECK (kind IN ('x509', 'jwt')),
    id        TEXT   COLLATE "C" NOT NULL,
    state     TEXT   COLLATE "C" NOT NULL CHECK (state IN ('prepared', 'active', 'old', 'tainted', 'retired', 'revoked')),
    public    BYTEA  NOT NULL,
    key       BYTEA,
    created   BIGINT NOT NULL,
    published BIGINT NOT NULL,
    sequence  BIGINT NOT NULL,
    activated BIGINT,
    ceased    BIGINT,
    not_after BIGINT NOT NULL,
    PRIMARY KEY (kind, id)
);

CREATE UNIQUE INDEX authorities_active ON authorities (kind) WHERE state = 'active';

ALTER TABLE nodes ADD COLUMN bundle_acknowledged BIGINT NOT NULL DEFAULT 0;
