//! A bound on what one address may hold.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts what each address holds. An address that holds nothing takes no memory.
#[derive(Debug, Clone)]
pub(crate) struct PerAddress {
    held: Arc<Mutex<HashMap<IpAddr, usize>>>,
    most: usize,
}

/// One of the things that an address may hold, until it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    of: PerAddress,
    address: IpAddr,
}

impl PerAddress {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            held: Arc::default(),
            most,
        }
    }

    /// `None` where the address holds all that it may.
    pub(crate) fn take(&self, address: IpAddr) -> Option<Share> {
        let address = address.to_canonical();
        // Counts are changed in one step, so poison leaves none half changed.
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.get(&address).copied().unwrap_or(0);
        if count >= self.most {
            return None;
        }
        held.insert(address, count + 1);
        Some(Share {
            of: self.clone(),
            address,
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.of.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = held.entry(self.address) {
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
    fn each_address_has_its_own_bound_and_leaves_nothing_behind() {
        let shares = PerAddress::new(2);
        let (one, two): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let first = shares.take(one).unwrap();
        let disguised = shares.take("::ffff:192.0.2.1".parse().unwrap()).unwrap();
        assert!(shares.take(one).is_none());
        assert!(shares.take(two).is_some());
        drop(first);
        let again = shares.take(one).unwrap();
        drop((again, disguised));
        assert!(shares.held.lock().unwrap().is_empty());
    }
}
