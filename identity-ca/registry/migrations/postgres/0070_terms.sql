-- Migration 70 for SQLite says what these are.
ALTER TABLE registrations ADD COLUMN hint TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE registrations ADD COLUMN dns_names TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE registrations ADD COLUMN key_type TEXT COLLATE "C" NOT NULL DEFAULT 'p256';
ALTER TABLE registrations ADD COLUMN jwt_ttl BIGINT NOT NULL DEFAULT 0 CHECK (jwt_ttl BETWEEN 0 AND 4294967295);
ALTER TABLE registrations ADD COLUMN role TEXT COLLATE "C" NOT NULL DEFAULT '' CHECK (role IN ('', 'reader', 'admin'));
ALTER TABLE registrations ADD COLUMN ordinal BIGINT NOT NULL DEFAULT 0;

UPDATE registrations SET ordinal = numbered.ordinal
FROM (SELECT id, ROW_NUMBER() OVER (ORDER BY created_at, id) AS ordinal FROM registrations) AS numbered
WHERE registrations.id = numbered.id;

CREATE INDEX registrations_by_ordinal ON registrations (ordinal);
