-- Trust domains whose bundles are followed, each with the last document of it that counted, as it was fetched. Empty text:
-- there is none. `changes` tells of them under the kind `bundle`, with the trust domain's name as key; the own one has no key.
CREATE TABLE federation (
    trust_domain TEXT PRIMARY KEY,
    url          TEXT NOT NULL,
    profile      TEXT NOT NULL CHECK (profile IN ('https_web', 'https_spiffe')),
    endpoint_id  TEXT NOT NULL,
    web_ca       TEXT NOT NULL,
    document     TEXT NOT NULL,
    fetched_at   INTEGER,
    tried_at     INTEGER,
    failure      TEXT NOT NULL
) STRICT;

ALTER TABLE registrations ADD COLUMN federates_with TEXT NOT NULL DEFAULT '';
