//! SPIFFE IDs, bundles, and the verification of X.509-SVIDs.
