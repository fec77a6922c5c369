//! Room for proofs in the kernel's map: how scarce it is, and who gives way where there is none. Times are nanoseconds of
//! `CLOCK_BOOTTIME`.

use std::collections::VecDeque;

use signet_abi::{AuthKey, AuthValue};

/// A proof that a packet has passed within this time gives way to nobody: room is not made by breaking what is at work.
pub const GRACE: u64 = 30 * SECOND;
/// Where there was no room, no handshake is begun for so long at most that would need some.
const CLOSED: u64 = SECOND;
/// The map is not searched more often, whatever is found in it: so long after the last time, and longer where it is large, since the
/// kernel is asked for every entry.
const SEARCH_GAP: u64 = 10_000_000;
const SEARCH_GAP_PER_SLOT: u64 = 10_000;
/// Candidates that one search remembers: a share of the map, so that a large one is not searched for each of many newcomers.
const SHARE: usize = 16;
const LEAST: usize = 64;
const SECOND: u64 = 1_000_000_000;

/// How scarce room is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// There is some.
    #[default]
    None,
    /// Four fifths are taken: nothing is proven ahead of traffic any more.
    High,
    /// 95 of a hundred are taken: newcomers will have to take the room of others.
    Critical,
}

impl Pressure {
    /// Percent of the map from which on it is so.
    pub const fn percent(self) -> u32 {
        match self {
            Self::None => 0,
            Self::High => 80,
            Self::Critical => 95,
        }
    }

    /// The pressure of so many taken, coming from this one: it is over when five percent less are taken than what began it.
    fn after(self, taken: usize, slots: usize) -> Self {
        let at_least = |percent: usize| taken.saturating_mul(100) >= slots.saturating_mul(percent);
        let begins_or_stays = |level: Self| {
            let begin = level.percent() as usize;
            at_least(if self >= level { begin - 5 } else { begin })
        };
        if slots == 0 || begins_or_stays(Self::Critical) {
            Self::Critical
        } else if begins_or_stays(Self::High) {
            Self::High
        } else {
            Self::None
        }
    }
}

/// Whether a proof may give way: it has ended, or no packet has passed it for [`GRACE`].
pub fn may_give_way(value: &AuthValue, now: u64) -> bool {
    !value.is_live(now) || value.unused_for(now) >= GRACE
}

/// Who goes first: what has ended, then what has not been used for longest.
fn order(value: &AuthValue, now: u64) -> (bool, u64) {
    (value.is_live(now), value.used)
}

/// The room that there is.
#[derive(Debug, Default)]
pub struct Room {
    slots: usize,
    pressure: Pressure,
    /// Who gives way next, in this order. Whether they still may is to be asked when it is their turn.
    candidates: VecDeque<AuthKey>,
    /// A search before makes no sense, or costs too much.
    search_from: u64,
    closed_until: u64,
}

impl Room {
    /// So many proofs are in a map with so many `slots`. What the pressure is from now on, if that is another than before.
    pub fn measure(&mut self, taken: usize, slots: usize) -> Option<Pressure> {
        if slots != self.slots {
            (self.search_from, self.closed_until) = (0, 0);
            self.candidates.clear();
        }
        self.slots = slots;
        let pressure = self.pressure.after(taken, slots);
        let changed = pressure != self.pressure;
        self.pressure = pressure;
        changed.then_some(pressure)
    }

    /// The pressure as it was measured last.
    pub const fn pressure(&self) -> Pressure {
        self.pressure
    }

    /// Whether newcomers are to be turned away unheard: a moment ago there was no room, and nobody to make some.
    pub const fn is_closed(&self, now: u64) -> bool {
        now < self.closed_until
    }

    /// Whether it makes sense to search the map for those who may give way.
    pub const fn is_worth_a_search(&self, now: u64) -> bool {
        now >= self.search_from
    }

    /// Searches the map's `entries` for those who may give way; `is_spared` are those who may not, whatever their age.
    pub fn search(
        &mut self,
        entries: &[(AuthKey, AuthValue)],
        is_spared: impl Fn(&AuthKey) -> bool,
        now: u64,
    ) {
        let gap = SEARCH_GAP.max(SEARCH_GAP_PER_SLOT.saturating_mul(self.slots as u64));
        let mut soonest = u64::MAX;
        let mut may = Vec::new();
        for (key, value) in entries {
            if is_spared(key) {
                // It may be over at any time.
                soonest = now;
            } else if may_give_way(value, now) {
                may.push((order(value, now), *key));
            } else {
                soonest = soonest.min(value.used.saturating_add(GRACE));
            }
        }
        let most = (self.slots / SHARE).max(LEAST);
        if may.len() > most {
            may.select_nth_unstable(most);
            may.truncate(most);
        }
        may.sort_unstable();
        self.candidates = may.into_iter().map(|(_, key)| key).collect();
        let soonest = if self.candidates.is_empty() { soonest } else { now };
        self.search_from = soonest.max(now.saturating_add(gap));
    }

    /// Whose turn it is to give way.
    pub fn candidate(&mut self) -> Option<AuthKey> {
        self.candidates.pop_front()
    }

    /// Somebody found no room: until somebody may give way, or has left, nobody else does either.
    pub fn close(&mut self, now: u64) {
        self.closed_until = self.search_from.min(now.saturating_add(CLOSED));
    }

    /// Somebody has left.
    pub const fn freed(&mut self) {
        self.closed_until = 0;
    }
}

#[cfg(test)]
mod tests;
