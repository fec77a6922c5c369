//! The state of every pair, and what to do about it. Pure: times are nanoseconds of `CLOCK_BOOTTIME`.

use std::collections::BTreeMap;
use std::time::Duration;

use signet_abi::{AuthKey, AuthValue, NodeId};
use signet_session::{backoff, scale};
use signet_spiffe::VerifiedSvid;

use crate::failure::ProveError;

const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// Renewals of one pair are at least this far apart.
const RENEWAL_GAP: u64 = 5 * SECOND;
/// How long a failure without a proof is remembered.
const MEMORY: u64 = 600 * SECOND;
const SECOND: u64 = 1_000_000_000;

/// How much may go on at a time.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Handshakes, all together.
    pub in_flight: usize,
    /// Handshakes with one node.
    pub per_node: usize,
    /// Pairs that are remembered.
    pub pairs: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            in_flight: 256,
            per_node: 48,
            pairs: 65_536,
        }
    }
}

/// What a signal comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Run a handshake now.
    Start,
    /// One is under way.
    Joined,
    /// The proof is there.
    Proven,
    /// Not now.
    Refused(Refusal),
}

/// Why not now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The last one failed a moment ago.
    Backoff,
    /// A bound.
    Busy,
}

/// A pair as people see it.
#[derive(Clone, Debug, Default)]
pub struct Pair {
    /// The proof, if there is a live one.
    pub proof: Option<AuthValue>,
    /// Since when a handshake has been under way.
    pub in_flight: Option<u64>,
    /// Why the last handshake failed; nothing after a success.
    pub failure: Option<String>,
    /// The two SVIDs that the proof was made with, the local one first; nothing where an earlier run has made it.
    pub made_of: Option<[VerifiedSvid; 2]>,
    /// The proof was taken back, and `failure` says why.
    pub revoked: bool,
    /// From signal to proof, of the last success of ours, ns.
    pub latency: u64,
    /// How many succeeded.
    pub handshakes: u64,
    /// How many failed.
    pub failures: u64,
    /// The last failure is none that waiting mends.
    refused: bool,
    epoch: u32,
    asked: u64,
    retry_at: u64,
    in_a_row: u32,
    renew_at: u64,
    touched: u64,
}

/// A proof as the table takes it.
#[derive(Clone, Debug)]
pub struct Made {
    /// Its end, nanoseconds of the boot clock.
    pub not_after: u64,
    /// The two SVIDs, the local one first.
    pub of: Option<[VerifiedSvid; 2]>,
}

/// What says whether a proof may be.
pub trait Judge {
    /// Whether a proof for `key` may be: both identities are where it says.
    fn is_possible(&self, key: &AuthKey) -> bool;
    /// Why a proof of these SVIDs, the local one first, is worth nothing, if it is so.
    fn revoked(&self, key: &AuthKey, made_of: Option<[&VerifiedSvid; 2]>) -> Option<String>;
}

/// The time, by the boot clock in ns, and a random number for what comes later.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Now.
    pub now: u64,
    /// Any number.
    pub random: u64,
}

/// All pairs.
#[derive(Debug)]
pub struct Table {
    bounds: Bounds,
    pairs: BTreeMap<AuthKey, Pair>,
    in_flight: usize,
    by_node: BTreeMap<NodeId, usize>,
}

