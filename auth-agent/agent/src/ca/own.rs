//! Which of the CAs of the trust domain this node belongs to.
//!
//! Where CAs are below one another each can sign every name, that of a CA included. A node that has an SVID therefore takes for its
//! own CA only who shows an SVID of one of the authorities that its own CA has named.

use std::sync::Arc;

use signet_spiffe::{KeyId, VerifiedSvid};
use signet_tls::SignerSource;
use tokio::sync::watch;

use crate::view::View;

/// Tells this node's own CA from others of the trust domain: by who signed the node's SVID, and the authorities that the CA which did so
/// named with its last bundle. Until it has named any, as after the node has joined, who signed the SVID is all that is known of it: the
/// CA shows an SVID of the same authority then, as it renews its own whenever another one begins to sign.
#[derive(Debug)]
pub struct OwnCa {
    /// Who signed the SVID of this node.
    pub signer: Option<KeyId>,
    /// What the CA says.
    pub view: watch::Receiver<Option<Arc<View>>>,
    /// What it said in this agent's life before, as names of keys.
    pub kept: Arc<[String]>,
}

impl SignerSource for OwnCa {
    fn may_sign(&self, svid: &VerifiedSvid) -> bool {
        let (Some(own), Some(peer)) = (&self.signer, svid.signer()) else {
            return false;
        };
        let view = self.view.borrow().clone();
        let told = view.as_ref().map_or(&[][..], |view| view.node_signers());
        let (own, peer) = (own.to_string(), peer.to_string());
        // Lists without ours are those of another CA, to which this node belonged before, and say nothing.
        let mut by_ours = [told, &self.kept]
            .into_iter()
            .filter(|named| named.contains(&own));
        peer == own || by_ours.any(|named| named.contains(&peer))
    }
}
