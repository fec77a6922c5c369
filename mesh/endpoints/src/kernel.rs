//! What the kernel maps hold, and single writes to them.

use std::collections::BTreeMap;

use signet_abi::{
    Address, Direction, Endpoint, IpcacheValue, MeshConfig, PolicyId, PolicyKey, PolicyValue,
    SecurityIdentity,
};

use crate::cidr::Cidr;

/// A key of `POLICY` with the length of its prefix. All entries of one policy, identity and direction lie together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicySlot {
    /// The key; bits behind the prefix are zero.
    pub key: PolicyKey,
    /// Bits that count.
    pub bits: u32,
}

/// The maps that signet-meshd writes, in its own memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelState {
    /// `CONFIG`.
    pub config: MeshConfig,
    /// `ENDPOINTS`.
    pub endpoints: BTreeMap<Address, Endpoint>,
    /// `IPCACHE`.
    pub ipcache: BTreeMap<Cidr, IpcacheValue>,
    /// `POLICY`.
    pub policy: BTreeMap<PolicySlot, PolicyValue>,
    /// In no map: whether something may have been written whose policy epoch was not. Connections may still be judged as
    /// before it then. Whoever reads the maps says so after a start and after a write that failed.
    pub unfinished: bool,
}

/// One write; each is atomic in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Adds an entry to a policy that no endpoint uses yet.
    PutPolicy(PolicySlot, PolicyValue),
    /// Adds or replaces an endpoint.
    PutEndpoint(Address, Endpoint),
    /// Removes an endpoint: packets towards its address are refused at its interface.
    RemoveEndpoint(Address),
    /// Adds or replaces what an address stands for.
    PutIpcache(Cidr, IpcacheValue),
    /// Removes what an address stands for.
    RemoveIpcache(Cidr),
    /// Replaces the settings.
    SetConfig(MeshConfig),
    /// Not a write: wait until no program still runs that began before the last write.
    Settle,
    /// Removes an entry of a policy that no endpoint uses any more.
    RemovePolicy(PolicySlot),
}

impl KernelState {
    /// Does to this copy what the kernel does to its maps.
    pub fn apply(&mut self, step: &Step) {
        match *step {
            Step::PutPolicy(slot, value) => {
                self.policy.insert(slot, value);
            }
            Step::RemovePolicy(slot) => {
                self.policy.remove(&slot);
            }
            Step::PutEndpoint(address, endpoint) => {
                self.endpoints.insert(address, endpoint);
            }
            Step::RemoveEndpoint(address) => {
                self.endpoints.remove(&address);
            }
            Step::PutIpcache(cidr, value) => {
                self.ipcache.insert(cidr, value);
            }
            Step::RemoveIpcache(cidr) => {
                self.ipcache.remove(&cidr);
            }
            Step::SetConfig(config) => {
                self.config = config;
                self.unfinished = false;
            }
            Step::Settle => {}
        }
    }

    /// What an address, or a whole block, stands for: the entry of the longest prefix.
    pub fn lookup(&self, cidr: Cidr) -> Option<(Cidr, IpcacheValue)> {
        cidr.lineage()
            .find_map(|block| self.ipcache.get(&block).map(|value| (block, *value)))
    }

    /// The identity of an address, or of a whole block: the world, where there is no entry.
    pub fn identity(&self, cidr: Cidr) -> SecurityIdentity {
        self.lookup(cidr)
            .map_or(SecurityIdentity::WORLD, |(_, value)| value.identity)
    }

    /// Whether state was found that a running mesh had left.
    pub fn is_adopted(&self) -> bool {
        self.config.abi_version == signet_abi::ABI_VERSION
    }
}

/// The entries under one policy, direction and identity.
pub(crate) fn entries_of(
    policy: &BTreeMap<PolicySlot, PolicyValue>,
    id: PolicyId,
    direction: Direction,
    identity: SecurityIdentity,
) -> impl Iterator<Item = ((u8, [u8; 2], u32), PolicyValue)> {
    let first = PolicyKey {
        policy: id,
        identity,
        direction: direction as u8,
        protocol: 0,
        port: [0; 2],
    };
    let last = PolicyKey {
        protocol: u8::MAX,
        port: [u8::MAX; 2],
        ..first
    };
    let range = PolicySlot { key: first, bits: 0 }..=PolicySlot {
        key: last,
        bits: u32::MAX,
    };
    policy
        .range(range)
        .map(|(slot, value)| ((slot.key.protocol, slot.key.port, slot.bits), *value))
}
