//! Proofs that wait for a lease of the other side: given to the kernel with it, so that what waited for the proof passes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use signet_abi::{AuthKey, NodeId};
use signet_handshake::Proof;

/// How long a proof waits for a lease. Then it is written all the same, and the kernel says what lacks.
const PATIENCE: Duration = Duration::from_secs(1);

/// A proof that may be written.
#[derive(Debug)]
pub struct Ready {
    /// Of which pair.
    pub key: AuthKey,
    /// The proof.
    pub proof: Proof,
    /// It ends a flight of ours.
    pub ours: bool,
}

#[derive(Debug)]
struct Unleased {
    proof: Proof,
    ours: bool,
    until: Instant,
}

/// Proofs that wait.
#[derive(Debug, Default)]
pub struct Waiting(BTreeMap<AuthKey, Unleased>);

impl Waiting {
    /// A proof has come: it may be written at once where the other side's lease is there, and else waits. A later one of the
    /// same pair takes its place.
    pub fn enter(&mut self, ready: Ready, is_leased: bool, now: Instant) -> Option<Ready> {
        let Ready { key, proof, ours } = ready;
        let before = self.0.remove(&key);
        let ours = ours || before.as_ref().is_some_and(|before| before.ours);
        if is_leased {
            return Some(Ready { key, proof, ours });
        }
        let until = before.map_or_else(|| now + PATIENCE, |before| before.until);
        self.0.insert(key, Unleased { proof, ours, until });
        None
    }

    /// Those whose lease has come, or that have waited for long enough.
    pub fn ready(&mut self, now: Instant, is_leased: impl Fn(&AuthKey) -> bool) -> Vec<Ready> {
        let may_go = |key: &AuthKey, waits: &mut Unleased| waits.until <= now || is_leased(key);
        let ready = |(key, Unleased { proof, ours, .. })| Ready { key, proof, ours };
        self.0.extract_if(.., may_go).map(ready).collect()
    }

    /// When the first of them has waited for long enough.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.values().map(|waits| waits.until).min()
    }

    /// Forgets those with workloads of this node.
    pub fn void(&mut self, node: NodeId) -> Vec<AuthKey> {
        let of_node = self.0.extract_if(.., |key, _| key.node == node);
        of_node.map(|(key, _)| key).collect()
    }

    /// Whether a proof of this pair waits.
    pub fn holds(&self, key: &AuthKey) -> bool {
        self.0.contains_key(key)
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}
