//! Room in the kernel's map. Where there is none, proofs give way that have ended, then those that no packet has passed for longest and
//! at least for a grace. Whoever gave way has no proof, and asks for a new one with its next packet.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use signet_abi::{AuthKey, AuthValue};
use signet_maps::boottime_now;
use signet_pairs::{Decision, Pressure, ProveError, Refusal, may_give_way};
use tokio::time::Instant;

use super::Actor;
use crate::auth::{AuthError, AuthStore};

/// That there is no room is logged once in so long.
const TELL: Duration = Duration::from_secs(10);

/// Whether somebody asks for what is written. Only then it may take the room of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Yes,
    No,
}

impl<A: AuthStore> Actor<A> {
    /// Writes a proof, and makes room for it if there is none.
    pub(super) fn insert(&mut self, key: AuthKey, value: &AuthValue, asked: Asked) -> Result<(), AuthError> {
        // When it was used, the kernel knows best.
        let before = self.store.value(&key).ok().flatten();
        let before = before.filter(|before| before.is_live(boottime_now()));
        let value = AuthValue {
            used: before.map_or(value.used, |before| before.used),
            ..*value
        };
        match self.store.insert(&key, &value) {
            Err(error) if error.is_full() && asked == Asked::Yes => {
                if self.make_room(&key) {
                    self.store.insert(&key, &value)
                } else {
                    self.room.close(boottime_now());
                    Err(error)
                }
            }
            result => result,
        }
    }

    /// Refuses a pair that would need room, where a moment ago there was none. What is proven, or under way, goes on.
    pub(super) fn turn_away(&mut self, key: AuthKey, now: u64) -> Option<Decision> {
        if !self.room.is_closed(now) {
            return None;
        }
        let error = ProveError::NoRoom { slots: self.slots() };
        let decision = self.table.turn_away(key, error.to_string(), now);
        if decision == Decision::Refused(Refusal::NoRoom) {
            self.status.room.turned_away.fetch_add(1, Relaxed);
            self.tell_full(&error.to_string());
            self.tell_refused(key, &error);
            self.parking.refuse(&key);
        }
        Some(decision)
    }

    /// One gives way to `newcomer`: it is gone from the kernel before this ends. False: all that there are is at work.
    fn make_room(&mut self, newcomer: &AuthKey) -> bool {
        let now = boottime_now();
        loop {
            while let Some(key) = self.room.candidate() {
                if key == *newcomer || self.is_spared(&key) {
                    continue;
                }
                // It may have been used since it was found.
                match self.store.value(&key) {
                    Ok(Some(value)) if may_give_way(&value, now) => return self.give_way(key, &value, now),
                    Ok(Some(_) | None) => {}
                    Err(_) => return false,
                }
            }
            if !self.room.is_worth_a_search(now) {
                return false;
            }
            let Ok(entries) = self.store.entries() else {
                return false;
            };
            let (table, unleased) = (&self.table, &self.unleased);
            let is_spared = |key: &AuthKey| key == newcomer || unleased.holds(key) || table.is_under_way(key);
            self.room.search(&entries, is_spared, now);
        }
    }

    /// Its handshake is under way: what it gives is about to be written.
    fn is_spared(&self, key: &AuthKey) -> bool {
        self.unleased.holds(key) || self.table.is_under_way(key)
    }

    fn give_way(&mut self, key: AuthKey, value: &AuthValue, now: u64) -> bool {
        self.table.give_way(&key);
        if !self.remove(key) {
            // Nobody answers for it any more: it goes as soon as it can.
            self.doomed.insert(key);
            return false;
        }
        self.status.room.gave_way.fetch_add(1, Relaxed);
        self.tell_gone(&[key], |_, _| {
            let idle = Duration::from_nanos(value.unused_for(now)).as_secs();
            format!("it gave way to another pair: no packet had passed it for {idle} s")
        });
        self.look_ahead();
        true
    }

    /// Looks how much room there is, and says so before there is none.
    pub(super) fn watch_room(&mut self) {
        let Ok(slots) = self.store.slots() else { return };
        self.table.fit(slots);
        let taken = self.table.proofs().count();
        let report = &self.status.room;
        report.slots.store(slots as u64, Relaxed);
        let Some(pressure) = self.room.measure(taken, slots) else {
            return;
        };
        report.pressure.store(pressure.percent(), Relaxed);
        match pressure {
            Pressure::None => tracing::info!(proofs = taken, slots, "there is room for proofs again"),
            Pressure::High => tracing::warn!(
                proofs = taken,
                slots,
                "AUTH fills up: nothing is proven ahead of traffic any more; give signet-meshd a larger --map-auth"
            ),
            Pressure::Critical => tracing::warn!(
                proofs = taken,
                slots,
                "AUTH is all but full: proofs that are not used will give way to others; give signet-meshd a larger --map-auth"
            ),
        }
    }

    /// How many proofs the kernel has room for, as it was seen last.
    pub(super) fn slots(&self) -> usize {
        usize::try_from(self.status.room.slots.load(Relaxed)).unwrap_or(usize::MAX)
    }

    /// Says that there is no room, not for each who finds none.
    pub(super) fn tell_full(&mut self, reason: &str) {
        if self.full_told.is_none_or(|told| told.elapsed() >= TELL) {
            self.full_told = Some(Instant::now());
            self.status.fail("auth", &anyhow::Error::msg(reason.to_owned()));
        }
    }
}
