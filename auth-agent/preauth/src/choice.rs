//! Which pairs, in which order.

use std::collections::BTreeSet;

use signet_abi::{AuthKey, SecurityIdentity};

use crate::demand::{Demand, Group, Place, count};

/// Pairs in the order of their turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Each once.
    pub keys: Vec<AuthKey>,
    /// How many more are possible (an upper bound where groups overlap).
    pub left_out: u64,
}

/// Chooses at most `most` pairs of the demand: first those with an identity or a place that is `new` (it was not there before), then
/// those that were `used`, the last first, then the rest. Of the rest every local identity gets its share, and each node begins at
/// another place (`seed`), so that a thousand nodes that hear of a policy at once do not all turn to the same peer.
pub fn choose<'a>(
    demand: &Demand,
    new: &Group,
    used: impl IntoIterator<Item = &'a AuthKey>,
    most: usize,
    seed: u64,
) -> Choice {
    let mut taken = Taken {
        most,
        keys: Vec::new(),
        known: BTreeSet::new(),
    };
    for group in demand.groups() {
        let locals = group.locals.intersection(&new.locals).copied().collect();
        taken.spread(&locals, &group.remotes, seed);
        let remotes = group.remotes.intersection(&new.remotes).copied().collect();
        taken.spread(&group.locals, &remotes, seed);
    }
    for key in used {
        if taken.is_full() {
            break;
        }
        if demand.contains(key) {
            taken.take(*key);
        }
    }
    for group in demand.groups() {
        taken.spread(&group.locals, &group.remotes, seed);
    }
    let left_out = if taken.is_full() {
        demand.len().saturating_sub(count(taken.keys.len()))
    } else {
        0
    };
    Choice {
        keys: taken.keys,
        left_out,
    }
}

struct Taken {
    most: usize,
    keys: Vec<AuthKey>,
    known: BTreeSet<AuthKey>,
}

impl Taken {
    fn is_full(&self) -> bool {
        self.keys.len() >= self.most
    }

    fn take(&mut self, key: AuthKey) {
        if !self.is_full() && self.known.insert(key) {
            self.keys.push(key);
        }
    }

    /// Round by round: in each, every local identity gets one more.
    fn spread(&mut self, locals: &BTreeSet<SecurityIdentity>, remotes: &BTreeSet<Place>, seed: u64) {
        let remotes: Vec<&Place> = remotes.iter().collect();
        if locals.is_empty() {
            return;
        }
        for round in 0..remotes.len() {
            for local in locals {
                if self.is_full() {
                    return;
                }
                let begin = mix(seed ^ u64::from(local.0));
                let at = begin.wrapping_add(count(round)) % count(remotes.len());
                let Some(place) = usize::try_from(at).ok().and_then(|at| remotes.get(at)) else {
                    continue;
                };
                self.take(AuthKey {
                    local: *local,
                    remote: place.identity,
                    node: place.node,
                });
            }
        }
    }
}

/// Numbers that are near each other become numbers that are not (`SplitMix64`'s last step).
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (number ^ (number >> 31)) >> 1
}
