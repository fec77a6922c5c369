//! rustls configurations whose verifier is SPIFFE.
