//! Proofs and leases: a proof is given to the kernel when the other side's lease is there, so that what waited for it passes.

use std::collections::BTreeSet;

use signet_abi::{AuthKey, NodeId};
use signet_handshake::Proof;
use signet_pairs::Ready;
use signet_session::NodeNumber;
use tokio::time::Instant;

use super::Actor;
use crate::auth::AuthStore;

impl<A: AuthStore> Actor<A> {
    /// Enters a proof as soon as the kernel would let something pass under it. `ours`: it ends a flight.
    pub(super) fn enter(&mut self, key: AuthKey, proof: Proof, ours: bool) {
        let ready = Ready { key, proof, ours };
        let is_leased = self.is_leased(&key);
        if let Some(ready) = self.unleased.enter(ready, is_leased, Instant::now().into_std()) {
            self.write(key, &ready.proof, ready.ours);
        }
    }

    /// When the first of those that wait has waited for long enough.
    pub(super) fn leases_due(&self) -> Instant {
        self.unleased
            .deadline()
            .map_or_else(Instant::now, Instant::from_std)
    }

    /// Leases have come, or it is time.
    pub(super) fn on_leases(&mut self) {
        let mut unleased = std::mem::take(&mut self.unleased);
        let ready = unleased.ready(Instant::now().into_std(), |key| self.is_leased(key));
        self.unleased = unleased;
        for Ready { key, proof, ours } in ready {
            self.write(key, &proof, ours);
            self.tell_waiters(key);
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
