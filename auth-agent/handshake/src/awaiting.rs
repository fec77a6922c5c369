//! The inner handshake is complete; the peer's confirmation is not here yet.

use std::fmt;
use std::time::Instant;

use signet_spiffe::VerifiedSvid;

use crate::confirm::{Confirmations, Half, Role};
use crate::engine::Engine;
use crate::error::HandshakeError;
use crate::limits::Now;
use crate::party::Party;
use crate::proof::Proof;

/// What to send and how to go on after a step of either side.
#[derive(Debug)]
#[must_use = "its records must be sent"]
#[expect(
    clippy::large_enum_variant,
    reason = "moved once for each message, never stored in numbers"
)]
pub enum Progress<S> {
    /// The inner handshake goes on.
    More {
        /// Waits for the peer's records.
        state: S,
        /// To send; nothing to send if empty.
        records: Vec<u8>,
    },
    /// The inner handshake is complete on this side.
    Complete {
        /// Waits for the peer's confirmation.
        state: AwaitingConfirm,
        /// To send before the confirmation; nothing to send if empty.
        records: Vec<u8>,
        /// Our confirmation, to send.
        mac: [u8; 32],
    },
}

/// Waits for the peer's confirmation.
pub struct AwaitingConfirm {
    confirmations: Confirmations,
    role: Role,
    local: VerifiedSvid,
    remote: VerifiedSvid,
    deadline: Instant,
}

impl AwaitingConfirm {
    /// Judges a complete inner handshake: the peer's SVID, and what both sides have to confirm.
    pub(crate) fn new(
        engine: &Engine,
        party: &Party,
        role: Role,
        now: Now,
    ) -> Result<(Self, [u8; 32]), HandshakeError> {
        let connection = engine.connection();
        let chain = connection.peer_certificates();
        let bundles = party.bundles.bundles();
        let peer = engine.peer(&bundles, now).map_err(HandshakeError::PeerSvid)?;
        if *peer.id() != party.remote {
            let (wanted, proven) = (party.remote.clone(), peer.id().clone());
            return Err(HandshakeError::WrongIdentity { wanted, proven });
        }
        let own_leaf = party.local.key_pair().chain.first();
        let peer_leaf = chain.and_then(|chain| chain.first());
        let (Some(own_leaf), Some(peer_leaf)) = (own_leaf, peer_leaf) else {
            return Err(HandshakeError::Unexpected);
        };
        let own = Half {
            id: party.local.id(),
            leaf: own_leaf,
        };
        let other = Half {
            id: peer.id(),
            leaf: peer_leaf,
        };
        let (initiator, responder) = match role {
            Role::Initiator => (own, other),
            Role::Responder => (other, own),
        };
        let confirmations = Confirmations::new(connection, &party.binding, initiator, responder)
            .map_err(HandshakeError::Tls)?;
        let mac = confirmations.of(role);
        let waiting = Self {
            confirmations,
            role,
            local: party.local.svid().clone(),
            remote: peer,
            deadline: engine.deadline(),
        };
        Ok((waiting, mac))
    }

    /// When the confirmation must be here.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Verifies the peer's confirmation, in constant time, and mints the proof.
    pub fn on_confirm(self, mac: &[u8; 32], now: Now) -> Result<Proof, HandshakeError> {
        let not_after = self.local.not_after().min(self.remote.not_after());
        if now.clock >= self.deadline || now.unix >= not_after {
            return Err(HandshakeError::Deadline);
        }
        if !self.confirmations.verify(self.role.other(), mac) {
            return Err(HandshakeError::Binding);
        }
        Ok(Proof::mint(self.local, self.remote))
    }
}

impl fmt::Debug for AwaitingConfirm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwaitingConfirm")
            .field("local", self.local.id())
            .field("remote", self.remote.id())
            .finish_non_exhaustive()
    }
}
