-- Secrets of the CA's own, each sealed under a key that is not in this database: the data key (`data-key`), and what is sealed
-- under that (`log-key`).
CREATE TABLE sealed (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;
