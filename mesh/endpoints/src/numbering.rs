//! Which number does an endpoint's set of rules have in the kernel?
//!
//! A number stands for one unchanging set of entries. New rules are written under a new number, and the endpoint is
//! switched to it with one write; so no packet ever meets half of a set. Equal sets share a number, and a restart
//! finds the numbers again by comparing the sets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use signet_abi::{PolicyId, PolicyValue};
use signet_policy::Compiled;

use crate::kernel::{KernelState, PolicySlot};

/// A set's entries in order, with values that can be compared.
type Entries = Vec<(PolicySlot, (u8, u8, [u8; 2], u32))>;

/// The numbers of all sets that a desired state needs.
#[derive(Debug)]
pub(crate) struct Numbering {
    ids: BTreeMap<Arc<Compiled>, PolicyId>,
    /// All entries that belong into `POLICY`.
    pub(crate) policy: BTreeMap<PolicySlot, PolicyValue>,
}

impl Numbering {
    pub(crate) fn new<'a>(
        current: &KernelState,
        wanted: impl IntoIterator<Item = &'a Arc<Compiled>>,
    ) -> Self {
        let mut held = BTreeMap::<PolicyId, Entries>::new();
        for (slot, value) in &current.policy {
            held.entry(slot.key.policy)
                .or_default()
                .push((unnumbered(*slot), comparable(*value)));
        }
        // A set without entries is seen only through an endpoint that uses its number.
        let in_use: BTreeSet<PolicyId> = current
            .endpoints
            .values()
            .map(|endpoint| endpoint.policy)
            .collect();
        for id in &in_use {
            held.entry(*id).or_default();
        }
        held.remove(&PolicyId::default());
        // Where two numbers hold the same set, the one in use is kept.
        let mut known = BTreeMap::<&Entries, PolicyId>::new();
        for (id, entries) in &held {
            let kept = known.entry(entries).or_insert(*id);
            if !in_use.contains(kept) {
                *kept = *id;
            }
        }
        let mut free = (1..).map(PolicyId).filter(|id| !held.contains_key(id));
        let mut ids = BTreeMap::new();
        let mut policy = BTreeMap::new();
        for set in wanted.into_iter().collect::<BTreeSet<_>>() {
            let mut entries: Entries = entries(set, PolicyId::default())
                .map(|(slot, value)| (slot, comparable(value)))
                .collect();
            entries.sort_unstable();
            let Some(id) = known.get(&entries).copied().or_else(|| free.next()) else {
                continue;
            };
            policy.extend(self::entries(set, id));
            ids.insert(Arc::clone(set), id);
        }
        Self { ids, policy }
    }

    /// The number of a set; 0 for one that was not asked for.
    pub(crate) fn id(&self, set: &Arc<Compiled>) -> PolicyId {
        self.ids.get(set).copied().unwrap_or_default()
    }
}

fn entries(set: &Compiled, id: PolicyId) -> impl Iterator<Item = (PolicySlot, PolicyValue)> {
    set.to_abi(id)
        .map(|(bits, key, value)| (PolicySlot { key, bits }, value))
}

fn unnumbered(slot: PolicySlot) -> PolicySlot {
    PolicySlot {
        key: signet_abi::PolicyKey {
            policy: PolicyId::default(),
            ..slot.key
        },
        ..slot
    }
}

fn comparable(value: PolicyValue) -> (u8, u8, [u8; 2], u32) {
    (value.verdict, value.authentication, value.proxy_port, value.rule)
}
