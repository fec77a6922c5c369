-- Nodes that may attest with something else than a join token. `selectors`: one per line, the way before it, as in
-- `x509pop dns:n1.example`; a line with the way alone asks for nothing more than the way itself.
CREATE TABLE node_entries (
    node       TEXT    PRIMARY KEY,
    pod_cidrs  TEXT    NOT NULL,
    addresses  TEXT    NOT NULL,
    selectors  TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
