//! Proofs and leases: a proof is given to the kernel when the other side's lease is there, so that what waited for it passes.

use std::collections::BTreeSet;
use std::time::Duration;

use signet_abi::{AuthKey, NodeId};
use signet_handshake::Proof;
use signet_session::NodeNumber;
use tokio::time::Instant;

use super::Actor;
use crate::auth::AuthStore;

/// How long a proof waits for a lease. Then it is written all the same, and the kernel says what lacks.
const PATIENCE: Duration = Duration::from_secs(1);

/// A proof that waits.
#[derive(Debug)]
pub(super) struct Unleased {
    proof: Proof,
    /// It ends a flight.
    ours: bool,
    until: Instant,
}

impl<A: AuthStore> Actor<A> {
    /// Enters a proof as soon as the kernel would let something pass under it. `ours`: it ends a flight.
    pub(super) fn enter(&mut self, key: AuthKey, proof: Proof, ours: bool) {
        let before = self.unleased.remove(&key);
        let ours = ours || before.as_ref().is_some_and(|before| before.ours);
        if self.is_leased(&key) {
            return self.write(key, &proof, ours);
        }
        let until = before.map_or_else(|| Instant::now() + PATIENCE, |before| before.until);
        self.unleased.insert(key, Unleased { proof, ours, until });
    }

    /// When the first of those that wait has waited for long enough.
    pub(super) fn leases_due(&self) -> Instant {
        let due = self.unleased.values().map(|unleased| unleased.until).min();
        due.unwrap_or_else(Instant::now)
    }

    /// Leases have come, or it is time.
    pub(super) fn on_leases(&mut self) {
        let now = Instant::now();
        let due: Vec<AuthKey> = self
            .unleased
            .iter()
            .filter(|(key, unleased)| unleased.until <= now || self.is_leased(key))
            .map(|(key, _)| *key)
            .collect();
        for key in due {
            if let Some(Unleased { proof, ours, .. }) = self.unleased.remove(&key) {
                self.write(key, &proof, ours);
                self.tell_waiters(key);
            }
        }
    }

    /// A packet of a proven pair lacks the lease: it comes with the session.
    pub(super) fn revive(&self, node: NodeId) {
        if let Some(node) = NodeNumber::new(node.0)
            && self.knowledge.own() != Some(node)
        {
            self.sessions.revive(node);
        }
    }

    /// Whoever has proofs with a node keeps the session with it, so that its leases are renewed.
    pub(super) fn keep_sessions(&self) {
        let own = self.knowledge.own();
        let nodes: BTreeSet<NodeId> = self.table.proofs().map(|(key, _)| key.node).collect();
        let nodes = nodes.into_iter().filter_map(|node| NodeNumber::new(node.0));
        self.sessions
            .keep_with(nodes.filter(|node| own != Some(*node)).collect());
    }

    /// On one node the kernel itself knows whose an address is.
    fn is_leased(&self, key: &AuthKey) -> bool {
        self.knowledge.own().is_some_and(|own| own.get() == key.node.0)
            || self.sessions.leases().covers(key.node, key.remote)
    }
}
