-- Certificates that have been issued and may not have expired yet: what a revocation is resolved against.
CREATE TABLE issued (
    serial     BLOB    PRIMARY KEY CHECK (length(serial) BETWEEN 1 AND 20),
    spiffe_id  TEXT    NOT NULL,
    node       TEXT    NOT NULL,
    not_before INTEGER NOT NULL,
    not_after  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX issued_by_spiffe_id ON issued (spiffe_id);
CREATE INDEX issued_by_node ON issued (node);
CREATE INDEX issued_by_end ON issued (not_after);

-- `subject` is a serial number or key identifier in hexadecimal, a SPIFFE ID or a node's name. `cut`: certificates whose
-- validity begins then or before are revoked. `until`: when the last of them has expired.
CREATE TABLE revocations (
    kind    TEXT    NOT NULL CHECK (kind IN ('serial', 'spiffe-id', 'node', 'authority')),
    subject TEXT    NOT NULL,
    owner   TEXT    NOT NULL,
    cause   TEXT    NOT NULL,
    cut     INTEGER NOT NULL,
    reason  TEXT    NOT NULL,
    asker   TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    until   INTEGER NOT NULL,
    closed  INTEGER NOT NULL CHECK (closed IN (0, 1)),
    banned  INTEGER NOT NULL CHECK (banned IN (0, 1)),
    version INTEGER NOT NULL,
    PRIMARY KEY (kind, subject)
) STRICT;

-- An evicted node stays here without addresses, so that its number is given to no other: peers' proofs name nodes by number.
ALTER TABLE nodes ADD COLUMN evicted_at INTEGER;

-- The same table with one more kind of change. AUTOINCREMENT goes on behind the largest revision that was copied.
CREATE TABLE changes_with_revocations (
    revision INTEGER PRIMARY KEY AUTOINCREMENT,
    kind     TEXT NOT NULL CHECK (kind IN ('node', 'identity', 'registration', 'cluster', 'bundle', 'revocation')),
    key      TEXT NOT NULL,
    node     TEXT
) STRICT;

INSERT INTO changes_with_revocations SELECT revision, kind, key, node FROM changes;
DROP TABLE changes;
ALTER TABLE changes_with_revocations RENAME TO changes;
