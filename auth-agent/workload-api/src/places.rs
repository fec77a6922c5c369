use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use signet_uds::PeerInfo;

use crate::Pace;

/// How much processes may hold at once, and how often they may ask. What is over a bound gets `Unavailable` (calls) or is
/// closed (connections).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Streams, or connections, of one process.
    pub per_process: usize,
    /// Streams, or connections, of all processes of one user.
    pub per_user: usize,
    /// Streams, or connections, in all. Each stream holds one file descriptor, each connection two.
    pub total: usize,
    /// Calls of one process that are not streams: those for JWT-SVIDs.
    pub calls: Pace,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            per_process: 16,
            // A few users together must not be able to take all of it from the rest.
            per_user: 512,
            total: 4096,
            calls: Pace {
                burst: 400,
                interval: Duration::from_millis(5),
            },
        }
    }
}

/// How long a connection may show no life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    /// For the first bytes of a connection.
    pub(crate) first: Duration,
    /// From one HTTP/2 ping to the next. Libraries answer them, however slow the program above is.
    pub(crate) ping: Duration,
    /// For the answer.
    pub(crate) pong: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(5),
            ping: Duration::from_secs(20),
            pong: Duration::from_secs(10),
        }
    }
}

/// Counts what is held.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    limits: Limits,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    by_process: HashMap<i32, usize>,
    by_user: HashMap<u32, usize>,
    total: usize,
}

/// Something that is held; dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Place {
    pid: i32,
    uid: u32,
    taken: Arc<Mutex<Taken>>,
}

impl Places {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            taken: Arc::default(),
        }
    }

    pub(crate) fn take(&self, peer: &PeerInfo) -> Option<Place> {
        let mut taken = lock(&self.taken);
        let of_process = taken.by_process.get(&peer.pid).copied().unwrap_or_default();
        let of_user = taken.by_user.get(&peer.uid).copied().unwrap_or_default();
        if of_process >= self.limits.per_process
            || of_user >= self.limits.per_user
            || taken.total >= self.limits.total
        {
            return None;
        }
        taken.by_process.insert(peer.pid, of_process + 1);
        taken.by_user.insert(peer.uid, of_user + 1);
        taken.total += 1;
        Some(Place {
            pid: peer.pid,
            uid: peer.uid,
            taken: Arc::clone(&self.taken),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        give_back(&mut taken.by_process, self.pid);
        give_back(&mut taken.by_user, self.uid);
        taken.total = taken.total.saturating_sub(1);
    }
}

fn give_back<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: K) {
    let left = counts.get(&key).copied().unwrap_or_default().saturating_sub(1);
    if left == 0 {
        counts.remove(&key);
    } else {
        counts.insert(key, left);
    }
}

/// Nothing panics while the lock is held.
fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(pid: i32, uid: u32) -> PeerInfo {
        PeerInfo {
            pid,
            uid,
            gid: 0,
            pidfd: None,
            pidfd_is_exact: false,
            supplementary: Arc::default(),
        }
    }

    #[test]
    fn it_takes_many_users_to_leave_no_place_for_another() {
        let limits = Limits::default();
        let places = Places::new(limits);
        let mut held = Vec::new();
        for uid in 0..7 {
            held.extend(
                (0..).map_while(|n: i32| places.take(&peer(i32::try_from(uid).unwrap() * 100_000 + n, uid))),
            );
        }
        assert_eq!(held.len(), 7 * limits.per_user);
        assert!(places.take(&peer(-1, 1000)).is_some());
    }

    #[test]
    fn each_bound_holds_and_places_come_back() {
        let places = Places::new(Limits {
            per_process: 2,
            per_user: 3,
            total: 4,
            ..Limits::default()
        });
        let first = places.take(&peer(1, 1)).unwrap();
        let second = places.take(&peer(1, 1)).unwrap();
        assert!(places.take(&peer(1, 1)).is_none(), "per process");
        let third = places.take(&peer(2, 1)).unwrap();
        assert!(places.take(&peer(3, 1)).is_none(), "per user");
        let fourth = places.take(&peer(4, 2)).unwrap();
        assert!(places.take(&peer(5, 3)).is_none(), "in total");
        drop(second);
        let again = places.take(&peer(1, 1)).unwrap();
        drop((first, third, fourth, again));
        let taken = lock(&places.taken);
        assert!(
            taken.by_process.is_empty() && taken.by_user.is_empty() && taken.total == 0,
            "{taken:?}"
        );
    }
}
