-- Which history a revision is of: random, and so never that of another history's revision with the same number. Empty for
-- revisions from before this migration, which is nobody's mark.
ALTER TABLE changes ADD COLUMN mark BLOB NOT NULL DEFAULT x'';

-- Serial numbers of the SVID that a node uses, and of one that was issued after it and has not been seen yet. NULL: not
-- known, issued before this migration. Empty: none counts.
ALTER TABLE nodes ADD COLUMN svid_serial BLOB;
ALTER TABLE nodes ADD COLUMN svid_successor BLOB;

-- What a node may announce beside the address that the CA sees.
ALTER TABLE nodes ADD COLUMN allowed_addresses TEXT NOT NULL DEFAULT '';
ALTER TABLE join_tokens ADD COLUMN addresses TEXT NOT NULL DEFAULT '';