impl Table {
    /// An empty table.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            pairs: BTreeMap::new(),
            in_flight: 0,
            by_node: BTreeMap::new(),
        }
    }

    /// A packet or a person asks for a proof; `asked` is when.
    pub fn request(&mut self, key: AuthKey, asked: u64, now: u64) -> Decision {
        if let Some(pair) = self.pairs.get(&key) {
            if pair.in_flight.is_some() {
                return Decision::Joined;
            }
            if pair.proof.is_some_and(|proof| proof.not_after > now) {
                return Decision::Proven;
            }
            if pair.retry_at > now {
                return Decision::Refused(Refusal::Backoff);
            }
        }
        self.start(key, asked, now)
    }

    /// The renewals that are due; each is in flight from now on.
    pub fn renewals(&mut self, now: u64) -> Vec<AuthKey> {
        let is_due = |pair: &Pair| {
            pair.in_flight.is_none()
                && pair.retry_at <= now
                && pair.renew_at <= now
                && pair.proof.is_some_and(|proof| proof.not_after > now)
        };
        let due: Vec<AuthKey> = self
            .pairs
            .iter()
            .filter(|(_, pair)| is_due(pair))
            .map(|(key, _)| *key)
            .collect();
        due.into_iter()
            .filter(|key| self.start(*key, now, now) == Decision::Start)
            .collect()
    }

    fn start(&mut self, key: AuthKey, asked: u64, now: u64) -> Decision {
        let with_node = self.by_node.get(&key.node).copied().unwrap_or(0);
        let known = self.pairs.contains_key(&key);
        if self.in_flight >= self.bounds.in_flight
            || with_node >= self.bounds.per_node
            || (!known && self.pairs.len() >= self.bounds.pairs)
        {
            return Decision::Refused(Refusal::Busy);
        }
        let pair = self.pairs.entry(key).or_default();
        pair.in_flight = Some(now);
        pair.asked = asked;
        pair.touched = now;
        self.in_flight += 1;
        *self.by_node.entry(key.node).or_default() += 1;
        Decision::Start
    }

    fn land(&mut self, key: AuthKey) {
        let Some(pair) = self.pairs.get_mut(&key) else {
            return;
        };
        if pair.in_flight.take().is_some() {
            self.in_flight = self.in_flight.saturating_sub(1);
            if let Some(count) = self.by_node.get_mut(&key.node) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.by_node.remove(&key.node);
                }
            }
        }
    }

    /// A handshake gave a proof. What may have changed while it was under way is judged now: only what this gives back is to be
    /// written. `ours`: it ends a handshake of ours.
    pub fn enter(
        &mut self,
        key: AuthKey,
        made: Made,
        ours: bool,
        judge: &impl Judge,
        at: Moment,
    ) -> Result<AuthValue, ProveError> {
        let made_of = made.of.as_ref().map(|[local, remote]| [local, remote]);
        let refusal = if judge.is_possible(&key) {
            judge.revoked(&key, made_of).map(ProveError::Revoked)
        } else {
            Some(ProveError::NoEndpoint)
        };
        if let Some(refusal) = refusal {
            self.failed(key, refusal.to_string(), at.now, at.random);
            return Err(refusal);
        }
        Ok(if ours {
            self.succeeded(key, made, at.now, at.random)
        } else {
            self.proven(key, made, at.now, at.random)
        })
    }

    /// A handshake of ours gave a proof. The value is to be written.
    pub fn succeeded(&mut self, key: AuthKey, made: Made, now: u64, random: u64) -> AuthValue {
        self.land(key);
        let value = self.proven(key, made, now, random);
        if let Some(pair) = self.pairs.get_mut(&key) {
            pair.latency = now.saturating_sub(pair.asked);
        }
        value
    }

    /// The peer's handshake gave a proof. The value is to be written.
    pub fn proven(&mut self, key: AuthKey, made: Made, now: u64, random: u64) -> AuthValue {
        let Made { not_after, of } = made;
        let pair = self.pairs.entry(key).or_default();
        pair.epoch = pair.epoch.wrapping_add(1).max(1);
        let value = AuthValue {
            not_after,
            epoch: pair.epoch,
            reserved: 0,
        };
        pair.proof = Some(value);
        pair.renew_at = renew_at(not_after, now, random);
        pair.handshakes += 1;
        pair.made_of = of;
        pair.revoked = false;
        pair.failure = None;
        pair.refused = false;
        pair.in_a_row = 0;
        pair.retry_at = 0;
        pair.touched = now;
        value
    }

    /// A handshake of ours, or the writing of its proof, failed. An older proof stays until it expires.
    pub fn failed(&mut self, key: AuthKey, reason: String, now: u64, random: u64) {
        self.land(key);
        let Some(pair) = self.pairs.get_mut(&key) else {
            return;
        };
        let wait = backoff(FIRST_RETRY, LAST_RETRY, pair.in_a_row, random);
        pair.retry_at = now.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX));
        pair.in_a_row = pair.in_a_row.saturating_add(1);
        pair.failures += 1;
        pair.failure = Some(reason);
        pair.touched = now;
    }

    /// What failed is not mended by waiting: until it is tried again, packets of the pair need not wait.
    pub fn refuse(&mut self, key: &AuthKey) {
        if let Some(pair) = self.pairs.get_mut(key) {
            pair.refused = true;
        }
    }

    /// Whether packets of the pair need not wait.
    pub fn is_refused(&self, key: &AuthKey) -> bool {
        self.pairs
            .get(key)
            .is_some_and(|pair| pair.refused && pair.in_flight.is_none())
    }

    /// The proof could not be written: what the kernel does not have is not proven.
    pub fn unwritten(&mut self, key: AuthKey, reason: String, now: u64, random: u64) {
        if let Some(pair) = self.pairs.get_mut(&key) {
            pair.proof = None;
        }
        self.failed(key, reason, now, random);
    }

    /// Something changed that failures may have been due to: the next request of each pair that failed is not held back.
    pub fn forgive(&mut self) {
        for pair in self.pairs.values_mut() {
            pair.refused = false;
            pair.retry_at = 0;
            pair.in_a_row = 0;
        }
    }

    /// Takes over what the kernel has from an earlier run.
    pub fn adopt(&mut self, key: AuthKey, value: AuthValue, now: u64, random: u64) {
        let pair = self.pairs.entry(key).or_default();
        pair.proof = Some(value);
        pair.made_of = None;
        pair.epoch = value.epoch;
        pair.renew_at = renew_at(value.not_after, now, random);
        pair.touched = now;
    }

    /// Takes back every proof for which `judge` has a reason, and remembers the reason. The keys are to be removed from the
    /// kernel. A new proof may be asked for at once.
    pub fn revoke(&mut self, now: u64, judge: impl Fn(&AuthKey, &Pair) -> Option<String>) -> Vec<AuthKey> {
        let mut gone = Vec::new();
        for (key, pair) in &mut self.pairs {
            if pair.proof.is_none() {
                continue;
            }
            let Some(reason) = judge(key, pair) else { continue };
            pair.proof = None;
            pair.made_of = None;
            pair.revoked = true;
            pair.failure = Some(reason);
            pair.retry_at = 0;
            pair.in_a_row = 0;
            pair.touched = now;
            gone.push(*key);
        }
        gone
    }

    /// Forgets every pair that cannot be any more, and every proof that has expired. The keys are to be removed from
    /// the kernel.
    pub fn sweep(&mut self, now: u64, possible: impl Fn(&AuthKey) -> bool) -> Vec<AuthKey> {
        let mut gone = Vec::new();
        let keys: Vec<AuthKey> = self.pairs.keys().copied().collect();
        for key in keys {
            let is_possible = possible(&key);
            let Some(pair) = self.pairs.get_mut(&key) else {
                continue;
            };
            let expired = pair.proof.is_some_and(|proof| proof.not_after <= now);
            if (expired || !is_possible) && pair.proof.take().is_some() {
                gone.push(key);
            }
            let forgotten = pair.proof.is_none() && pair.touched.saturating_add(MEMORY) <= now;
            // Why a proof was taken back is worth knowing although it cannot come again.
            if pair.in_flight.is_none() && (forgotten || (!is_possible && !pair.revoked)) {
                self.pairs.remove(&key);
            }
        }
        gone
    }

    /// All pairs in key order.
    pub fn iter(&self) -> impl Iterator<Item = (&AuthKey, &Pair)> {
        self.pairs.iter()
    }

    /// One pair.
    pub fn get(&self, key: &AuthKey) -> Option<&Pair> {
        self.pairs.get(key)
    }

    /// Live proofs.
    pub fn proofs(&self) -> impl Iterator<Item = (AuthKey, AuthValue)> {
        self.pairs
            .iter()
            .filter_map(|(key, pair)| Some((*key, pair.proof?)))
    }
}

