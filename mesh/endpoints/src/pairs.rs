//! The pairs that are worth a proof before anybody asks for one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use signet_abi::{Authentication, Direction, NodeId, SecurityIdentity};
use signet_policy::{Compiled, EntryValue};

use crate::desired::{Desired, DesiredEndpoint, Place};

/// Most numbers in all groups together.
const MOST: usize = 131_072;

/// Which pairs are worth a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worth {
    /// Those for which a rule of the local endpoint asks for one.
    Asked,
    /// Every pair of workloads.
    Every,
}

/// Every one of these identities of this node with every one of these places.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PairGroup {
    /// Identities of endpoints of this node.
    pub locals: BTreeSet<SecurityIdentity>,
    /// Where the other sides live.
    pub remotes: BTreeSet<Place>,
}

/// The pairs of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs {
    /// They may overlap.
    pub groups: Vec<PairGroup>,
    /// There are more than can be told.
    pub cut: bool,
}

impl Pairs {
    /// The pairs of a desired state. Of the other side's rules nothing is asked: a proof that is not needed permits nothing.
    pub fn of(desired: &Desired, worth: Worth) -> Self {
        let (places, nodes) = (places(desired), nodes(desired));
        let mut groups = BTreeMap::<*const Compiled, (Arc<Compiled>, BTreeSet<SecurityIdentity>)>::new();
        let workloads = desired.endpoints.values();
        for endpoint in workloads.filter(|endpoint| endpoint.identity.is_workload()) {
            let rules = match worth {
                Worth::Asked => &endpoint.rules,
                Worth::Every => first_rules(desired, endpoint),
            };
            let group = groups.entry(Arc::as_ptr(rules));
            let (_, locals) = group.or_insert_with(|| (Arc::clone(rules), BTreeSet::new()));
            locals.insert(endpoint.identity);
        }
        let groups = groups.into_values().map(|(rules, locals)| {
            let asked = Asked::by(&rules);
            let is_worth = |place: &&Place| worth == Worth::Every || asked.of(place.identity);
            let workloads = places.iter().filter(is_worth);
            let nodes = nodes.iter().filter(|place| asked.of_node(place.identity));
            PairGroup {
                locals,
                remotes: workloads.chain(nodes).copied().collect(),
            }
        });
        let mut groups: Vec<_> = groups.filter(|group| !group.remotes.is_empty()).collect();
        groups.sort_unstable();
        Self::within(groups, MOST)
    }

    fn within(groups: Vec<PairGroup>, most: usize) -> Self {
        let mut pairs = Self::default();
        let mut room = most;
        for mut group in groups {
            let (locals, remotes) = (group.locals.len(), group.remotes.len());
            if locals + remotes > room {
                pairs.cut = true;
                let locals = locals.min(room / 2);
                group.locals = group.locals.into_iter().take(locals).collect();
                group.remotes = group.remotes.into_iter().take(room - locals).collect();
            }
            room -= group.locals.len() + group.remotes.len();
            if !group.locals.is_empty() && !group.remotes.is_empty() {
                pairs.groups.push(group);
            }
        }
        pairs
    }
}

/// Where every pair is worth a proof, all endpoints are one group.
fn first_rules<'a>(desired: &'a Desired, endpoint: &'a DesiredEndpoint) -> &'a Arc<Compiled> {
    let first = desired.endpoints.values().next();
    first.map_or(&endpoint.rules, |first| &first.rules)
}

/// Where workloads with an identity live, on any node.
fn places(desired: &Desired) -> BTreeSet<Place> {
    let live = desired.reports.iter().filter(|report| {
        report.identity.is_workload() && report.node != NodeId::NONE && !report.addresses.is_empty()
    });
    live.map(|report| Place {
        identity: report.identity,
        node: report.node,
    })
    .collect()
}

/// Nodes themselves: their own processes.
fn nodes(desired: &Desired) -> BTreeSet<Place> {
    let is_node = |place: &&Place| {
        [SecurityIdentity::HOST, SecurityIdentity::REMOTE_NODE].contains(&place.identity)
            && place.node != NodeId::NONE
    };
    desired.ipcache.values().filter(is_node).copied().collect()
}

/// Of whom rules ask for a proof: on the way in, on the way out.
struct Asked([Direct; 2]);

#[derive(Default)]
struct Direct {
    named: BTreeSet<SecurityIdentity>,
    asked: BTreeSet<SecurityIdentity>,
}

impl Asked {
    fn by(rules: &Compiled) -> Self {
        let mut ingress = Direct::default();
        let mut egress = Direct::default();
        for (key, value) in rules.iter() {
            let direct = match key.direction {
                Direction::Ingress => &mut ingress,
                Direction::Egress => &mut egress,
            };
            direct.named.insert(key.identity);
            match value {
                EntryValue::Allow {
                    authentication: Authentication::RequiredOrRejected | Authentication::Required,
                    ..
                } => {
                    direct.asked.insert(key.identity);
                }
                EntryValue::Allow {
                    authentication: Authentication::Disabled | Authentication::AlwaysFail,
                    ..
                }
                | EntryValue::Deny { .. }
                | EntryValue::NoRule => {}
            }
        }
        Self([ingress, egress])
    }

    /// Nodes by their own names alone: a rule for everyone would have each workload proven with every node, which few ever talk to. What
    /// another node opens is refused, whatever is proven; so of that one only the way out counts.
    fn of_node(&self, identity: SecurityIdentity) -> bool {
        let Self([ingress, egress]) = self;
        egress.asked.contains(&identity)
            || identity == SecurityIdentity::HOST && ingress.asked.contains(&identity)
    }

    fn of(&self, identity: SecurityIdentity) -> bool {
        self.0.iter().any(|direct| {
            // The entries of an identity are final; those of everyone serve who has none.
            let entries = if direct.named.contains(&identity) {
                identity
            } else {
                SecurityIdentity::ANY
            };
            direct.asked.contains(&entries)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(locals: std::ops::Range<u32>, remotes: std::ops::Range<u32>) -> PairGroup {
        PairGroup {
            locals: locals.map(SecurityIdentity).collect(),
            remotes: remotes
                .map(|number| Place {
                    identity: SecurityIdentity(number),
                    node: NodeId(2),
                })
                .collect(),
        }
    }

    #[test]
    fn what_is_told_is_bounded_and_says_so() {
        let all = vec![group(300..310, 400..430), group(310..320, 400..430)];
        assert_eq!(
            Pairs::within(all.clone(), 80),
            Pairs {
                groups: all.clone(),
                cut: false
            }
        );
        let pairs = Pairs::within(all, 60);
        let numbers = pairs
            .groups
            .iter()
            .map(|group| group.locals.len() + group.remotes.len());
        assert_eq!((numbers.sum::<usize>(), pairs.cut), (60, true));
    }
}
