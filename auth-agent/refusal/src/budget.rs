//! How many answers there may be.

use std::collections::BTreeMap;

use signet_abi::SecurityIdentity;

const SECOND: u64 = 1_000_000_000;

/// How many answers a second, and as many at once.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of one sender; those outside the cluster are one.
    pub sender: u32,
    /// All together.
    pub all: u32,
    /// Senders that are remembered.
    pub senders: usize,
}

impl Default for Limits {
    /// Enough for a client that tries again and again to hear it each time, and nothing to flood anybody with.
    fn default() -> Self {
        Self {
            sender: 50,
            all: 500,
            senders: 1024,
        }
    }
}

/// What is left of the limits.
#[derive(Debug)]
pub struct Budget {
    limits: Limits,
    all: Pace,
    senders: BTreeMap<SecurityIdentity, Pace>,
}

impl Budget {
    /// All of it is left.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            all: Pace::default(),
            senders: BTreeMap::new(),
        }
    }

    /// Whether `sender` may have an answer now; it is counted then.
    pub fn allows(&mut self, sender: SecurityIdentity, now: u64) -> bool {
        if !self.senders.contains_key(&sender) && self.senders.len() >= self.limits.senders {
            // Who has all of his left need not be remembered.
            self.senders.retain(|_, pace| pace.next > now);
            if self.senders.len() >= self.limits.senders {
                return false;
            }
        }
        let own = self.senders.entry(sender).or_default();
        let (Some(sender), Some(all)) = (
            own.after(now, self.limits.sender),
            self.all.after(now, self.limits.all),
        ) else {
            return false;
        };
        (*own, self.all) = (sender, all);
        true
    }
}

/// A bucket that fills at an even pace.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    /// When it will be full again.
    next: u64,
}

impl Pace {
    /// What one more makes of it; none if there is no room. A second holds `rate`.
    fn after(self, now: u64, rate: u32) -> Option<Self> {
        let next = self.next.max(now) + SECOND / u64::from(rate.max(1));
        (next - now <= SECOND).then_some(Self { next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: SecurityIdentity = SecurityIdentity(256);
    const SECOND_ONE: SecurityIdentity = SecurityIdentity(257);

    fn burst(budget: &mut Budget, sender: SecurityIdentity, now: u64) -> usize {
        (0..1000).filter(|_| budget.allows(sender, now)).count()
    }

    #[test]
    fn a_sender_has_so_many_a_second_and_does_not_spend_what_is_others() {
        let mut budget = Budget::new(Limits::default());
        assert_eq!(burst(&mut budget, FIRST, 0), 50);
        assert_eq!(burst(&mut budget, SECOND_ONE, 0), 50);
        assert_eq!(burst(&mut budget, FIRST, SECOND / 10), 5, "at an even pace");
        assert_eq!(
            burst(&mut budget, FIRST, 10 * SECOND),
            50,
            "no more for having waited"
        );
    }

    #[test]
    fn all_senders_together_have_so_many() {
        let mut budget = Budget::new(Limits::default());
        let sent: usize = (256..356)
            .map(|number| burst(&mut budget, SecurityIdentity(number), 0))
            .sum();
        assert_eq!(sent, 500);
    }

    #[test]
    fn senders_that_are_remembered_are_bounded_and_forgotten_in_time() {
        let mut budget = Budget::new(Limits {
            senders: 2,
            ..Limits::default()
        });
        for number in [256, 257] {
            assert!(budget.allows(SecurityIdentity(number), 0));
        }
        assert!(!budget.allows(SecurityIdentity(258), 0), "no room");
        assert!(budget.allows(SecurityIdentity(258), SECOND));
        assert!(budget.senders.len() <= 2);
    }
}
