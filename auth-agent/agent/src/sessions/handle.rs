//! What others hold of a live session.

use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use signet_handshake::{Credentials, Proof};
use signet_session::{Contender, Dialer, Instance, NodeNumber, Offer};
use signet_spiffe::{Revocations, SpiffeId, VerifiedSvid};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::secrets::Secrets;
use crate::pairs::ProveError;
use crate::view::Node;

/// Where the outcome of a handshake goes.
pub(super) type Reply = oneshot::Sender<Result<Proof, ProveError>>;

/// What a session is asked to do.
#[derive(Debug)]
pub enum Command {
    /// Run a pair handshake.
    Prove {
        /// Our workload.
        local: Arc<Credentials>,
        /// Theirs.
        remote: SpiffeId,
        /// Told the outcome.
        reply: oneshot::Sender<Result<Proof, ProveError>>,
    },
    /// Tell the peer how to encrypt towards us.
    Offer(Offer),
    /// Tell the peer that we can receive under its offer.
    Ready(u64),
    /// Tell the peer that we do not encrypt towards it any more.
    Retire(u64),
}

/// What sessions tell the transport.
#[derive(Debug)]
pub enum TransportEvent {
    /// A session is up, maybe in place of another.
    Up(SessionHandle),
    /// A session is gone.
    Down {
        /// With whom.
        node: NodeNumber,
        /// Which one.
        generation: u64,
    },
    /// The peer's offer.
    Offer {
        /// From whom.
        node: NodeNumber,
        /// In which session.
        generation: u64,
        /// The offer.
        offer: Offer,
    },
    /// The peer can receive under our offer of this epoch.
    Ready {
        /// From whom.
        node: NodeNumber,
        /// In which session.
        generation: u64,
        /// Our epoch.
        epoch: u64,
    },
    /// The peer has stopped encrypting towards us.
    Retire {
        /// From whom.
        node: NodeNumber,
        /// In which session.
        generation: u64,
    },
}

/// Messages of one session.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
}

/// A live session.
#[derive(Clone, Debug)]
pub struct SessionHandle {
    /// With whom.
    pub node: Arc<Node>,
    /// Goes up with every session of this agent.
    pub generation: u64,
    /// Where the peer's end of the connection is.
    pub address: SocketAddr,
    /// Unix seconds.
    pub since: i64,
    /// Name of the negotiated group.
    pub key_exchange: String,
    pub(super) dialer: Dialer,
    pub(super) instance: Instance,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) cancel: CancellationToken,
    pub(super) svids: Arc<[VerifiedSvid; 2]>,
    /// Why this node ends it; nothing while it does not.
    pub(super) verdict: Arc<OnceLock<String>>,
    pub(super) secrets: Arc<Secrets>,
    pub(super) traffic: Arc<Traffic>,
}

impl SessionHandle {
    /// Asks the session to do something; false if it is gone or has too much to do.
    pub fn command(&self, command: Command) -> bool {
        self.commands.try_send(command).is_ok()
    }

    /// The `WireGuard` preshared key under these transport epochs; both sides compute the same.
    pub fn preshared_key(&self, ours: (NodeNumber, u64), their_epoch: u64) -> Zeroizing<[u8; 32]> {
        self.secrets.preshared_key(ours, (self.node.number, their_epoch))
    }

    /// Ends the session if one of the SVIDs that it was opened with is revoked.
    pub(super) fn end_if_revoked(&self, revocations: &Revocations) {
        let revoked = self.svids.iter().find_map(|svid| revocations.check(svid).err());
        if let Some(revoked) = revoked {
            // The first reason is as good as any other.
            let _ = self.verdict.set(revoked.to_string());
            self.cancel.cancel();
        }
    }

    pub(super) fn contender(&self) -> Contender {
        Contender {
            dialer: self.dialer,
            instance: self.instance,
        }
    }
}
