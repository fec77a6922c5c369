-- Migration 110 for SQLite says what these are.
ALTER TABLE authorities DROP CONSTRAINT authorities_kind_check;

ALTER TABLE authorities ADD CONSTRAINT authorities_kind_check CHECK (kind IN ('x509', 'jwt', 'wit'));
