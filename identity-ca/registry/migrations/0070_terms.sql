-- What a registration says of its SVIDs. `ordinal`: registrations in the order in which they were made, which is the order of
-- a workload's identities. `role`: what its SPIFFE ID may do as an operator; empty: nothing.
ALTER TABLE registrations ADD COLUMN hint TEXT NOT NULL DEFAULT '';
ALTER TABLE registrations ADD COLUMN dns_names TEXT NOT NULL DEFAULT '';
ALTER TABLE registrations ADD COLUMN key_type TEXT NOT NULL DEFAULT 'p256';
ALTER TABLE registrations ADD COLUMN jwt_ttl INTEGER NOT NULL DEFAULT 0 CHECK (jwt_ttl BETWEEN 0 AND 4294967295);
ALTER TABLE registrations ADD COLUMN role TEXT NOT NULL DEFAULT '' CHECK (role IN ('', 'reader', 'admin'));
ALTER TABLE registrations ADD COLUMN ordinal INTEGER NOT NULL DEFAULT 0;

UPDATE registrations SET ordinal = numbered.ordinal
FROM (SELECT id, ROW_NUMBER() OVER (ORDER BY created_at, id) AS ordinal FROM registrations) AS numbered
WHERE registrations.id = numbered.id;

CREATE INDEX registrations_by_ordinal ON registrations (ordinal);
