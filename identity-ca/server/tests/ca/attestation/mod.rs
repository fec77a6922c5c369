//! Nodes that attest without a join token.

mod audited;
mod device;
mod exchange;
mod hostile;
mod x509pop;
