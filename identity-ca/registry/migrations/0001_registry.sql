-- Times are Unix seconds. Lists are separated by line feeds, which none of their elements can contain.

CREATE TABLE settings (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

CREATE TABLE nodes (
    number         INTEGER PRIMARY KEY CHECK (number BETWEEN 1 AND 65535),
    name           TEXT    NOT NULL UNIQUE,
    pod_cidrs      TEXT    NOT NULL,
    addresses      TEXT    NOT NULL,
    session_port   INTEGER NOT NULL CHECK (session_port BETWEEN 0 AND 65535),
    attested_at    INTEGER NOT NULL,
    svid_not_after INTEGER NOT NULL
) STRICT;

CREATE TABLE join_tokens (
    id            BLOB    PRIMARY KEY CHECK (length(id) = 8),
    secret_sha256 BLOB    NOT NULL CHECK (length(secret_sha256) = 32),
    node          TEXT    NOT NULL,
    pod_cidrs     TEXT    NOT NULL,
    expires_at    INTEGER NOT NULL,
    consumed_at   INTEGER
) STRICT;

-- A released number stays here, and so is not handed out again, until its quarantine is over.
CREATE TABLE identities (
    number      INTEGER PRIMARY KEY CHECK (number BETWEEN 256 AND 4294967295),
    spiffe_id   TEXT    NOT NULL UNIQUE,
    released_at INTEGER
) STRICT;

CREATE TABLE registrations (
    id         TEXT    PRIMARY KEY,
    spiffe_id  TEXT    NOT NULL REFERENCES identities (spiffe_id),
    node       TEXT    NOT NULL,
    selectors  TEXT    NOT NULL,
    ttl        INTEGER NOT NULL CHECK (ttl BETWEEN 0 AND 4294967295),
    created_at INTEGER NOT NULL,
    UNIQUE (spiffe_id, node, selectors)
) STRICT;

CREATE INDEX registrations_by_node ON registrations (node);

-- What changed, not how: readers look up the present state of each key. AUTOINCREMENT never gives a revision twice.
CREATE TABLE changes (
    revision INTEGER PRIMARY KEY AUTOINCREMENT,
    kind     TEXT NOT NULL CHECK (kind IN ('node', 'identity', 'registration', 'cluster', 'bundle')),
    key      TEXT NOT NULL,
    node     TEXT
) STRICT;
