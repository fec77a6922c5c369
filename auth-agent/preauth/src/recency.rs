//! Which pairs were used, and when.

use std::collections::{BTreeMap, BTreeSet};

use signet_abi::AuthKey;

/// Pairs with the instant of their last known use, bounded: the oldest gives way.
#[derive(Clone, Debug)]
pub struct Recency {
    room: usize,
    times: BTreeMap<AuthKey, u64>,
    order: BTreeSet<(u64, AuthKey)>,
}

impl Recency {
    /// Room for so many pairs.
    pub fn new(room: usize) -> Self {
        Self {
            room,
            times: BTreeMap::new(),
            order: BTreeSet::new(),
        }
    }

    /// A pair was used at `at`. An older use than the one that is known says nothing.
    pub fn used(&mut self, key: AuthKey, at: u64) {
        if let Some(before) = self.times.get(&key) {
            if *before >= at {
                return;
            }
            self.order.remove(&(*before, key));
        }
        self.times.insert(key, at);
        self.order.insert((at, key));
        while self.order.len() > self.room {
            let Some((_, oldest)) = self.order.pop_first() else {
                return;
            };
            self.times.remove(&oldest);
        }
    }

    /// Pairs, the one that was used last first.
    pub fn latest(&self) -> impl Iterator<Item = &AuthKey> {
        self.order.iter().rev().map(|(_, key)| key)
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Forgets all: numbers mean others now.
    pub fn clear(&mut self) {
        self.times.clear();
        self.order.clear();
    }
}
