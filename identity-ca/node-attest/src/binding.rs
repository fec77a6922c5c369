use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// Label of the exporter (RFC 8446 §7.5, RFC 9266 in spirit) that an answer is bound to.
pub const EXPORTER: &[u8] = b"EXPORTER-signet-node-attestation-v1";

/// What the two ends of one TLS connection, and nobody else, can compute.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct ChannelBinding([u8; 32]);

impl ChannelBinding {
    /// What a connection exported under [`EXPORTER`], without a context.
    pub fn new(exported: [u8; 32]) -> Self {
        Self(exported)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// It is a secret of the connection's.
impl fmt::Debug for ChannelBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChannelBinding")
    }
}
