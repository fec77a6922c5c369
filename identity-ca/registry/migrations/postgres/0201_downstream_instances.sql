-- Which CA has the SPIFFE ID of a CA below this one now: CAs with databases of their own cannot share one. `instance`: a random name
-- that is in that one's registry; `seen`: when it was heard of last, Unix seconds.
CREATE TABLE downstream_instances (
    spiffe_id TEXT   PRIMARY KEY,
    instance  TEXT   NOT NULL,
    seen      BIGINT NOT NULL
);
