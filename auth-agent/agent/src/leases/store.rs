//! `LEASES` and `LEASE_ENDS`: where the kernel finds what is believed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use signet_abi::{Lease, LeaseEnd, LeaseEndKey, LeaseKey};
use signet_lease::Write;
use signet_maps::{LeaseEndsMap, LeasesMap, MapError};

/// Why something is not in the maps.
#[derive(Debug, thiserror::Error)]
pub enum LeaseStoreError {
    /// The kernel's maps.
    #[error(transparent)]
    Map(#[from] MapError),
    /// No room in the map of a test.
    #[error("LEASES is full at {0} entries")]
    Full(usize),
}

impl LeaseStoreError {
    /// Whether the maps are merely not there yet.
    pub fn is_missing(&self) -> bool {
        match self {
            Self::Map(error) => error.is_missing(),
            Self::Full(_) => false,
        }
    }

    /// Whether there is no room.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Map(error) => error.is_full(),
            Self::Full(_) => true,
        }
    }
}

/// All entries of `LEASES`, and all of `LEASE_ENDS`.
pub(super) type Entries = (Vec<(LeaseKey, Lease)>, Vec<(LeaseEndKey, LeaseEnd)>);

/// Leases in the kernel, or what stands for them in a test.
pub trait LeaseStore: Send + 'static {
    /// All that is there.
    fn entries(&mut self) -> Result<Entries, LeaseStoreError>;
    /// Does one write. What is to be removed may be gone already.
    fn write(&mut self, write: &Write) -> Result<(), LeaseStoreError>;
    /// Whether the maps were replaced since the last call, so that all has to be written again.
    fn was_replaced(&mut self) -> bool;
}

/// The pinned maps. Opened when they are there, and anew when signet-meshd has replaced them.
#[derive(Debug)]
pub struct KernelLeases {
    directory: PathBuf,
    maps: Option<(LeasesMap, LeaseEndsMap)>,
}

impl KernelLeases {
    /// The maps pinned in `directory`, now or later.
    pub fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            maps: None,
        }
    }

    fn maps(&mut self) -> Result<&mut (LeasesMap, LeaseEndsMap), LeaseStoreError> {
        let maps = match self.maps.take() {
            Some(maps) => maps,
            None => (
                LeasesMap::open(&self.directory)?,
                LeaseEndsMap::open(&self.directory)?,
            ),
        };
        Ok(self.maps.insert(maps))
    }
}

impl LeaseStore for KernelLeases {
    fn entries(&mut self) -> Result<Entries, LeaseStoreError> {
        let (leases, ends) = self.maps()?;
        Ok((leases.entries()?, ends.entries()?))
    }

    fn write(&mut self, write: &Write) -> Result<(), LeaseStoreError> {
        let (leases, ends) = self.maps()?;
        match write {
            Write::Remove(key) => {
                leases.remove(key)?;
            }
            Write::Silence(key) => {
                ends.remove(key)?;
            }
            Write::Put(key, lease) => leases.insert(key, lease)?,
            Write::Extend(key, not_after) => ends.insert(
                key,
                &LeaseEnd {
                    not_after: *not_after,
                },
            )?,
        }
        Ok(())
    }

    fn was_replaced(&mut self) -> bool {
        let replaced = match &self.maps {
            Some((leases, ends)) => !leases.is_current() || !ends.is_current(),
            None => self.maps().is_ok(),
        };
        if replaced {
            self.maps = None;
        }
        replaced
    }
}

/// Maps of a test's own. Clones share them.
#[derive(Clone, Debug)]
pub struct MemoryLeases {
    maps: Arc<Mutex<Memory>>,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Memory {
    leases: BTreeMap<LeaseKey, Lease>,
    ends: BTreeMap<LeaseEndKey, u64>,
}

impl MemoryLeases {
    /// Empty maps.
    pub fn new(capacity: usize) -> Self {
        Self {
            maps: Arc::default(),
            capacity,
        }
    }

    /// What the kernel would find.
    pub fn get(&self, key: &LeaseKey) -> Option<Lease> {
        self.lock().leases.get(key).copied()
    }

    /// Until when the node's word counts; 0: it does not.
    pub fn end(&self, key: &LeaseEndKey) -> u64 {
        self.lock().ends.get(key).copied().unwrap_or(0)
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.maps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LeaseStore for MemoryLeases {
    fn entries(&mut self) -> Result<Entries, LeaseStoreError> {
        let maps = self.lock();
        let end = |(key, not_after): (&LeaseEndKey, &u64)| {
            let not_after = *not_after;
            (*key, LeaseEnd { not_after })
        };
        let leases = maps.leases.iter().map(|(key, lease)| (*key, *lease));
        Ok((leases.collect(), maps.ends.iter().map(end).collect()))
    }

    fn write(&mut self, write: &Write) -> Result<(), LeaseStoreError> {
        let capacity = self.capacity;
        let mut maps = self.lock();
        match write {
            Write::Remove(key) => {
                maps.leases.remove(key);
            }
            Write::Silence(key) => {
                maps.ends.remove(key);
            }
            Write::Put(key, lease) => {
                if maps.leases.len() >= capacity && !maps.leases.contains_key(key) {
                    return Err(LeaseStoreError::Full(capacity));
                }
                maps.leases.insert(*key, *lease);
            }
            Write::Extend(key, not_after) => {
                maps.ends.insert(*key, *not_after);
            }
        }
        Ok(())
    }

    fn was_replaced(&mut self) -> bool {
        false
    }
}
