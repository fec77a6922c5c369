-- When a prepared authority may sign at the earliest (Unix seconds), as the CA that prepared it was told.
CREATE TABLE authority_publication (
    kind    TEXT NOT NULL,
    id      TEXT NOT NULL,
    ripe_at INTEGER NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;
