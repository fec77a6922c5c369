-- Migration 50 for SQLite says what these are.
CREATE TABLE sealed (
    name  TEXT COLLATE "C" PRIMARY KEY,
    value BYTEA NOT NULL
);
