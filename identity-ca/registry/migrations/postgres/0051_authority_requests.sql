-- Migration 51 for SQLite says what these are.
CREATE TABLE authority_requests (
    public_key BYTEA  PRIMARY KEY,
    key        BYTEA  NOT NULL,
    created    BIGINT NOT NULL
);
