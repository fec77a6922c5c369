//! Workload attestation by peer credentials and pidfd.
