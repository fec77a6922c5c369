//! From what the kernel holds to what it should hold, in an order in which nothing leaks and nothing breaks.
//!
//! 1. New sets of rules are written under numbers that no endpoint uses: no packet meets them.
//! 2. Addresses that would be misjudged in between are held (see [`crate::quarantine`]); almost always none.
//! 3. Endpoints that go are removed: their interface refuses everything for their address. Endpoints that change are
//!    written, each with one write that switches interface, identity, rules and enforcement together.
//! 4. Addresses get their new identities, and those that go are removed.
//!    Then endpoints that come are written: they meet only final identities.
//! 5. `CONFIG` gets the next policy epoch, so that connections judged before are judged again. This is also done where
//!    nothing was to be written, if an earlier change may have ended before it: the maps do not show that.
//! 6. After a pause in which programs that began earlier end, sets that no endpoint uses any more are removed.
//!
//! A crash after any step leaves a state from which the next plan goes on.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use signet_abi::{
    ABI_VERSION, Address, Endpoint, IpcacheValue, MeshConfig, PolicyId, SecurityIdentity, endpoint_flags,
    maps,
};
use thiserror::Error;

use crate::desired::{Desired, DesiredEndpoint, Place};
use crate::interface::Ifindex;
use crate::kernel::{KernelState, Step};
use crate::numbering::Numbering;
use crate::quarantine::{Change, held};

/// How many entries the kernel maps can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// `IPCACHE`.
    pub ipcache: usize,
    /// `ENDPOINTS`.
    pub endpoints: usize,
    /// `POLICY`.
    pub policy: usize,
}

/// Why the desired state cannot be reached. Nothing is to be written then.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlanError {
    /// A map has not enough room.
    #[error(
        "kernel map {map} would need {needed} entries and has room for {capacity}: give signet-meshd a larger --map-{}, \
         or reduce workloads or rules; nothing was changed",
        map.to_lowercase()
    )]
    Full {
        /// Its name.
        map: &'static str,
        /// Entries at the fullest moment of the change.
        needed: usize,
        /// Entries it can hold.
        capacity: usize,
    },
}

/// Lists the writes that lead from `current` to `desired`. Empty if nothing is to be done.
pub fn plan(current: &KernelState, desired: &Desired, capacity: Capacity) -> Result<Vec<Step>, PlanError> {
    let rules = desired
        .endpoints
        .values()
        .filter(|endpoint| is_enforced(endpoint))
        .map(|endpoint| &endpoint.rules);
    let numbering = Numbering::new(current, rules);
    let endpoints: BTreeMap<Address, Endpoint> = desired
        .endpoints
        .iter()
        .map(|(address, wanted)| {
            (
                *address,
                endpoint(current.endpoints.get(address), wanted, &numbering),
            )
        })
        .collect();
    check_room(current, desired, &numbering, capacity)?;

    let mut steps = Vec::new();
    let new_rules = numbering
        .policy
        .iter()
        .filter(|(slot, value)| current.policy.get(*slot) != Some(*value));
    steps.extend(new_rules.map(|(slot, value)| Step::PutPolicy(*slot, *value)));

    let changes = address_changes(current, desired);
    for cidr in held(current, &endpoints, &numbering.policy, &changes) {
        let before = current.lookup(cidr).map(|(_, value)| value).unwrap_or_default();
        steps.push(Step::PutIpcache(
            cidr,
            IpcacheValue {
                identity: SecurityIdentity::ANY,
                ..before
            },
        ));
    }

    let gone = current
        .endpoints
        .keys()
        .filter(|address| !endpoints.contains_key(*address));
    steps.extend(gone.map(|address| Step::RemoveEndpoint(*address)));
    let put = |known: bool| {
        let changed = endpoints.iter().filter(move |(address, wanted)| {
            current
                .endpoints
                .get(*address)
                .map_or(!known, |before| known && before != *wanted)
        });
        changed.map(|(address, wanted)| Step::PutEndpoint(*address, *wanted))
    };
    steps.extend(put(true));

    // Small blocks before large ones, and the reverse on removal: no address falls back on a block in between.
    let mut places: Vec<_> = changes
        .iter()
        .filter_map(|change| desired.ipcache.get_key_value(&change.cidr))
        .collect();
    places.sort_by_key(|(cidr, _)| Reverse(cidr.abi_bits()));
    steps.extend(
        places
            .into_iter()
            .map(|(cidr, place)| Step::PutIpcache(*cidr, ipcache_value(*place))),
    );
    let mut gone: Vec<_> = current
        .ipcache
        .keys()
        .filter(|cidr| !desired.ipcache.contains_key(*cidr))
        .collect();
    gone.sort_by_key(|cidr| cidr.abi_bits());
    steps.extend(gone.into_iter().map(|cidr| Step::RemoveIpcache(*cidr)));
    steps.extend(put(false));

    let config = MeshConfig {
        abi_version: ABI_VERSION,
        node: desired.node,
        parking_ifindex: desired.parking.map_or(0, Ifindex::get),
        ..current.config
    };
    if !steps.is_empty() || config != current.config || current.unfinished {
        steps.push(in_next_epoch(config));
    }

    let stale: Vec<_> = current
        .policy
        .keys()
        .filter(|slot| !numbering.policy.contains_key(*slot))
        .collect();
    if !stale.is_empty() {
        steps.push(Step::Settle);
        steps.extend(stale.into_iter().map(|slot| Step::RemovePolicy(*slot)));
    }
    Ok(steps)
}

