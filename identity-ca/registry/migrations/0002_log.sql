-- The issuance log: a Merkle tree that only grows. Beside each leaf stand the hashes of the complete subtrees that it is the
-- last leaf of, smallest first, 32 bytes each, its own in front: no hash is ever changed, and each is found by a leaf's
-- position and a height.
CREATE TABLE log_leaves (
    position INTEGER PRIMARY KEY CHECK (position >= 0),
    leaf     BLOB    NOT NULL,
    hashes   BLOB    NOT NULL CHECK (length(hashes) >= 32 AND length(hashes) % 32 = 0),
    serial   BLOB
) STRICT;

-- Serial numbers begin with their time of issue, so this grows at its end.
CREATE INDEX log_leaves_by_serial ON log_leaves (serial) WHERE serial IS NOT NULL;

-- Tree heads that were signed. What is signed next must agree with them.
CREATE TABLE log_checkpoints (
    size      INTEGER PRIMARY KEY CHECK (size >= 0),
    note      TEXT    NOT NULL,
    signed_at INTEGER NOT NULL
) STRICT;
