//! Where the CAs are.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The CAs of the trust domain: the one that answered last first, then the others in turn. Clones share what they learn.
#[derive(Clone, Debug)]
pub struct CaAddresses {
    all: Arc<[SocketAddr]>,
    first: Arc<AtomicUsize>,
}

impl CaAddresses {
    /// Begins with any of them, by `random`: agents spread.
    pub fn new(all: &[SocketAddr], random: u64) -> Self {
        let count = u64::try_from(all.len()).unwrap_or(u64::MAX).max(1);
        Self {
            all: all.into(),
            first: Arc::new(AtomicUsize::new(usize::try_from(random % count).unwrap_or(0))),
        }
    }

    /// In the order in which to try them.
    pub fn in_order(&self) -> impl Iterator<Item = SocketAddr> + use<> {
        let all = Arc::clone(&self.all);
        let first = self.first.load(Ordering::Relaxed);
        (0..all.len()).filter_map(move |step| all.get((first + step) % all.len()).copied())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// This one answered.
    pub fn answered(&self, address: SocketAddr) {
        if let Some(place) = self.all.iter().position(|known| *known == address) {
            self.first.store(place, Ordering::Relaxed);
        }
    }
}

impl fmt::Display for CaAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<_> = self.all.iter().map(ToString::to_string).collect();
        f.write_str(&all.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_tried_once_from_the_one_that_answered_last() {
        let [a, b, c] = [1, 2, 3].map(|port| SocketAddr::from(([192, 0, 2, 1], port)));
        let addresses = CaAddresses::new(&[a, b, c], 4);
        let order = |of: &CaAddresses| of.in_order().collect::<Vec<_>>();
        assert_eq!(order(&addresses), [b, c, a]);
        addresses.clone().answered(c);
        assert_eq!(order(&addresses), [c, a, b]);
        addresses.answered(SocketAddr::from(([192, 0, 2, 9], 9)));
        assert_eq!(order(&addresses), [c, a, b]);
        assert!(order(&CaAddresses::new(&[], 7)).is_empty());
    }
}
