//! `AUTH`: where proofs are kept for the kernel.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use signet_abi::{AuthKey, AuthValue};
use signet_maps::{AuthMap, MapError, boottime_now};

/// Why a proof is not in the map.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The kernel's map.
    #[error(transparent)]
    Map(#[from] MapError),
    /// No room in the map of a test.
    #[error("AUTH is full at {0} entries")]
    Full(usize),
    /// A fault that a test has asked for.
    #[error("AUTH cannot be read or written")]
    Fault,
}

impl AuthError {
    /// Whether there was no room.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Map(error) => error.is_full(),
            Self::Full(_) => true,
            Self::Fault => false,
        }
    }

    /// Whether the map is merely not there yet.
    pub fn is_missing(&self) -> bool {
        match self {
            Self::Map(error) => error.is_missing(),
            Self::Full(_) | Self::Fault => false,
        }
    }
}

/// Proofs in the kernel, or what stands for it in a test.
pub trait AuthStore: Send + 'static {
    /// All entries.
    fn entries(&mut self) -> Result<Vec<(AuthKey, AuthValue)>, AuthError>;
    /// One entry.
    fn value(&mut self, key: &AuthKey) -> Result<Option<AuthValue>, AuthError>;
    /// How many entries there can be.
    fn slots(&mut self) -> Result<usize, AuthError>;
    /// Adds or replaces an entry.
    fn insert(&mut self, key: &AuthKey, value: &AuthValue) -> Result<(), AuthError>;
    /// Removes an entry that may be there.
    fn remove(&mut self, key: &AuthKey) -> Result<(), AuthError>;
    /// Whether the map was replaced since the last call, so that all has to be written again.
    fn was_replaced(&mut self) -> bool;
}

/// The pinned map. Opened when it is there, and anew when signet-meshd has replaced it.
#[derive(Debug)]
pub struct KernelAuth {
    directory: PathBuf,
    map: Option<AuthMap>,
}

impl KernelAuth {
    /// The map pinned in `directory`, now or later.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, map: None }
    }

    fn map(&mut self) -> Result<&mut AuthMap, AuthError> {
        let map = match self.map.take() {
            Some(map) => map,
            None => AuthMap::open(&self.directory)?,
        };
        Ok(self.map.insert(map))
    }
}

impl AuthStore for KernelAuth {
    fn entries(&mut self) -> Result<Vec<(AuthKey, AuthValue)>, AuthError> {
        Ok(self.map()?.entries()?)
    }

    fn value(&mut self, key: &AuthKey) -> Result<Option<AuthValue>, AuthError> {
        Ok(self.map()?.get(key)?)
    }

    fn slots(&mut self) -> Result<usize, AuthError> {
        Ok(usize::try_from(self.map()?.capacity()).unwrap_or(usize::MAX))
    }

    fn insert(&mut self, key: &AuthKey, value: &AuthValue) -> Result<(), AuthError> {
        Ok(self.map()?.insert(key, value)?)
    }

    fn remove(&mut self, key: &AuthKey) -> Result<(), AuthError> {
        self.map()?.remove(key)?;
        Ok(())
    }

    fn was_replaced(&mut self) -> bool {
        let replaced = match &self.map {
            Some(map) => !map.is_current(),
            None => AuthMap::open(&self.directory).is_ok(),
        };
        if replaced {
            self.map = None;
        }
        replaced
    }
}

/// What was done to a map of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A proof was written.
    Written(AuthKey),
    /// One that was there was removed.
    Removed(AuthKey),
}

/// Changes that are remembered.
const HISTORY: usize = 4_096;

/// A map of a test's own. Clones share it.
#[derive(Clone, Debug)]
pub struct MemoryAuth {
    entries: std::sync::Arc<Mutex<BTreeMap<AuthKey, AuthValue>>>,
    faults: std::sync::Arc<AtomicU32>,
    refusals: std::sync::Arc<AtomicU32>,
    history: std::sync::Arc<Mutex<Vec<Change>>>,
    capacity: usize,
}

impl MemoryAuth {
    /// An empty map.
    pub fn new(capacity: usize) -> Self {
        Self {
            entries: std::sync::Arc::default(),
            faults: std::sync::Arc::default(),
            refusals: std::sync::Arc::default(),
            history: std::sync::Arc::default(),
            capacity,
        }
    }

    /// The next so many times that somebody wants to see all entries there is a fault instead.
    pub fn fail(&self, times: u32) {
        self.faults.store(times, Relaxed);
    }

    /// The next so many writes are refused, whatever room there is.
    pub fn refuse(&self, times: u32) {
        self.refusals.store(times, Relaxed);
    }

    /// What the kernel would find.
    pub fn get(&self, key: &AuthKey) -> Option<AuthValue> {
        self.lock().get(key).copied()
    }

    /// A packet has passed the proof, so many nanoseconds ago, as the kernel programs note it.
    pub fn pass(&self, key: &AuthKey, ago: u64) {
        if let Some(value) = self.lock().get_mut(key) {
            value.used = boottime_now().saturating_sub(ago);
        }
    }

    /// All that was done to it since it was made, in order: what was written, and what was removed.
    pub fn history(&self) -> Vec<Change> {
        self.history
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn note(&self, change: Change) {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        if history.len() < HISTORY {
            history.push(change);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<AuthKey, AuthValue>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AuthStore for MemoryAuth {
    fn entries(&mut self) -> Result<Vec<(AuthKey, AuthValue)>, AuthError> {
        if is_due(&self.faults) {
            return Err(AuthError::Fault);
        }
        Ok(self.lock().iter().map(|(key, value)| (*key, *value)).collect())
    }

    fn value(&mut self, key: &AuthKey) -> Result<Option<AuthValue>, AuthError> {
        Ok(self.get(key))
    }

    fn slots(&mut self) -> Result<usize, AuthError> {
        Ok(self.capacity)
    }

    fn insert(&mut self, key: &AuthKey, value: &AuthValue) -> Result<(), AuthError> {
        if is_due(&self.refusals) {
            return Err(AuthError::Fault);
        }
        let capacity = self.capacity;
        let mut entries = self.lock();
        if entries.len() >= capacity && !entries.contains_key(key) {
            return Err(AuthError::Full(capacity));
        }
        entries.insert(*key, *value);
        drop(entries);
        self.note(Change::Written(*key));
        Ok(())
    }

    fn remove(&mut self, key: &AuthKey) -> Result<(), AuthError> {
        if self.lock().remove(key).is_some() {
            self.note(Change::Removed(*key));
        }
        Ok(())
    }

    fn was_replaced(&mut self) -> bool {
        false
    }
}

/// Whether one of the faults that were asked for is due now.
fn is_due(faults: &AtomicU32) -> bool {
    let one_less = |faults: u32| faults.checked_sub(1);
    faults.fetch_update(Relaxed, Relaxed, one_less).is_ok()
}
