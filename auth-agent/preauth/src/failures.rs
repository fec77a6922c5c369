//! What failed, and when it is tried again.

use std::collections::BTreeMap;

use signet_abi::{AuthKey, NodeId};

const SECOND: u64 = 1_000_000_000;
/// What is nobody's in particular is forgotten after this time.
const MEMORY: u64 = 3_600 * SECOND;

/// Why a handshake gave no proof, as far as it matters for the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The node cannot be reached, or does not answer. It is the same for all pairs with it.
    Unreachable,
    /// One of the sides is not there yet, or has too much to do: it may be over in a moment.
    NotYet,
    /// The pair is refused for what it is.
    Never,
}

/// First wait and longest, ns. A pair whose handshake fails loses nothing by long waits: its first packet does not ask here.
const fn waits(cause: Cause) -> (u64, u64) {
    match cause {
        Cause::Unreachable => (SECOND, 120 * SECOND),
        Cause::NotYet => (SECOND, 300 * SECOND),
        Cause::Never => (300 * SECOND, MEMORY),
    }
}

/// The same once something has changed that failures may have been due to. It grows too: what changes all the time mends nothing.
const RELENTING: (u64, u64) = (SECOND, 60 * SECOND);

/// How long to wait after so many failures before, ns: between half and all of it, so that a crowd does not come back at once.
fn wait((first, most): (u64, u64), before: u32, random: u64) -> u64 {
    let full = first.saturating_mul(1 << before.min(20)).min(most);
    let half = full / 2;
    let jitter = (u128::from(random) * u128::from(half + 1)) >> 64;
    half + u64::try_from(jitter).unwrap_or(half)
}

#[derive(Clone, Copy, Debug)]
struct Failure {
    in_a_row: u32,
    at: u64,
    until: u64,
}

impl Failure {
    fn after(before: Option<Self>, cause: Cause, now: u64, random: u64) -> Self {
        let in_a_row = before.map_or(0, |before| before.in_a_row);
        Self {
            in_a_row: in_a_row.saturating_add(1),
            at: now,
            until: now.saturating_add(wait(waits(cause), in_a_row, random)),
        }
    }
}

/// Failures of pairs and of nodes. They outlive the plan: who comes and goes does not begin anew.
#[derive(Clone, Debug, Default)]
pub(crate) struct Failures {
    pairs: BTreeMap<AuthKey, Failure>,
    nodes: BTreeMap<NodeId, Failure>,
}

impl Failures {
    /// A handshake failed.
    pub(crate) fn failed(&mut self, key: AuthKey, cause: Cause, now: u64, random: u64) {
        match cause {
            Cause::Unreachable => {
                let before = self.nodes.get(&key.node).copied();
                let failure = match before {
                    // Of several that were under way one counts.
                    Some(before) if before.until > now => before,
                    before => Failure::after(before, cause, now, random),
                };
                self.nodes.insert(key.node, failure);
            }
            Cause::NotYet | Cause::Never => {
                let before = self.pairs.get(&key).copied();
                self.pairs.insert(key, Failure::after(before, cause, now, random));
                // It has answered.
                self.nodes.remove(&key.node);
            }
        }
    }

    /// Something has changed that failures may have been due to: none of them is waited out for long. How many there were in a row
    /// is still known.
    pub(crate) fn relent(&mut self, now: u64, mut random: impl FnMut() -> u64) {
        for failure in self.pairs.values_mut().chain(self.nodes.values_mut()) {
            let wait = wait(RELENTING, failure.in_a_row.saturating_sub(1), random());
            failure.until = failure.until.min(now.saturating_add(wait));
        }
    }

    /// A handshake gave a proof.
    pub(crate) fn succeeded(&mut self, key: &AuthKey) {
        self.pairs.remove(key);
        self.nodes.remove(&key.node);
    }

    /// Whether the last handshakes with the node failed for it: it is tried with one pair alone.
    pub(crate) fn is_suspect(&self, node: NodeId) -> bool {
        self.nodes.contains_key(&node)
    }

    /// Until when the pair is not tried; the past: it may be.
    pub(crate) fn until_pair(&self, key: &AuthKey) -> u64 {
        self.pairs.get(key).map_or(0, |failure| failure.until)
    }

    /// Until when no pair with the node is tried.
    pub(crate) fn until_node(&self, node: NodeId) -> u64 {
        self.nodes.get(&node).map_or(0, |failure| failure.until)
    }

    /// Forgets what is old and nobody's, and, beyond `room`, the oldest of all.
    pub(crate) fn forget(&mut self, now: u64, room: usize, is_chosen: impl Fn(&AuthKey) -> bool) {
        self.pairs
            .retain(|key, failure| is_chosen(key) || failure.at.saturating_add(MEMORY) > now);
        self.nodes
            .retain(|_, failure| failure.at.saturating_add(MEMORY) > now);
        if self.pairs.len() > room {
            let mut ages: Vec<(u64, AuthKey)> = self
                .pairs
                .iter()
                .map(|(key, failure)| (failure.at, *key))
                .collect();
            ages.sort_unstable();
            for (_, key) in ages.iter().take(self.pairs.len() - room) {
                self.pairs.remove(key);
            }
        }
    }
}