/// Ends a change that may have lost its end, where nothing more is known of what should be: the step with which all
/// connections are judged again by what the maps hold.
pub fn finish(current: &KernelState) -> Option<Step> {
    // What never was in force has judged nothing.
    (current.unfinished && current.is_adopted()).then(|| in_next_epoch(current.config))
}

fn in_next_epoch(config: MeshConfig) -> Step {
    Step::SetConfig(MeshConfig {
        policy_epoch: next_epoch(config.policy_epoch),
        ..config
    })
}

fn is_enforced(endpoint: &DesiredEndpoint) -> bool {
    endpoint.ingress_enforced || endpoint.egress_enforced
}

fn endpoint(current: Option<&Endpoint>, wanted: &DesiredEndpoint, numbering: &Numbering) -> Endpoint {
    let ingress = if wanted.ingress_enforced {
        endpoint_flags::INGRESS_ENFORCED
    } else {
        0
    };
    let egress = if wanted.egress_enforced {
        endpoint_flags::EGRESS_ENFORCED
    } else {
        0
    };
    Endpoint {
        ifindex: wanted.ifindex.get(),
        through: wanted.through.map_or(0, Ifindex::get),
        identity: wanted.identity,
        policy: if is_enforced(wanted) {
            numbering.id(&wanted.rules)
        } else {
            PolicyId::default()
        },
        flags: ingress | egress,
        ..current.copied().unwrap_or_default()
    }
}

/// Every address whose place changes, and every one that goes.
fn address_changes(current: &KernelState, desired: &Desired) -> Vec<Change> {
    let after = |cidr: crate::cidr::Cidr| {
        cidr.lineage()
            .find_map(|block| desired.ipcache.get(&block))
            .map_or(SecurityIdentity::WORLD, |place| place.identity)
    };
    let written = desired
        .ipcache
        .iter()
        .filter(|(cidr, place)| !holds(current.ipcache.get(*cidr), **place));
    let gone = current
        .ipcache
        .keys()
        .filter(|cidr| !desired.ipcache.contains_key(*cidr));
    let cidrs = written.map(|(cidr, _)| *cidr).chain(gone.copied());
    cidrs
        .map(|cidr| Change {
            cidr,
            from: current.identity(cidr),
            to: after(cidr),
        })
        .collect()
}

fn holds(value: Option<&IpcacheValue>, place: Place) -> bool {
    value.is_some_and(|value| value.identity == place.identity && value.node == place.node)
}

fn ipcache_value(place: Place) -> IpcacheValue {
    IpcacheValue {
        identity: place.identity,
        node: place.node,
    }
}

/// The next epoch; never 0.
fn next_epoch(epoch: u32) -> u32 {
    epoch.checked_add(1).unwrap_or(1)
}

fn check_room(
    current: &KernelState,
    desired: &Desired,
    numbering: &Numbering,
    capacity: Capacity,
) -> Result<(), PlanError> {
    let new_rules = numbering
        .policy
        .keys()
        .filter(|slot| !current.policy.contains_key(*slot))
        .count();
    let new_addresses = desired
        .ipcache
        .keys()
        .filter(|cidr| !current.ipcache.contains_key(*cidr))
        .count();
    let needs = [
        // Old and new rules lie beside each other for a moment, as do old and new addresses.
        (maps::POLICY, current.policy.len() + new_rules, capacity.policy),
        (
            maps::IPCACHE,
            current.ipcache.len() + new_addresses,
            capacity.ipcache,
        ),
        // Endpoints that go are removed first.
        (maps::ENDPOINTS, desired.endpoints.len(), capacity.endpoints),
    ];
    match needs.into_iter().find(|(_, needed, capacity)| needed > capacity) {
        Some((map, needed, capacity)) => Err(PlanError::Full {
            map,
            needed,
            capacity,
        }),
        None => Ok(()),
    }
}
