//! Room: in the table, and in the kernel's map.

use signet_abi::AuthKey;

use super::{Decision, Refusal, SECOND, Table};

/// Pairs that are remembered beside those that the kernel has room for: failures, and what is under way.
const BESIDE: usize = 16_384;
/// Who found no room may ask again after so long.
const NO_ROOM: u64 = SECOND;
/// Failures that are forgotten at a time where others need their place.
const FORGOTTEN: usize = 1_024;

impl Table {
    /// The kernel has room for so many proofs.
    pub fn fit(&mut self, slots: usize) {
        self.bounds.pairs = slots.saturating_add(BESIDE);
    }

    /// Makes a place for a pair that is not remembered yet: where there is none, failures are forgotten, those first that nothing
    /// has happened to for longest. False: there is none all the same.
    pub fn make_place(&mut self, key: &AuthKey) -> bool {
        if self.pairs.len() < self.bounds.pairs || self.pairs.contains_key(key) {
            return true;
        }
        let failures = self.pairs.iter().filter(|(_, pair)| pair.proof.is_none());
        let failures = failures.filter(|(_, pair)| pair.in_flight.is_none());
        let mut failures: Vec<(u64, AuthKey)> = failures.map(|(key, pair)| (pair.touched, *key)).collect();
        failures.sort_unstable();
        for (_, key) in failures.iter().take(FORGOTTEN) {
            self.pairs.remove(key);
        }
        !failures.is_empty()
    }

    /// There is no room for another proof: what is not proven, or under way, is refused, with the reason for people.
    pub fn turn_away(&mut self, key: AuthKey, reason: String, now: u64) -> Decision {
        if let Some(pair) = self.pairs.get(&key) {
            if pair.in_flight.is_some() {
                return Decision::Joined;
            }
            if pair.proof.is_some_and(|proof| proof.is_live(now)) {
                return Decision::Proven;
            }
            if pair.retry_at > now {
                return Decision::Refused(Refusal::Backoff);
            }
        } else if !self.make_place(&key) {
            return Decision::Refused(Refusal::Busy);
        }
        let pair = self.pairs.entry(key).or_default();
        pair.failures += 1;
        pair.touched = now;
        self.no_room(&key, reason, now);
        Decision::Refused(Refusal::NoRoom)
    }

    /// There was no room for the proof that a handshake gave: what the kernel does not have is not proven.
    pub fn crowded_out(&mut self, key: AuthKey, reason: String, now: u64) {
        self.unwritten(key, reason.clone(), now, 0);
        self.no_room(&key, reason, now);
    }

    fn no_room(&mut self, key: &AuthKey, reason: String, now: u64) {
        if let Some(pair) = self.pairs.get_mut(key) {
            pair.failure = Some(reason);
            pair.refused = true;
            pair.retry_at = now.saturating_add(NO_ROOM);
        }
    }

    /// Whether a handshake of the pair is under way: it is no time to give way.
    pub fn is_under_way(&self, key: &AuthKey) -> bool {
        self.pairs.get(key).is_some_and(|pair| pair.in_flight.is_some())
    }

    /// Forgets a pair that gives way to another. The key is to be removed from the kernel.
    pub fn give_way(&mut self, key: &AuthKey) {
        if !self.is_under_way(key) {
            self.pairs.remove(key);
        }
    }

    /// When the kernel last saw a proof used. Whether it was used since this was last asked, or since the proof was made.
    pub fn saw_used(&mut self, key: &AuthKey, used: u64) -> bool {
        let proof = self.pairs.get_mut(key).and_then(|pair| pair.proof.as_mut());
        proof.is_some_and(|proof| {
            let before = proof.used;
            proof.used = before.max(used);
            used > before
        })
    }
}