/// At half of what is left, ±10 % of it.
fn renew_at(not_after: u64, now: u64, random: u64) -> u64 {
    let left = not_after.saturating_sub(now);
    let wait = left / 2 - left / 10 + scale(random, left / 5);
    now.saturating_add(wait.max(RENEWAL_GAP))
}

#[cfg(test)]
mod tests {
    use signet_abi::SecurityIdentity;

    use super::*;

    fn key(local: u32, node: u32) -> AuthKey {
        AuthKey {
            local: SecurityIdentity(local),
            remote: SecurityIdentity(900),
            node: NodeId(node),
        }
    }

    fn until(not_after: u64) -> Made {
        Made { not_after, of: None }
    }

    #[test]
    fn a_revoked_proof_is_gone_with_its_reason_and_may_be_made_anew_at_once() {
        let mut table = table();
        let _ = table.proven(key(256, 1), until(1000), 0, 0);
        let _ = table.proven(key(257, 1), until(1000), 0, 0);
        let judge = |key: &AuthKey, _: &Pair| (key.local.0 == 256).then(|| "leaked".to_owned());
        assert_eq!(table.revoke(10, judge), vec![key(256, 1)]);
        assert!(table.revoke(11, judge).is_empty(), "once");
        assert_eq!(table.proofs().count(), 1);
        // Not even once its node has gone.
        assert_eq!(table.sweep(12, |_| false), vec![key(257, 1)]);
        let pair = table.get(&key(256, 1)).expect("remembered");
        assert_eq!(pair.failure.as_deref(), Some("leaked"));
        assert_eq!(table.request(key(256, 1), 13, 13), Decision::Start);
        let value = table.succeeded(key(256, 1), until(1000), 14, 0);
        assert_eq!(value.epoch, 2);
    }

