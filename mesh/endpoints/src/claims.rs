//! Whose is an address? Workloads claim, the operator's pod CIDRs decide.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use signet_abi::{Address, NodeId, SecurityIdentity};
use signet_spiffe::NodeName;

use crate::address::WorkloadAddress;
use crate::cidr::Cidr;
use crate::desired::{Inputs, Place};
use crate::problem::{Problem, list};
use crate::view::View;
use crate::workload::Workload;

/// The claims that are believed.
pub(crate) struct Claims {
    /// Owner of each believed address, as an index into the workloads.
    pub(crate) owners: BTreeMap<WorkloadAddress, usize>,
    /// Addresses that several claim with equal right, so that nobody has them.
    pub(crate) contested: BTreeSet<WorkloadAddress>,
    pub(crate) problems: Vec<Problem>,
}

/// Settles the claims. A claim outside its node's CIDRs does not count. A claim that a CIDR confirms beats those of
/// workloads whose node has not joined. Of several equal ones none is believed.
pub(crate) fn settle(inputs: &Inputs<'_>) -> Claims {
    let mut problems = Vec::new();
    let mut confirmed = BTreeMap::<WorkloadAddress, Vec<usize>>::new();
    let mut unconfirmed = BTreeMap::<WorkloadAddress, Vec<usize>>::new();
    let own: BTreeSet<IpAddr> = inputs.own_addresses.iter().copied().collect();
    for (index, workload) in inputs.workloads.iter().enumerate() {
        let node = inputs.view.and_then(|view| view.nodes.get(&workload.node));
        for &address in workload.addresses() {
            if own.contains(&address.ip()) {
                problems.push(Problem::NodeAddress {
                    workload: workload.name.clone(),
                    address,
                });
                continue;
            }
            match node {
                None => unconfirmed.entry(address).or_default().push(index),
                Some(node) if node.may_own(address.abi()) => {
                    confirmed.entry(address).or_default().push(index);
                }
                Some(node) => problems.push(Problem::OutsideCidrs {
                    workload: workload.name.clone(),
                    address,
                    node: workload.node.clone(),
                    cidrs: if node.pod_cidrs.is_empty() {
                        "it has none".to_owned()
                    } else {
                        list(&node.pod_cidrs)
                    },
                }),
            }
        }
    }
    let mut owners = BTreeMap::new();
    let mut contested = BTreeSet::new();
    let claimed: BTreeSet<_> = confirmed.keys().chain(unconfirmed.keys()).copied().collect();
    for address in claimed {
        let strong = confirmed.get(&address).map_or(&[][..], Vec::as_slice);
        let weak = unconfirmed.get(&address).map_or(&[][..], Vec::as_slice);
        if strong.len() + weak.len() > 1 {
            let names = strong
                .iter()
                .chain(weak)
                .filter_map(|&index| inputs.workloads.get(index));
            let claimants = bounded(names.map(|workload| claimant(inputs, workload)));
            problems.push(Problem::AddressConflict { address, claimants });
        }
        if let [owner] = if strong.is_empty() { weak } else { strong } {
            owners.insert(address, *owner);
        } else {
            contested.insert(address);
        }
    }
    Claims {
        owners,
        contested,
        problems,
    }
}

/// Who claims an address, and as whom.
fn claimant(inputs: &Inputs<'_>, workload: &Workload) -> String {
    let id = inputs.view.and_then(|view| {
        let identities = &view.identities;
        identities.workload(&workload.name.namespace, &workload.service_account)
    });
    match id {
        Some(id) => format!("{} ({id})", workload.name),
        None => workload.name.to_string(),
    }
}

/// The first few of them.
fn bounded(claimants: impl Iterator<Item = String>) -> String {
    const MOST: usize = 8;
    let claimants: Vec<_> = claimants.collect();
    let more = claimants.len().saturating_sub(MOST);
    let named = list(claimants.iter().take(MOST));
    if more > 0 {
        format!("{named} and {more} more")
    } else {
        named
    }
}

