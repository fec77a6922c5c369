-- Keys for WIT-SVIDs go up and down between CAs as those for JWT-SVIDs do. `kind`: 'jwt' or 'wit'.
ALTER TABLE downstream_keys ADD COLUMN kind TEXT NOT NULL DEFAULT 'jwt' CHECK (kind IN ('jwt', 'wit'));
-- The same as `jwks` of the keys for WIT-SVIDs; empty: none.
ALTER TABLE above ADD COLUMN wit TEXT NOT NULL DEFAULT '';
