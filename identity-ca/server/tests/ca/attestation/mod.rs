//! Nodes that attest without a join token.

mod audited;
mod device;
mod exchange;
mod hostile;
mod tpm;
mod tpm_hostile;
mod x509pop;
