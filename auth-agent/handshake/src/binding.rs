//! What ties a pair handshake to the node session that carries it.

use std::fmt;

use signet_spiffe::SpiffeId;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The outer session: its exporter, and the two nodes at its ends. Equal at both ends of one session and different for
/// any two sessions, so that a handshake cannot be spliced from one into another.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Binding {
    pub(crate) exporter: [u8; 32],
    #[zeroize(skip)]
    pub(crate) initiator_node: SpiffeId,
    #[zeroize(skip)]
    pub(crate) responder_node: SpiffeId,
}

impl Binding {
    /// A binding to the session with this exporter value (RFC 8446 section 7.5). For a pair on one node the value is
    /// random and both nodes are the same.
    pub fn new(exporter: [u8; 32], initiator_node: SpiffeId, responder_node: SpiffeId) -> Self {
        Self {
            exporter,
            initiator_node,
            responder_node,
        }
    }
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binding")
            .field("initiator_node", &self.initiator_node)
            .field("responder_node", &self.responder_node)
            .finish_non_exhaustive()
    }
}
