//! What policies and live endpoints make possible.

use std::collections::BTreeSet;

use signet_abi::{AuthKey, NodeId, SecurityIdentity};

/// An identity on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The identity.
    pub identity: SecurityIdentity,
    /// The node; this node's own number for a workload beside the local one.
    pub node: NodeId,
}

/// Every one of these local identities with every one of these places. A thousand by a thousand is two thousand numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// Identities of live endpoints of this node.
    pub locals: BTreeSet<SecurityIdentity>,
    /// Where the other sides live.
    pub remotes: BTreeSet<Place>,
}

impl Group {
    /// How many pairs it stands for.
    pub fn len(&self) -> u64 {
        count(self.locals.len()).saturating_mul(count(self.remotes.len()))
    }

    /// Whether it stands for none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// All pairs that are worth a proof.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    groups: Vec<Group>,
}

impl Demand {
    /// From groups. They may overlap.
    pub fn new(groups: impl IntoIterator<Item = Group>) -> Self {
        let groups = groups.into_iter().filter(|group| !group.is_empty());
        Self {
            groups: groups.collect(),
        }
    }

    /// The groups.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Whether a pair is among them.
    pub fn contains(&self, key: &AuthKey) -> bool {
        let place = Place {
            identity: key.remote,
            node: key.node,
        };
        self.groups
            .iter()
            .any(|group| group.locals.contains(&key.local) && group.remotes.contains(&place))
    }

    /// How many pairs there are at most: groups may overlap.
    pub fn len(&self) -> u64 {
        self.groups.iter().map(Group::len).fold(0, u64::saturating_add)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
}

pub(crate) fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
