-- Migration 60 for SQLite says what these are.
CREATE TABLE node_entries (
    node       TEXT   COLLATE "C" PRIMARY KEY,
    pod_cidrs  TEXT   COLLATE "C" NOT NULL,
    addresses  TEXT   COLLATE "C" NOT NULL,
    selectors  TEXT   COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL
);
