//! What the kernel makes of a packet, and what the policies' reference says of it.

use std::net::IpAddr;

use signet_abi::{ABI_VERSION, Address, PolicyKey, PolicyValue, SecurityIdentity, Verdict, endpoint_flags};
use signet_endpoints::{Cidr, Desired, KernelState, PolicySlot};
use signet_policy::{Authentication, Direction, Judgement, Packet, RuleTable, judge, select};

use crate::world::{ADDRESSES, World};

/// How freely the kernel lets a packet go. Ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Freedom {
    Dropped,
    WithProof,
    Free,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    pub(crate) local: Address,
    pub(crate) remote: Address,
    pub(crate) direction: Direction,
    pub(crate) port: u16,
}

pub(crate) fn probes() -> Vec<Probe> {
    let address = |text: &str| Address::from(text.parse::<IpAddr>().unwrap());
    let mut probes = Vec::new();
    for local in &ADDRESSES[..3] {
        for remote in ADDRESSES {
            for direction in [Direction::Ingress, Direction::Egress] {
                for port in [80, 81, 82] {
                    probes.push(Probe {
                        local: address(local),
                        remote: address(remote),
                        direction,
                        port,
                    });
                }
            }
        }
    }
    probes
}

/// What the kernel programs do, in the order of their judgement, for a first packet.
pub(crate) fn freedom(kernel: &KernelState, probe: Probe) -> Freedom {
    if kernel.config.abi_version != ABI_VERSION {
        return Freedom::Dropped;
    }
    let Some(endpoint) = kernel.endpoints.get(&probe.local) else {
        return Freedom::Dropped;
    };
    let remote = kernel.identity(Cidr::host(probe.remote));
    if remote == SecurityIdentity::ANY {
        return Freedom::Dropped;
    }
    let enforced = match probe.direction {
        Direction::Ingress => endpoint_flags::INGRESS_ENFORCED,
        Direction::Egress => endpoint_flags::EGRESS_ENFORCED,
    };
    if endpoint.flags & enforced == 0 {
        return Freedom::Free;
    }
    let key = |identity| PolicyKey {
        policy: endpoint.policy,
        identity,
        direction: probe.direction as u8,
        protocol: 6,
        port: probe.port.to_be_bytes(),
    };
    let found = longest(kernel, key(remote)).or_else(|| longest(kernel, key(SecurityIdentity::ANY)));
    match found {
        Some(value) if value.verdict == Verdict::Allow as u8 => {
            if value.authentication == Authentication::Disabled as u8 {
                Freedom::Free
            } else {
                Freedom::WithProof
            }
        }
        Some(_) | None => Freedom::Dropped,
    }
}

pub(crate) fn longest(kernel: &KernelState, wanted: PolicyKey) -> Option<PolicyValue> {
    (PolicyKey::PREFIX_BASE..=PolicyKey::PREFIX_FULL)
        .rev()
        .find_map(|bits| {
            let port = u16::from_be_bytes(wanted.port);
            let key = if bits < PolicyKey::PREFIX_PROTOCOL {
                PolicyKey {
                    protocol: 0,
                    port: [0; 2],
                    ..wanted
                }
            } else {
                let mask = u16::MAX.checked_shl(PolicyKey::PREFIX_FULL - bits).unwrap_or(0);
                PolicyKey {
                    port: (port & mask).to_be_bytes(),
                    ..wanted
                }
            };
            kernel.policy.get(&PolicySlot { key, bits }).copied()
        })
}

pub(crate) fn is_held(kernel: &KernelState, probe: Probe) -> bool {
    kernel.identity(Cidr::host(probe.remote)) == SecurityIdentity::ANY
}

/// What the policies' reference says of a probe in a world, where the endpoint is set up.
pub(crate) fn reference(world: &World, desired: &Desired, kernel: &KernelState, probe: Probe) -> Freedom {
    let Some(report) = desired.reports.iter().find(|report| {
        report.ifindex.is_some()
            && report
                .addresses
                .iter()
                .any(|address| address.abi() == probe.local)
    }) else {
        return Freedom::Dropped;
    };
    let workload = world
        .workloads
        .iter()
        .find(|workload| workload.name == report.workload)
        .unwrap();
    let table = RuleTable::new(&world.policies).unwrap();
    let selection = select(
        &world.policies,
        &table,
        &workload.name.namespace,
        &workload.labels,
    );
    let identities = world
        .view
        .as_ref()
        .map(|view| view.identities.clone())
        .unwrap_or_default();
    let peer = kernel.identity(Cidr::host(probe.remote));
    let packet = Packet {
        direction: probe.direction,
        peer,
        protocol: 6,
        port: probe.port,
    };
    match judge(&selection, &identities, packet) {
        Judgement::NotSelected
        | Judgement::Allow {
            authentication: Authentication::Disabled,
            ..
        } => Freedom::Free,
        Judgement::Allow { .. } => Freedom::WithProof,
        Judgement::Deny { .. } | Judgement::NoRule => Freedom::Dropped,
    }
}

/// An entry of conntrack: what a rule said, and when.
pub(crate) struct Connection {
    pub(crate) probe: Probe,
    pub(crate) epoch: u32,
    verdict: Freedom,
}

impl Connection {
    pub(crate) fn judged(kernel: &KernelState, probe: Probe) -> Self {
        Self {
            probe,
            epoch: kernel.config.policy_epoch,
            verdict: freedom(kernel, probe),
        }
    }

    /// What becomes of its next packet: as the last one, while the policy epoch is the same.
    pub(crate) fn freedom(&self, kernel: &KernelState) -> Freedom {
        if self.epoch == kernel.config.policy_epoch {
            self.verdict
        } else {
            freedom(kernel, self.probe)
        }
    }
}
