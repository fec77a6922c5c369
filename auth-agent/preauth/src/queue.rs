//! Pairs that wait for their turn.

use std::collections::BTreeMap;

use signet_abi::{AuthKey, NodeId};

type Turn = usize;

/// Pairs that wait, by node and turn, beside those that rest after a failure and those that cannot be now. A pair is in one of the
/// three, or in none. Nobody is looked at twice in vain: what is done with each is bounded by what happens.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    ready: BTreeMap<NodeId, BTreeMap<Turn, AuthKey>>,
    resting: BTreeMap<(u64, Turn), AuthKey>,
    /// Where each of them is.
    until: BTreeMap<Turn, u64>,
    absent: BTreeMap<Turn, AuthKey>,
}

impl Queue {
    /// In place of wherever it was before.
    pub(crate) fn push(&mut self, turn: Turn, key: AuthKey) {
        self.absent.remove(&turn);
        if let Some(until) = self.until.remove(&turn) {
            self.resting.remove(&(until, turn));
        }
        self.ready.entry(key.node).or_default().insert(turn, key);
    }

    pub(crate) fn push_until(&mut self, until: u64, turn: Turn, key: AuthKey) {
        self.until.insert(turn, until);
        self.resting.insert((until, turn), key);
    }

    pub(crate) fn push_absent(&mut self, turn: Turn, key: AuthKey) {
        self.absent.insert(turn, key);
    }

    /// The first of a node that has room.
    pub(crate) fn pop(&mut self, has_room: impl Fn(NodeId) -> bool) -> Option<(Turn, AuthKey)> {
        let firsts = self.ready.iter().filter(|(node, _)| has_room(**node));
        let (_, node) = firsts
            .filter_map(|(node, pairs)| Some((*pairs.first_key_value()?.0, *node)))
            .min()?;
        let pairs = self.ready.get_mut(&node)?;
        let first = pairs.pop_first();
        if pairs.is_empty() {
            self.ready.remove(&node);
        }
        first
    }

    /// Those whose rest is over wait again.
    pub(crate) fn resume(&mut self, now: u64) {
        while let Some((&(until, turn), &key)) = self.resting.first_key_value() {
            if until > now {
                return;
            }
            self.push(turn, key);
        }
    }

    /// When the first rest is over.
    pub(crate) fn resumes(&self) -> Option<u64> {
        self.resting.first_key_value().map(|((until, _), _)| *until)
    }

    /// Those that rest wait for their turn again: how long they have to is another time than before.
    pub(crate) fn rouse(&mut self) {
        for ((_, turn), key) in std::mem::take(&mut self.resting) {
            self.push(turn, key);
        }
    }

    /// What could not be is looked at again.
    pub(crate) fn wake(&mut self) {
        for (turn, key) in std::mem::take(&mut self.absent) {
            self.push(turn, key);
        }
    }

    /// Whether nobody waits for his turn.
    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// Nodes with which somebody waits.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.ready.keys().copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.ready.values().map(BTreeMap::len).sum::<usize>() + self.resting.len() + self.absent.len()
    }

    pub(crate) fn resting(&self) -> usize {
        self.resting.len()
    }

    pub(crate) fn absent(&self) -> usize {
        self.absent.len()
    }

    /// How many wait with these nodes.
    pub(crate) fn held_by(&self, is_held: impl Fn(NodeId) -> bool) -> usize {
        let held = self.ready.iter().filter(|(node, _)| is_held(**node));
        held.map(|(_, pairs)| pairs.len()).sum()
    }
}
