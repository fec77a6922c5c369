//! The reference model's view of what is proven ahead: only what a policy of the node makes possible, and no faster than it may.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use signet_abi::AuthKey;
use signet_preauth::Bounds;
use signet_session::NodeNumber;

use crate::context::SECOND;

/// What is possible is looked at anew this often at most; a moment more for the turn.
const REPLAN: u64 = SECOND / 5 + SECOND / 50;

/// What nodes may prove ahead, and what they did.
#[derive(Debug, Default)]
pub struct Foresight {
    /// What has been possible on each node, and from when on.
    possible: BTreeMap<NodeNumber, VecDeque<(u64, BTreeSet<AuthKey>)>>,
    /// Handshakes of each agent's present life, and when they began.
    begun: BTreeMap<NodeNumber, Vec<(u64, AuthKey)>>,
    count: u64,
}

impl Foresight {
    /// From now on these pairs are possible on the node, and no others.
    pub fn possible(&mut self, at: u64, node: NodeNumber, keys: BTreeSet<AuthKey>) {
        let history = self.possible.entry(node).or_default();
        history.push_back((at, keys));
        // The last one that was replaced before the time that counts is of no use.
        while history.get(1).is_some_and(|(next, _)| next + REPLAN < at) {
            history.pop_front();
        }
    }

    /// An agent begins a handshake that nobody has asked for.
    pub fn begins(&mut self, at: u64, node: NodeNumber, key: AuthKey, bounds: &Bounds) -> Result<(), String> {
        self.count += 1;
        let history = self.possible.get(&node).into_iter().flatten();
        let ends = history.clone().skip(1).map(|(from, _)| *from).chain([u64::MAX]);
        let mut counts = history
            .zip(ends)
            .filter(|(_, end)| end.saturating_add(REPLAN) >= at);
        if !counts.any(|((_, keys), _)| keys.contains(&key)) {
            return Err(format!(
                "node {node} proves {key:?} ahead, which no policy of its own makes possible"
            ));
        }
        let begun = self.begun.entry(node).or_default();
        begun.push((at, key));
        // A burst, and then one per interval: so many in a row take at least that long.
        let burst = usize::try_from(bounds.burst).unwrap_or(usize::MAX);
        for (beyond, (since, _)) in (1..).zip(begun.iter().rev().skip(burst)) {
            if at - since < beyond * bounds.interval {
                return Err(format!(
                    "node {node} begins {} handshakes ahead within {} ms",
                    begun.len(),
                    (at - since) / 1_000_000
                ));
            }
        }
        Ok(())
    }

    /// The node's agent has begun a new life.
    pub fn begins_anew(&mut self, node: NodeNumber) {
        self.begun.remove(&node);
    }

    /// What the node's agent has proven ahead in its present life, in order.
    pub fn begun(&self, node: NodeNumber) -> Vec<AuthKey> {
        let begun = self.begun.get(&node).into_iter().flatten();
        begun.map(|(_, key)| *key).collect()
    }

    /// How many handshakes were begun ahead.
    pub fn count(&self) -> u64 {
        self.count
    }
}
