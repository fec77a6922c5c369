-- Numbers of SPIFFE IDs that nothing is registered under: found without looking at all others.
CREATE INDEX identities_by_release ON identities (released_at) WHERE released_at IS NOT NULL;
