-- Signing authorities of the trust domain. `public`: of an X.509 authority its certificates, DER, each after its length in four
-- bytes, the one that signs first; of a JWT key a JWK set with it. `key`: the record by which its key manager opens it again,
-- NULL once the key is gone. `sequence`: of the first bundle that had it.
CREATE TABLE authorities (
    kind      TEXT    NOT NULL CHECK (kind IN ('x509', 'jwt')),
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

-- One signs.
CREATE UNIQUE INDEX authorities_active ON authorities (kind) WHERE state = 'active';

-- The newest bundle that the node has said to have; 0: none.
ALTER TABLE nodes ADD COLUMN bundle_acknowledged INTEGER NOT NULL DEFAULT 0;
