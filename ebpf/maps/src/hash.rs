//! Hash maps: `ENDPOINTS`, `AUTH`, `LEASES`, `LEASE_ENDS`, `NODES`, `CT4`, `CT6`, `FRAGMENTS`.

use std::collections::BTreeMap;
use std::path::Path;

use aya::Pod;
use aya::maps::{HashMap, MapData, MapError as AyaError};
use signet_abi::{
    Address, AuthKey, AuthValue, Ct4Key, Ct6Key, CtValue, Endpoint, FragmentKey, FragmentValue, Lease,
    LeaseEnd, LeaseEndKey, LeaseKey, NodeId, NodeState, maps,
};

use crate::error::{MapError, write_error};
use crate::pin::{MapFill, Pin};

/// The key of a pinned hash map; it says which map and what values.
pub trait HashKey: Pod + Ord {
    /// What the map holds.
    type Value: Pod;
    /// The map's name ([`signet_abi::maps`]).
    const MAP: &'static str;
}

/// A pinned hash map.
#[derive(Debug)]
pub struct PinnedHash<K: HashKey> {
    pin: Pin,
    map: HashMap<MapData, K, K::Value>,
}

impl<K: HashKey> PinnedHash<K> {
    /// Opens the map that signet-meshd has pinned in `dir`.
    ///
    /// # Errors
    /// [`MapError::Missing`] while there is no pin, [`MapError::Layout`] if it is another version's map.
    pub fn open(dir: &Path) -> Result<Self, MapError> {
        let (pin, map) = Pin::open(dir, K::MAP)?;
        match HashMap::try_from(map) {
            Ok(map) => Ok(Self { pin, map }),
            Err(source) => Err(pin.layout(source)),
        }
    }

    /// The value of `key`, if there is one.
    pub fn get(&self, key: &K) -> Result<Option<K::Value>, MapError> {
        match self.map.get(key, 0) {
            Ok(value) => Ok(Some(value)),
            Err(AyaError::KeyNotFound) => Ok(None),
            Err(source) => Err(self.pin.read(source)),
        }
    }

    /// Adds or replaces an entry.
    ///
    /// # Errors
    /// [`MapError::Full`] if there is no room; nothing is changed then.
    pub fn insert(&mut self, key: &K, value: &K::Value) -> Result<(), MapError> {
        self.map
            .insert(key, value, 0)
            .map_err(|source| write_error(self.pin.map, self.pin.capacity, source))
    }

    /// Removes an entry; says whether there was one.
    pub fn remove(&mut self, key: &K) -> Result<bool, MapError> {
        match self.map.remove(key) {
            Ok(()) => Ok(true),
            Err(source) if crate::error::errno(&source) == Some(rustix::io::Errno::NOENT.raw_os_error()) => {
                Ok(false)
            }
            Err(AyaError::KeyNotFound) => Ok(false),
            Err(source) => Err(write_error(self.pin.map, self.pin.capacity, source)),
        }
    }

    /// All entries in key order. Entries that others add or remove meanwhile may be in it or not.
    pub fn entries(&self) -> Result<Vec<(K, K::Value)>, MapError> {
        let mut entries = BTreeMap::new();
        for entry in self.map.iter().take(self.pin.walk_limit()) {
            let (key, value) = entry.map_err(|source| self.pin.read(source))?;
            entries.insert(key, value);
        }
        Ok(entries.into_iter().collect())
    }

    /// Shows every value, one at a time: nothing is gathered, however many there are.
    pub fn each(&self, mut see: impl FnMut(K::Value)) -> Result<(), MapError> {
        for entry in self.map.iter().take(self.pin.walk_limit()) {
            let (_, value) = entry.map_err(|source| self.pin.read(source))?;
            see(value);
        }
        Ok(())
    }

    /// How full the map is. Walks all keys.
    pub fn fill(&self) -> Result<MapFill, MapError> {
        let mut entries = 0_u32;
        for key in self.map.keys().take(self.pin.walk_limit()) {
            key.map_err(|source| self.pin.read(source))?;
            entries = entries.saturating_add(1);
        }
        Ok(MapFill {
            entries: entries.min(self.pin.capacity),
            capacity: self.pin.capacity,
        })
    }

    /// Entries that the map can hold.
    pub fn capacity(&self) -> u32 {
        self.pin.capacity
    }

    /// Whether the pin still is the map that was opened; if not, open it again.
    pub fn is_current(&self) -> bool {
        self.pin.is_current()
    }
}

/// Workload interfaces of this node, by address.
pub type EndpointsMap = PinnedHash<Address>;
/// Proofs.
pub type AuthMap = PinnedHash<AuthKey>;
/// What other nodes say of their addresses.
pub type LeasesMap = PinnedHash<LeaseKey>;
/// Until when other nodes' words count.
pub type LeaseEndsMap = PinnedHash<LeaseEndKey>;
/// Remote nodes' encryption state.
pub type NodesMap = PinnedHash<NodeId>;
/// IPv4 connections.
pub type Ct4Map = PinnedHash<Ct4Key>;
/// IPv6 connections.
pub type Ct6Map = PinnedHash<Ct6Key>;

/// Datagrams in pieces.
pub type FragmentsMap = PinnedHash<FragmentKey>;

impl HashKey for Address {
    type Value = Endpoint;
    const MAP: &'static str = maps::ENDPOINTS;
}

impl HashKey for AuthKey {
    type Value = AuthValue;
    const MAP: &'static str = maps::AUTH;
}

impl HashKey for LeaseKey {
    type Value = Lease;
    const MAP: &'static str = maps::LEASES;
}

impl HashKey for LeaseEndKey {
    type Value = LeaseEnd;
    const MAP: &'static str = maps::LEASE_ENDS;
}

impl HashKey for NodeId {
    type Value = NodeState;
    const MAP: &'static str = maps::NODES;
}

impl HashKey for Ct4Key {
    type Value = CtValue;
    const MAP: &'static str = maps::CT4;
}

impl HashKey for Ct6Key {
    type Value = CtValue;
    const MAP: &'static str = maps::CT6;
}

impl HashKey for FragmentKey {
    type Value = FragmentValue;
    const MAP: &'static str = maps::FRAGMENTS;
}
