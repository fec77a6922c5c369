-- Migration 10 for SQLite says what these are.
ALTER TABLE changes ADD COLUMN mark BYTEA NOT NULL DEFAULT '';
ALTER TABLE nodes ADD COLUMN svid_serial BYTEA;
ALTER TABLE nodes ADD COLUMN svid_successor BYTEA;
ALTER TABLE nodes ADD COLUMN allowed_addresses TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE join_tokens ADD COLUMN addresses TEXT COLLATE "C" NOT NULL DEFAULT '';
