-- Which authorities the CA above this one calls its own: subject key identifiers, hexadecimal, one in a line.
ALTER TABLE above ADD COLUMN signers TEXT NOT NULL DEFAULT '';
