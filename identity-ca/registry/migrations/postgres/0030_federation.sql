-- Migration 30 for SQLite says what these are.
CREATE TABLE federation (
    trust_domain TEXT   COLLATE "C" PRIMARY KEY,
    url          TEXT   COLLATE "C" NOT NULL,
    profile      TEXT   COLLATE "C" NOT NULL CHECK (profile IN ('https_web', 'https_spiffe')),
    endpoint_id  TEXT   COLLATE "C" NOT NULL,
    web_ca       TEXT   COLLATE "C" NOT NULL,
    document     TEXT   COLLATE "C" NOT NULL,
    fetched_at   BIGINT,
    tried_at     BIGINT,
    failure      TEXT   COLLATE "C" NOT NULL
);

ALTER TABLE registrations ADD COLUMN federates_with TEXT COLLATE "C" NOT NULL DEFAULT '';
