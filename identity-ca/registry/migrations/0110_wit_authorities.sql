-- Authorities for WIT-SVIDs; `public` as with JWT keys. SQLite cannot change a check in place.
CREATE TABLE authorities_0110 (
    kind      TEXT    NOT NULL CHECK (kind IN ('x509', 'jwt', 'wit')),
    id        TEXT    NOT NULL,
    state     TEXT    NOT NULL CHECK (state IN ('prepared', 'active', 'old', 'tainted', 'retired', 'revoked')),
    public    BLOB    NOT NULL,
    key       BLOB,
    created   INTEGER NOT NULL,
    published INTEGER NOT NULL,
    sequence  INTEGER NOT NULL,
    activated INTEGER,
    ceased    INTEGER,
    not_after INTEGER NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT;

INSERT INTO authorities_0110 (kind, id, state, public, key, created, published, sequence, activated, ceased, not_after)
    SELECT kind, id, state, public, key, created, published, sequence, activated, ceased, not_after FROM authorities;

DROP TABLE authorities;

ALTER TABLE authorities_0110 RENAME TO authorities;

CREATE UNIQUE INDEX authorities_active ON authorities (kind) WHERE state = 'active';
