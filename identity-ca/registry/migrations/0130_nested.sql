-- CAs in a line. `downstream`: whether the holder of the SPIFFE ID may run a CA below this one.
ALTER TABLE registrations ADD COLUMN downstream INTEGER NOT NULL DEFAULT 0 CHECK (downstream IN (0, 1));

-- Signing certificates that CAs below this one were given. `authority`: subject key identifier, hexadecimal; `signer`: that of
-- our authority that signed it; `node`: number of the node that the CA below runs on, 0 where that is not known.
CREATE TABLE intermediates (
    authority  TEXT    PRIMARY KEY,
    serial     BLOB    NOT NULL,
    spiffe_id  TEXT    NOT NULL,
    node       INTEGER NOT NULL,
    signer     TEXT    NOT NULL,
    not_before INTEGER NOT NULL,
    not_after  INTEGER NOT NULL
) STRICT;

CREATE INDEX intermediates_by_spiffe_id ON intermediates (spiffe_id);

-- JWT keys of CAs below this one, which are in the bundle as well. `jwks`: a JWK set with this key alone.
CREATE TABLE downstream_keys (
    id        TEXT    PRIMARY KEY,
    spiffe_id TEXT    NOT NULL,
    jwks      TEXT    NOT NULL,
    published INTEGER NOT NULL
) STRICT;

-- What the CA above this one publishes; one row, or none. `x509`: certificates, DER, each after its length in four bytes;
-- `jwks`: its JWT keys without those that this CA has published there; `tainted`: names of authorities, one in a line.
CREATE TABLE above (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    x509     BLOB    NOT NULL,
    jwks     TEXT    NOT NULL,
    sequence INTEGER NOT NULL,
    mark     TEXT    NOT NULL,
    tainted  TEXT    NOT NULL,
    heard    INTEGER NOT NULL
) STRICT;
