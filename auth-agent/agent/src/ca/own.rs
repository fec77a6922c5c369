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
/// named with its last bundle; in this agent's life before, where it has said nothing in this one; in the bundle that an operator has brought,
/// where it has named none since. A node that joined under a bundle with other authorities than the CA's goes by who signed the SVID: the CA
/// shows an SVID of the same authority then, as it renews its own whenever another one begins to sign. A node that was moved to another CA
/// goes on with what the one before named until the new one has answered.
#[derive(Debug)]
pub struct OwnCa {
    /// Who signed the SVID of this node.
    pub signer: Option<KeyId>,
    /// What the CA says.
    pub view: watch::Receiver<Option<Arc<View>>>,
    /// What it said in this agent's life before, or where it has said nothing what an operator has brought ([`BundleFile::signers`]), as names
    /// of keys.
    ///
    /// [`BundleFile::signers`]: super::BundleFile::signers
    pub kept: Arc<[String]>,
}

impl SignerSource for OwnCa {
    fn may_sign(&self, svid: &VerifiedSvid) -> bool {
        let (Some(own), Some(peer)) = (&self.signer, svid.signer()) else {
            return false;
        };
        let view = self.view.borrow().clone();
        let told = view.as_ref().map_or(&[][..], |view| view.node_signers());
        // Whoever named these was this node's own CA then. The signer of the node's SVID need not be among them any more: it may have been
        // replaced, and the node be about to renew.
        let named = if told.is_empty() { &*self.kept } else { told };
        peer == own || named.contains(&peer.to_string())
    }

    /// It may have been replaced while this node was away, and the CA shows an SVID of it all the same for as long as what it signed counts.
    fn asked(&self) -> Option<&KeyId> {
        self.signer.as_ref()
    }
}
