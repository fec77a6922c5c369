//! The CA's record of nodes, registrations and security identities.
