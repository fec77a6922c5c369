//! Where the CAs are, and which of them to try first. Pure: clock and dice are arguments.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::backoff;

/// How long a CA that failed is only asked where no other one is left: doubles from failure to failure.
const FIRST_AVOIDED: Duration = Duration::from_secs(2);
const LAST_AVOIDED: Duration = Duration::from_mins(1);

/// The CAs of the trust domain: the one that answered last first, then the others in turn, and last of all those that have just failed.
/// Clones share what they learn.
#[derive(Clone, Debug)]
pub struct CaAddresses {
    all: Arc<[SocketAddr]>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// The one that the dice chose: where this node belongs while that one works.
    home: usize,
    first: usize,
    /// One for each.
    marks: Vec<Mark>,
}

/// What is held against a CA.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    failures: u32,
    until: Option<Instant>,
}

impl Mark {
    fn is_bad(self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

impl CaAddresses {
    /// Begins with any of them, by `random`: agents spread.
    pub fn new(all: &[SocketAddr], random: u64) -> Self {
        let home = pick(all.len(), random);
        Self {
            all: all.into(),
            state: Arc::new(Mutex::new(State {
                home,
                first: home,
                marks: vec![Mark::default(); all.len()],
            })),
        }
    }

    /// In the order in which to try them at `now`.
    pub fn in_order(&self, now: Instant) -> Vec<SocketAddr> {
        let state = self.state();
        let count = self.all.len();
        let mut places: Vec<_> = (0..count).map(|step| (state.first + step) % count).collect();
        // Stable: among those that are avoided, the first to be forgiven is the first.
        places.sort_by_key(|place| {
            let mark = state.marks.get(*place).copied().unwrap_or_default();
            mark.until.filter(|_| mark.is_bad(now))
        });
        places
            .into_iter()
            .filter_map(|place| self.all.get(place).copied())
            .collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// This one answered.
    pub fn answered(&self, address: SocketAddr) {
        if let Some(place) = self.place(address) {
            self.state().first = place;
        }
    }

    /// This one cannot be reached, or cannot do its work.
    pub fn failed(&self, address: SocketAddr, now: Instant, random: u64) {
        let Some(place) = self.place(address) else { return };
        let mut state = self.state();
        // What many calls suffer at once is one failure.
        if let Some(mark) = state.marks.get_mut(place).filter(|mark| !mark.is_bad(now)) {
            if mark.until.is_some_and(|until| until + LAST_AVOIDED < now) {
                mark.failures = 0;
            }
            mark.until = Some(now + backoff(FIRST_AVOIDED, LAST_AVOIDED, mark.failures, random));
            mark.failures = mark.failures.saturating_add(1);
        }
    }

    /// Whether nothing is held against one of them at `now`.
    pub fn has_good(&self, now: Instant) -> bool {
        self.state().marks.iter().any(|mark| !mark.is_bad(now))
    }

    /// The next one in turn is the first to be tried.
    pub fn turn(&self) {
        let mut state = self.state();
        state.first = (state.first + 1).checked_rem(self.all.len()).unwrap_or(0);
    }

    /// Throws the dice anew, among those that nothing is held against at `now`: whoever came back gets its share.
    pub fn spread(&self, now: Instant, random: u64) {
        let mut state = self.state();
        let marks = state.marks.iter().enumerate();
        let good: Vec<_> = marks
            .filter(|(_, mark)| !mark.is_bad(now))
            .map(|(place, _)| place)
            .collect();
        if let Some(place) = good.get(pick(good.len(), random)) {
            state.home = *place;
        }
        state.first = state.home;
    }

    /// Whether this is not the one that the dice chose.
    pub fn is_astray(&self, address: SocketAddr) -> bool {
        self.place(address)
            .is_some_and(|place| place != self.state().home)
    }

    /// The one that the dice chose is the first to be tried.
    pub fn go_home(&self) {
        let mut state = self.state();
        state.first = state.home;
    }

    fn place(&self, address: SocketAddr) -> Option<usize> {
        self.all.iter().position(|known| *known == address)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each use leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pick(count: usize, random: u64) -> usize {
    let count = u64::try_from(count).unwrap_or(u64::MAX).max(1);
    usize::try_from(random % count).unwrap_or(0)
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

    fn three() -> [SocketAddr; 3] {
        [1, 2, 3].map(|port| SocketAddr::from(([192, 0, 2, 1], port)))
    }

    #[test]
    fn each_is_tried_once_from_the_one_that_answered_last() {
        let [a, b, c] = three();
        let addresses = CaAddresses::new(&[a, b, c], 4);
        let order = |of: &CaAddresses| of.in_order(Instant::now());
        assert_eq!(order(&addresses), [b, c, a]);
        addresses.clone().answered(c);
        assert_eq!(order(&addresses), [c, a, b]);
        addresses.answered(SocketAddr::from(([192, 0, 2, 9], 9)));
        assert_eq!(order(&addresses), [c, a, b]);
        addresses.turn();
        assert_eq!(order(&addresses), [a, b, c]);
        let none = CaAddresses::new(&[], 7);
        none.turn();
        assert!(order(&none).is_empty() && !none.has_good(Instant::now()));
    }

    #[test]
    fn one_that_fails_is_tried_last_for_a_while_that_grows_to_its_bound() {
        let [a, b, c] = three();
        let addresses = CaAddresses::new(&[a, b, c], 0);
        let mut now = Instant::now();
        // What many suffer at once counts once.
        addresses.failed(a, now, u64::MAX);
        addresses.failed(a, now, u64::MAX);
        assert_eq!(addresses.in_order(now), [b, c, a]);
        now += FIRST_AVOIDED;
        assert_eq!(addresses.in_order(now), [a, b, c], "never forgiven");
        for _ in 0..40 {
            addresses.failed(a, now, u64::MAX);
            now += LAST_AVOIDED;
            assert_eq!(addresses.in_order(now), [a, b, c]);
        }
        // All of them: none is left out.
        for address in [c, a, b] {
            assert!(addresses.has_good(now));
            addresses.failed(address, now, u64::MAX);
        }
        assert!(!addresses.has_good(now));
        assert_eq!(addresses.in_order(now), [b, c, a], "first who is forgiven first");
    }

    #[test]
    fn nodes_spread_over_those_that_work_and_come_back_to_one_that_works_again() {
        let all = three();
        let now = Instant::now();
        let homes = |addresses: &CaAddresses, now| {
            let mut homes = [0; 3];
            for random in 0..300 {
                addresses.spread(now, random);
                let first = addresses.in_order(now).first().copied();
                let place = all.iter().position(|one| Some(*one) == first).unwrap();
                homes[place] += 1;
            }
            homes
        };
        let addresses = CaAddresses::new(&all, 0);
        assert_eq!(homes(&addresses, now), [100; 3]);
        addresses.failed(all[1], now, 0);
        assert_eq!(homes(&addresses, now), [150, 0, 150]);
        assert_eq!(homes(&addresses, now + FIRST_AVOIDED), [100; 3]);
        addresses.spread(now + FIRST_AVOIDED, 1);
        addresses.answered(all[2]);
        assert!(addresses.is_astray(all[2]) && !addresses.is_astray(all[1]));
        addresses.go_home();
        assert_eq!(addresses.in_order(now + FIRST_AVOIDED).first(), Some(&all[1]));
    }
}