    fn table() -> Table {
        Table::new(Bounds {
            in_flight: 3,
            per_node: 2,
            pairs: 4,
        })
    }

    #[test]
    fn signals_of_a_pair_in_flight_join_it() {
        let mut table = table();
        assert_eq!(table.request(key(256, 1), 0, 0), Decision::Start);
        assert_eq!(table.request(key(256, 1), 5, 5), Decision::Joined);
    }

    #[test]
    fn a_proof_answers_until_it_expires() {
        let mut table = table();
        table.request(key(256, 1), 10, 20);
        let value = table.succeeded(key(256, 1), until(1000), 50, 0);
        assert_eq!((value.not_after, value.epoch), (1000, 1));
        assert_eq!(table.get(&key(256, 1)).expect("known").latency, 40);
        assert_eq!(table.request(key(256, 1), 60, 60), Decision::Proven);
        assert_eq!(table.request(key(256, 1), 1000, 1000), Decision::Start);
        assert_eq!(
            table.succeeded(key(256, 1), until(2000), 1010, 0).epoch,
            2,
            "epochs count on"
        );
    }

    #[test]
    fn failures_back_off_and_a_success_forgets_them() {
        let mut table = table();
        table.request(key(256, 1), 0, 0);
        table.failed(key(256, 1), "no".to_owned(), 0, u64::MAX);
        assert_eq!(
            table.request(key(256, 1), 1, 1),
            Decision::Refused(Refusal::Backoff)
        );
        let later = 200_000_000;
        assert_eq!(table.request(key(256, 1), later, later), Decision::Start);
        table.failed(key(256, 1), "no".to_owned(), later, u64::MAX);
        assert_eq!(
            table.request(key(256, 1), 2 * later, 2 * later),
            Decision::Refused(Refusal::Backoff),
            "longer"
        );
        let value = table.proven(key(256, 1), until(10 * later), 2 * later, 0);
        assert_eq!(value.epoch, 1);
        let pair = table.get(&key(256, 1)).expect("known");
        assert_eq!((pair.failure.as_deref(), pair.failures), (None, 2));
    }

    #[test]
    fn a_forgiven_pair_may_try_again_at_once_and_one_in_flight_stays_in_flight() {
        let mut table = table();
        for number in [256, 257] {
            table.request(key(number, 1), 0, 0);
        }
        table.failed(key(256, 1), "no".to_owned(), 0, u64::MAX);
        table.forgive();
        assert_eq!(table.request(key(257, 1), 1, 1), Decision::Joined);
        assert_eq!(table.request(key(256, 1), 1, 1), Decision::Start);
    }

