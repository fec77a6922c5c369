//! Longest-prefix-match maps: `IPCACHE` and `POLICY`.

use std::collections::BTreeMap;
use std::path::Path;

use aya::Pod;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{MapData, MapError as AyaError};
use signet_abi::{IpcacheKey, IpcacheValue, PolicyKey, PolicyValue, maps};

use crate::error::{MapError, errno, write_error};
use crate::pin::{MapFill, Pin};
use crate::prefix::Prefix;

/// The data half of a pinned trie's key; it says which map and what values.
pub trait TrieKey: Pod + Ord {
    /// What the map holds.
    type Value: Pod;
    /// The map's name ([`signet_abi::maps`]).
    const MAP: &'static str;
}

/// A pinned longest-prefix-match trie.
#[derive(Debug)]
pub struct PinnedTrie<K: TrieKey> {
    pin: Pin,
    map: LpmTrie<MapData, K, K::Value>,
}

impl<K: TrieKey> PinnedTrie<K> {
    /// Opens the map that signet-meshd has pinned in `dir`.
    ///
    /// # Errors
    /// [`MapError::Missing`] while there is no pin, [`MapError::Layout`] if it is another version's map.
    pub fn open(dir: &Path) -> Result<Self, MapError> {
        let (pin, map) = Pin::open(dir, K::MAP)?;
        match LpmTrie::try_from(map) {
            Ok(map) => Ok(Self { pin, map }),
            Err(source) => Err(pin.layout(source)),
        }
    }

    /// The value of the longest entry that covers `prefix`, as the kernel programs find it; not only an exact hit.
    pub fn get(&self, prefix: &Prefix<K>) -> Result<Option<K::Value>, MapError> {
        match self.map.get(&kernel_key(prefix), 0) {
            Ok(value) => Ok(Some(value)),
            Err(AyaError::KeyNotFound) => Ok(None),
            Err(source) => Err(self.pin.read(source)),
        }
    }

    /// Adds or replaces the entry of exactly this prefix.
    ///
    /// # Errors
    /// [`MapError::Full`] if there is no room; nothing is changed then.
    pub fn insert(&mut self, prefix: &Prefix<K>, value: &K::Value) -> Result<(), MapError> {
        self.map
            .insert(&kernel_key(prefix), value, 0)
            .map_err(|source| write_error(self.pin.map, self.pin.capacity, source))
    }

    /// Removes the entry of exactly this prefix; says whether there was one.
    pub fn remove(&mut self, prefix: &Prefix<K>) -> Result<bool, MapError> {
        match self.map.remove(&kernel_key(prefix)) {
            Ok(()) => Ok(true),
            Err(AyaError::KeyNotFound) => Ok(false),
            Err(source) if errno(&source) == Some(rustix::io::Errno::NOENT.raw_os_error()) => Ok(false),
            Err(source) => Err(write_error(self.pin.map, self.pin.capacity, source)),
        }
    }

    /// All entries in key order. Entries that others add or remove meanwhile may be in it or not.
    #[expect(clippy::type_complexity, reason = "pairs of key and value, as maps have them")]
    pub fn entries(&self) -> Result<Vec<(Prefix<K>, K::Value)>, MapError> {
        let mut entries = BTreeMap::new();
        for key in self.map.keys().take(self.pin.walk_limit()) {
            let key = key.map_err(|source| self.pin.read(source))?;
            // A key that was removed meanwhile would be answered by a shorter prefix: harmless, it is looked at again.
            let prefix = Prefix::from_kernel(key.data(), key.prefix_len());
            if let Some(value) = self.get(&prefix)? {
                entries.insert(prefix, value);
            }
        }
        Ok(entries.into_iter().collect())
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

fn kernel_key<K: TrieKey>(prefix: &Prefix<K>) -> Key<K> {
    Key::new(prefix.length(), prefix.key())
}

/// Identities by address.
pub type IpcacheMap = PinnedTrie<IpcacheKey>;
/// Compiled rules.
pub type PolicyMap = PinnedTrie<PolicyKey>;

impl TrieKey for IpcacheKey {
    type Value = IpcacheValue;
    const MAP: &'static str = maps::IPCACHE;
}

impl TrieKey for PolicyKey {
    type Value = PolicyValue;
    const MAP: &'static str = maps::POLICY;
}
