-- The schema of migration 1 for SQLite, beside this directory. Text is compared byte by byte, as SQLite does.

CREATE TABLE settings (
    key   TEXT COLLATE "C" PRIMARY KEY,
    value TEXT COLLATE "C" NOT NULL
);

CREATE TABLE nodes (
    number         BIGINT PRIMARY KEY CHECK (number BETWEEN 1 AND 65535),
    name           TEXT   COLLATE "C" NOT NULL UNIQUE,
    pod_cidrs      TEXT   COLLATE "C" NOT NULL,
    addresses      TEXT   COLLATE "C" NOT NULL,
    session_port   BIGINT NOT NULL CHECK (session_port BETWEEN 0 AND 65535),
    attested_at    BIGINT NOT NULL,
    svid_not_after BIGINT NOT NULL
);

CREATE TABLE join_tokens (
    id            BYTEA  PRIMARY KEY CHECK (length(id) = 8),
    secret_sha256 BYTEA  NOT NULL CHECK (length(secret_sha256) = 32),
    node          TEXT   COLLATE "C" NOT NULL,
    pod_cidrs     TEXT   COLLATE "C" NOT NULL,
    expires_at    BIGINT NOT NULL,
    consumed_at   BIGINT
);

CREATE TABLE identities (
    number      BIGINT PRIMARY KEY CHECK (number BETWEEN 256 AND 4294967295),
    spiffe_id   TEXT   COLLATE "C" NOT NULL UNIQUE,
    released_at BIGINT
);

CREATE TABLE registrations (
    id         TEXT   COLLATE "C" PRIMARY KEY,
    spiffe_id  TEXT   COLLATE "C" NOT NULL REFERENCES identities (spiffe_id),
    node       TEXT   COLLATE "C" NOT NULL,
    selectors  TEXT   COLLATE "C" NOT NULL,
    ttl        BIGINT NOT NULL CHECK (ttl BETWEEN 0 AND 4294967295),
    created_at BIGINT NOT NULL,
    UNIQUE (spiffe_id, node, selectors)
);

CREATE INDEX registrations_by_node ON registrations (node);

-- Writers wait for each other (one advisory lock), so revisions are committed in their order.
CREATE TABLE changes (
    revision BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind     TEXT   COLLATE "C" NOT NULL CHECK (kind IN ('node', 'identity', 'registration', 'cluster', 'bundle')),
    key      TEXT   COLLATE "C" NOT NULL,
    node     TEXT   COLLATE "C"
);
