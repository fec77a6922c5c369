//! Typed access to Signet's pinned kernel maps.
