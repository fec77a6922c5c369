//! How many streams each CA below this one has open here, whatever connections they come over.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use signet_spiffe::SpiffeId;

/// Counts them. One that has none takes no memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Followers(Arc<Mutex<HashMap<SpiffeId, usize>>>);

/// One stream's place, until it is given back.
#[derive(Debug)]
pub(super) struct Place {
    of: Followers,
    id: SpiffeId,
}

impl Followers {
    /// `None` where `most` are open.
    pub(super) fn take(&self, id: &SpiffeId, most: usize) -> Option<Place> {
        let mut open = self.open();
        let count = open.get(id).copied().unwrap_or(0);
        if count >= most {
            return None;
        }
        open.insert(id.clone(), count + 1);
        Some(Place {
            of: self.clone(),
            id: id.clone(),
        })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<SpiffeId, usize>> {
        // Counts are changed in one step, so poison leaves none half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Whether no other stream of this one is open here.
    pub(super) fn is_last(&self) -> bool {
        self.of.open().get(&self.id).is_none_or(|count| *count <= 1)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.of.open().entry(self.id.clone()) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_own_bound_and_leaves_nothing_behind() {
        let followers = Followers::default();
        let [one, two] = ["spiffe://td/a", "spiffe://td/b"].map(|id| SpiffeId::parse(id).unwrap());
        let first = followers.take(&one, 2).unwrap();
        assert!(first.is_last());
        let second = followers.take(&one, 2).unwrap();
        assert!(!first.is_last() && followers.take(&one, 2).is_none());
        assert!(followers.take(&two, 2).is_some());
        drop(first);
        assert!(second.is_last());
        drop((followers.take(&one, 2).unwrap(), second));
        assert!(followers.open().is_empty());
    }
}
