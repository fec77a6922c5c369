//! Which addresses must be held while rules and identities change together?
//!
//! Rules are switched first, then what addresses stand for. In between, an address carries its old identity under
//! the new rules. That is harmless where the new rules treat the old identity as the old rules did, or as they
//! treat the new identity. Everything else is held: it has no identity at all ([`SecurityIdentity::ANY`], with which
//! the kernel programs drop every packet) until its new one is written.

use std::collections::{BTreeMap, BTreeSet};

use signet_abi::{Address, Direction, Endpoint, PolicyId, PolicyValue, SecurityIdentity, endpoint_flags};

use crate::cidr::Cidr;
use crate::kernel::{KernelState, PolicySlot, entries_of};

/// An endpoint's switch from one set of rules to another.
type Switch = ((PolicyId, u32), (PolicyId, u32));

/// An address's change from one identity to another.
#[derive(Clone, Copy)]
pub(crate) struct Change {
    pub(crate) cidr: Cidr,
    pub(crate) from: SecurityIdentity,
    pub(crate) to: SecurityIdentity,
}

/// The changes that must be held.
pub(crate) fn held(
    current: &KernelState,
    endpoints: &BTreeMap<Address, Endpoint>,
    policy: &BTreeMap<PolicySlot, PolicyValue>,
    changes: &[Change],
) -> BTreeSet<Cidr> {
    let rules = |endpoint: &Endpoint| (endpoint.policy, endpoint.flags);
    let switches: BTreeSet<Switch> = endpoints
        .iter()
        .filter_map(|(address, after)| {
            current
                .endpoints
                .get(address)
                .map(|before| (rules(before), rules(after)))
        })
        .filter(|(before, after)| before != after)
        .collect();
    let mut harmless = BTreeMap::<(SecurityIdentity, SecurityIdentity), bool>::new();
    let needs_hold = |change: &&Change| {
        change.from != change.to
            && !*harmless.entry((change.from, change.to)).or_insert_with(|| {
                switches
                    .iter()
                    .all(|switch| is_harmless(current, policy, *switch, **change))
            })
    };
    changes
        .iter()
        .filter(needs_hold)
        .map(|change| change.cidr)
        .collect()
}

fn is_harmless(
    current: &KernelState,
    policy: &BTreeMap<PolicySlot, PolicyValue>,
    (before, after): Switch,
    change: Change,
) -> bool {
    [Direction::Ingress, Direction::Egress]
        .into_iter()
        .all(|direction| {
            let between = treatment(policy, after, direction, change.from);
            between == treatment(&current.policy, before, direction, change.from)
                || between == treatment(policy, after, direction, change.to)
        })
}

/// All that rules say about an identity in a direction; `None` where the direction is open.
type Treatment = Option<[Vec<((u8, [u8; 2], u32), PolicyValue)>; 2]>;

fn treatment(
    policy: &BTreeMap<PolicySlot, PolicyValue>,
    (id, flags): (PolicyId, u32),
    direction: Direction,
    identity: SecurityIdentity,
) -> Treatment {
    let enforced = match direction {
        Direction::Ingress => endpoint_flags::INGRESS_ENFORCED,
        Direction::Egress => endpoint_flags::EGRESS_ENFORCED,
    };
    // As in the kernel.
    let identity = if identity == SecurityIdentity::CONTESTED {
        SecurityIdentity::UNMANAGED
    } else {
        identity
    };
    let of = |identity| entries_of(policy, id, direction, identity).collect();
    (flags & enforced != 0).then(|| [of(identity), of(SecurityIdentity::ANY)])
}
