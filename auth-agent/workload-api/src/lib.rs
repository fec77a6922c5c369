//! The SPIFFE Workload API server.