/// What contested addresses stand for: nobody, in the place of whatever they lie in. A node's own address stays the node's.
pub(crate) fn contested_places(
    contested: &BTreeSet<WorkloadAddress>,
    places: &BTreeMap<Cidr, Place>,
) -> BTreeMap<Cidr, Place> {
    let place = |address: &WorkloadAddress| {
        let host = Cidr::host(address.abi());
        let around = host.lineage().find_map(|block| places.get(&block));
        let place = Place {
            identity: SecurityIdentity::CONTESTED,
            node: around.map_or(NodeId::NONE, |around| around.node),
        };
        let is_free = places
            .get(&host)
            .is_none_or(|place| place.identity == SecurityIdentity::UNMANAGED);
        is_free.then_some((host, place))
    };
    contested.iter().filter_map(place).collect()
}

/// The places of nodes: their pod CIDRs, where whoever has no workload's address is unmanaged, and their own addresses.
pub(crate) fn node_places(inputs: &Inputs<'_>, problems: &mut Vec<Problem>) -> BTreeMap<Cidr, Place> {
    let mut places = BTreeMap::new();
    let empty = View::default();
    let view = inputs.view.unwrap_or(&empty);
    for (cidr, name, id) in cidrs(view) {
        let overlap = cidrs(view)
            .find(|(other, owner, _)| *owner < name && (other.covers(cidr) || cidr.covers(*other)));
        if let Some((other_cidr, other, _)) = overlap {
            problems.push(Problem::CidrConflict {
                cidr,
                node: name.clone(),
                other_cidr,
                other: other.clone(),
            });
        }
        let node = if overlap.is_some_and(|(other, ..)| other == cidr) {
            NodeId::NONE
        } else {
            id
        };
        places.insert(
            cidr,
            Place {
                identity: SecurityIdentity::UNMANAGED,
                node,
            },
        );
    }
    let own_id = view.nodes.get(inputs.own).map_or(NodeId::NONE, |node| node.id);
    let own: BTreeSet<Address> = inputs.own_addresses.iter().map(|&ip| Address::from(ip)).collect();
    for (name, node) in &view.nodes {
        for &ip in &node.addresses {
            let address = Address::from(ip);
            if let Some(owner) = foreign(
                view,
                name,
                address,
                *name != *inputs.own && own.contains(&address),
            ) {
                problems.push(Problem::AnnouncedForeign {
                    node: name.clone(),
                    address: ip,
                    owner,
                });
                continue;
            }
            let place = if name == inputs.own {
                Place {
                    identity: SecurityIdentity::HOST,
                    node: node.id,
                }
            } else {
                Place {
                    identity: SecurityIdentity::REMOTE_NODE,
                    node: node.id,
                }
            };
            places.insert(Cidr::host(address), place);
        }
    }
    // Last: what this node's own interfaces have is a fact, not an announcement.
    let host = Place {
        identity: SecurityIdentity::HOST,
        node: own_id,
    };
    places.extend(own.into_iter().map(|address| (Cidr::host(address), host)));
    places
}

fn cidrs(view: &View) -> impl Iterator<Item = (Cidr, &NodeName, NodeId)> {
    view.nodes
        .iter()
        .flat_map(|(name, node)| node.pod_cidrs.iter().map(move |cidr| (*cidr, name, node.id)))
}

/// Whose an announced address is, if not the announcing node's.
fn foreign(view: &View, announcer: &NodeName, address: Address, is_ours: bool) -> Option<String> {
    if is_ours {
        return Some("this node".to_owned());
    }
    let others = || view.nodes.iter().filter(|(name, _)| *name != announcer);
    let by_cidr = others()
        .find(|(_, node)| node.may_own(address))
        .map(|(name, _)| format!("the pods of node {name}"));
    let ip = IpAddr::from(address);
    let by_node = || {
        others()
            .find(|(_, node)| node.addresses.contains(&ip))
            .map(|(name, _)| format!("node {name} too"))
    };
    by_cidr.or_else(by_node)
}
