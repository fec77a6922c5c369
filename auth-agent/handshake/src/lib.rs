//! The pair handshake: mutual TLS 1.3 between two workload identities, without sockets.
