use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts what each holds of something that there is a bounded amount of.
#[derive(Debug)]
pub(crate) struct Shares<K> {
    each: usize,
    total: usize,
    held: Arc<Mutex<HashMap<K, usize>>>,
}

/// Something that is held; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Share<K: Eq + Hash> {
    whose: K,
    held: Arc<Mutex<HashMap<K, usize>>>,
}

impl<K: Eq + Hash + Clone> Shares<K> {
    pub(crate) fn new(each: usize, total: usize) -> Self {
        Self {
            each,
            total,
            held: Arc::default(),
        }
    }

    pub(crate) fn take(&self, whose: K) -> Option<Share<K>> {
        let mut held = lock(&self.held);
        let count = held.get(&whose).copied().unwrap_or_default();
        if count >= self.each || held.values().sum::<usize>() >= self.total {
            return None;
        }
        held.insert(whose.clone(), count + 1);
        Some(Share {
            whose,
            held: Arc::clone(&self.held),
        })
    }
}

impl<K: Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let mut held = lock(&self.held);
        if let Some(count) = held.get_mut(&self.whose) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.whose);
            }
        }
    }
}

/// Nothing panics while the lock is held.
fn lock<K>(held: &Mutex<HashMap<K, usize>>) -> MutexGuard<'_, HashMap<K, usize>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_and_all_together_are_bounded_and_what_is_dropped_comes_back() {
        let shares = Shares::new(2, 3);
        let first = shares.take("a").unwrap();
        let _second = shares.take("a").unwrap();
        assert!(shares.take("a").is_none(), "each");
        let _third = shares.take("b").unwrap();
        assert!(shares.take("c").is_none(), "all together");
        drop(first);
        assert!(shares.take("c").is_some());
        assert_eq!(
            lock(&shares.held).len(),
            2,
            "nothing is kept of who holds nothing"
        );
    }
}