    #[test]
    fn handshakes_are_bounded_per_node_and_in_total_and_landing_makes_room() {
        let mut table = table();
        assert_eq!(table.request(key(256, 1), 0, 0), Decision::Start);
        assert_eq!(table.request(key(257, 1), 0, 0), Decision::Start);
        assert_eq!(
            table.request(key(258, 1), 0, 0),
            Decision::Refused(Refusal::Busy),
            "per node"
        );
        assert_eq!(table.request(key(256, 2), 0, 0), Decision::Start);
        assert_eq!(
            table.request(key(256, 3), 0, 0),
            Decision::Refused(Refusal::Busy),
            "total"
        );
        table.failed(key(256, 1), "no".to_owned(), 0, 0);
        assert_eq!(table.request(key(258, 1), 0, 0), Decision::Start);
        let _ = table.succeeded(key(258, 1), until(9), 0, 0);
        let _ = table.succeeded(key(257, 1), until(9), 0, 0);
        assert_eq!(
            table.request(key(400, 4), 0, 0),
            Decision::Refused(Refusal::Busy),
            "pairs remembered"
        );
    }

    #[test]
    fn renewals_come_around_half_of_what_is_left_and_once() {
        for random in [0, u64::MAX] {
            let mut table = table();
            table.request(key(256, 1), 0, 0);
            let _ = table.succeeded(key(256, 1), until(3600 * SECOND), 0, random);
            assert!(table.renewals(1439 * SECOND).is_empty());
            assert_eq!(table.renewals(2161 * SECOND), vec![key(256, 1)]);
            assert!(table.renewals(2161 * SECOND).is_empty(), "in flight");
            table.failed(key(256, 1), "gone".to_owned(), 2161 * SECOND, 0);
            assert_eq!(
                table.request(key(256, 1), 0, 2162 * SECOND),
                Decision::Proven,
                "the old proof still holds"
            );
            assert_eq!(table.renewals(2200 * SECOND), vec![key(256, 1)], "tried again");
        }
    }

    #[test]
    fn renewals_do_not_crowd_towards_the_end() {
        let mut table = table();
        table.request(key(256, 1), 0, 0);
        let _ = table.succeeded(key(256, 1), until(SECOND), 0, 0);
        assert!(table.renewals(SECOND / 2).is_empty());
    }

    #[test]
    fn sweeping_finds_the_expired_and_the_impossible_every_time() {
        let mut table = table();
        for round in 1..4 {
            let now = round * 100;
            let _ = table.proven(key(256, 1), until(now + 50), now, 0);
            let _ = table.proven(key(257, 1), until(now + 500), now, 0);
            assert!(table.sweep(now, |_| true).is_empty());
            assert_eq!(table.sweep(now + 50, |_| true), vec![key(256, 1)]);
            assert_eq!(table.sweep(now + 51, |key| key.local.0 != 257), vec![key(257, 1)]);
            assert!(table.sweep(now + 52, |_| true).is_empty());
        }
    }

    #[test]
    fn failures_are_forgotten_in_time() {
        let mut table = table();
        table.request(key(256, 1), 0, 0);
        table.failed(key(256, 1), "no".to_owned(), 0, 0);
        assert!(table.sweep(MEMORY - 1, |_| true).is_empty());
        assert!(table.get(&key(256, 1)).is_some());
        table.sweep(MEMORY, |_| true);
        assert!(table.get(&key(256, 1)).is_none());
    }

    #[test]
    fn adopted_proofs_keep_their_epoch_and_end() {
        let mut table = table();
        table.adopt(
            key(256, 1),
            AuthValue {
                not_after: 1000,
                epoch: 41,
                reserved: 0,
            },
            0,
            0,
        );
        assert_eq!(table.request(key(256, 1), 0, 0), Decision::Proven);
        assert_eq!(table.proven(key(256, 1), until(2000), 10, 0).epoch, 42);
    }

    #[test]
    fn a_proof_that_could_not_be_written_is_none() {
        let mut table = table();
        table.request(key(256, 1), 0, 0);
        let _ = table.succeeded(key(256, 1), until(1000), 0, 0);
        table.unwritten(key(256, 1), "full".to_owned(), 0, u64::MAX);
        assert_eq!(table.proofs().count(), 0);
        assert_eq!(
            table.request(key(256, 1), 1, 1),
            Decision::Refused(Refusal::Backoff)
        );
    }
}
