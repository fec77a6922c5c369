//! The trust domain's signing key and the X.509-SVIDs it issues.
