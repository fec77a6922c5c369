//! How much each map can hold.

use signet_abi::maps;

/// Sizes of the maps. Changing one makes a new, empty map at the next load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacities {
    /// Address prefixes with an identity.
    pub ipcache: u32,
    /// Addresses of local endpoints.
    pub endpoints: u32,
    /// Compiled rules.
    pub policy: u32,
    /// Proofs. Also the pairs whose last signal is remembered.
    pub auth: u32,
    /// Addresses of workloads on other nodes, in these nodes' own words.
    pub leases: u32,
    /// Connections, of each family. The least recently used makes room for a new one.
    pub connections: u32,
    /// Remote nodes.
    pub nodes: u32,
    /// Bytes for signals; rounded up to a power of two.
    pub signals_bytes: u32,
    /// Bytes for flows; rounded up to a power of two.
    pub flows_bytes: u32,
}

impl Default for Capacities {
    fn default() -> Self {
        Self {
            ipcache: 65_536,
            endpoints: 4_096,
            policy: 65_536,
            auth: 65_536,
            leases: 65_536,
            connections: 131_072,
            nodes: 4_096,
            signals_bytes: 256 << 10,
            flows_bytes: 1 << 20,
        }
    }
}

impl Capacities {
    /// Entries (rings: bytes) of a map; none if its size is fixed.
    pub(crate) fn of(&self, map: &str) -> Option<u32> {
        Some(match map {
            maps::IPCACHE => self.ipcache,
            maps::ENDPOINTS => self.endpoints,
            maps::POLICY => self.policy,
            maps::AUTH => self.auth,
            // Also of pairs that find no room for a proof.
            maps::SIGNALLED => self.auth.max(256),
            maps::CT4 | maps::CT6 => self.connections,
            // In pieces travels little, and each for seconds: a share of the connections.
            maps::FRAGMENTS => (self.connections / 16).max(64),
            maps::LEASES => self.leases,
            maps::NODES | maps::LEASE_ENDS => self.nodes,
            maps::SIGNALS => ring(self.signals_bytes),
            maps::FLOWS => ring(self.flows_bytes),
            _ => return None,
        })
    }
}

/// The next size that a ring buffer can have: a power of two of at least one page (here the largest page in use).
fn ring(bytes: u32) -> u32 {
    const LARGEST_PAGE: u32 = 65_536;
    bytes.clamp(LARGEST_PAGE, 1 << 30).next_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ring_sizes_become_powers_of_two_within_bounds() {
        let sizes = [0, 65_536, 65_537, u32::MAX].map(ring);
        assert_eq!(sizes, [65_536, 65_536, 131_072, 1 << 30]);
    }
}
