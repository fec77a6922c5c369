-- Keys for which somebody else is asked for a signing certificate, until that comes. `key`: the record by which its key
-- manager opens it.
CREATE TABLE authority_requests (
    public_key BLOB    PRIMARY KEY,
    key        BLOB    NOT NULL,
    created    INTEGER NOT NULL
) STRICT;
