use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::Stat;

use crate::Sha256;

/// Most digests that are kept.
const CAPACITY: usize = 1024;
/// A file that changed within this many seconds of being read may change once more without its change time moving on.
const SETTLED: i64 = 2;

/// Names one content of one file. The change time (which only the kernel sets) moves with every write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileVersion {
    device: u64,
    inode: u64,
    size: i64,
    modified: (i64, u64),
    changed: (i64, u64),
}

impl FileVersion {
    #[expect(
        clippy::useless_conversion,
        reason = "field types differ between architectures"
    )]
    pub(crate) fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev.into(),
            inode: stat.st_ino.into(),
            size: stat.st_size.into(),
            modified: (stat.st_mtime.into(), stat.st_mtime_nsec.into()),
            changed: (stat.st_ctime.into(), stat.st_ctime_nsec.into()),
        }
    }

    /// Whether the file has been left alone long enough for its change time to tell contents apart. `now`: Unix seconds.
    pub(crate) fn is_settled(&self, now: i64) -> bool {
        self.changed.0.saturating_add(SETTLED) < now
    }
}

/// Digests by file version; the oldest goes first.
#[derive(Debug, Default)]
pub(crate) struct HashCache(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    digests: HashMap<FileVersion, Sha256>,
    order: VecDeque<FileVersion>,
}

impl HashCache {
    pub(crate) fn get(&self, version: &FileVersion) -> Option<Sha256> {
        self.entries().digests.get(version).copied()
    }

    pub(crate) fn insert(&self, version: FileVersion, digest: Sha256) {
        let mut entries = self.entries();
        if entries.digests.insert(version, digest).is_some() {
            return;
        }
        entries.order.push_back(version);
        if entries.order.len() > CAPACITY
            && let Some(oldest) = entries.order.pop_front()
        {
            entries.digests.remove(&oldest);
        }
    }

    /// Nothing panics while the lock is held, and entries are whole at every step.
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(inode: u64) -> FileVersion {
        FileVersion {
            device: 1,
            inode,
            size: 3,
            modified: (4, 5),
            changed: (6, 7),
        }
    }

    #[test]
    fn the_cache_is_bounded_and_forgets_the_oldest() {
        let cache = HashCache::default();
        for inode in 0..=CAPACITY as u64 {
            cache.insert(version(inode), Sha256::new([0; 32]));
            cache.insert(version(inode), Sha256::new([1; 32]));
        }
        assert_eq!(cache.get(&version(0)), None);
        assert_eq!(cache.get(&version(1)), Some(Sha256::new([1; 32])));
        assert_eq!(cache.entries().digests.len(), CAPACITY);
        assert_eq!(cache.entries().order.len(), CAPACITY);
    }

    #[test]
    fn a_file_that_changed_just_now_is_not_settled() {
        assert!(!version(1).is_settled(6));
        assert!(!version(1).is_settled(8));
        assert!(version(1).is_settled(9));
    }
}
