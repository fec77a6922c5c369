//! The state of every pair, and what to do about it. Pure: times are nanoseconds of `CLOCK_BOOTTIME`.

use std::collections::BTreeMap;
use std::time::Duration;

use signet_abi::{AuthKey, AuthValue, NodeId};
use signet_session::{backoff, scale};
use signet_spiffe::VerifiedSvid;

use crate::failure::ProveError;

mod room;

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
    /// Pairs that are remembered: those with a proof, and some without.
    pub pairs: usize,
}

impl Pair {
    /// What the handshake that is under way is for.
    pub fn kind(&self) -> Option<Kind> {
        self.in_flight.and(self.kind)
    }
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

/// What a handshake is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A packet or a person waits.
    Contact,
    /// The proof that there is ends some day.
    Renewal,
    /// Nobody asks yet.
    Ahead,
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
    /// The kernel's map is full of proofs that are at work.
    NoRoom,
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
    /// When the proof was made, or taken over from an earlier run that does not say; ns.
    pub made_at: u64,
    /// The last failure is none that waiting mends.
    refused: bool,
    /// Of the handshake that is under way.
    kind: Option<Kind>,
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
    /// Of these, the ones that somebody waits for.
    contacts: usize,
    by_node: BTreeMap<NodeId, usize>,
}

impl Table {
    /// An empty table.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            pairs: BTreeMap::new(),
            in_flight: 0,
            contacts: 0,
            by_node: BTreeMap::new(),
        }
    }

    /// A packet or a person asks for a proof; `asked` is when.
    pub fn request(&mut self, key: AuthKey, asked: u64, now: u64) -> Decision {
        if let Some(pair) = self.pairs.get_mut(&key) {
            let has_proof = pair.proof.is_some_and(|proof| proof.not_after > now);
            if pair.in_flight.is_some() {
                // From now on somebody waits for it.
                if pair.kind != Some(Kind::Contact) && !has_proof {
                    pair.kind = Some(Kind::Contact);
                    pair.asked = asked;
                    self.contacts += 1;
                }
                return Decision::Joined;
            }
            if has_proof {
                return Decision::Proven;
            }
            if pair.retry_at > now {
                return Decision::Refused(Refusal::Backoff);
            }
        }
        self.start(key, Kind::Contact, asked, now)
    }

    /// Nobody asks for a proof yet. Whether to try again after a failure is not decided here.
    pub fn ahead(&mut self, key: AuthKey, now: u64) -> Decision {
        if let Some(pair) = self.pairs.get(&key) {
            if pair.in_flight.is_some() {
                return Decision::Joined;
            }
            if pair.proof.is_some_and(|proof| proof.not_after > now) {
                return Decision::Proven;
            }
        }
        self.start(key, Kind::Ahead, now, now)
    }

    /// Whether there is a live proof, or a handshake is under way.
    pub fn is_settled(&self, key: &AuthKey, now: u64) -> bool {
        let pair = self.pairs.get(key);
        pair.is_some_and(|pair| {
            pair.in_flight.is_some() || pair.proof.is_some_and(|proof| proof.not_after > now)
        })
    }

    /// How many handshakes somebody waits for.
    pub fn contacts(&self) -> usize {
        self.contacts
    }

    /// Whether somebody waits for a handshake that is under way, or, being one of those who `wait`, for one that could begin now.
    /// Who waits until a failure is over needs no room before that.
    pub fn has_contacts<'a>(&self, wait: impl IntoIterator<Item = &'a AuthKey>, now: u64) -> bool {
        let could_begin = |key| {
            let pair = self.pairs.get(key);
            pair.is_none_or(|pair| pair.in_flight.is_some() || pair.retry_at <= now)
        };
        self.contacts > 0 || wait.into_iter().any(could_begin)
    }

    /// What the handshake of a pair that is under way is for.
    pub fn kind(&self, key: &AuthKey) -> Option<Kind> {
        self.pairs.get(key)?.kind
    }

    /// The renewals that are due; each is in flight from now on.
    pub fn renewals(&mut self, now: u64) -> Vec<AuthKey> {
        let is_due = |pair: &Pair| {
            pair.in_flight.is_none()
                && pair.retry_at <= now
                && pair.renew_at <= now
                && pair.proof.is_some_and(|proof| proof.not_after > now)
        };
        let end = |pair: &Pair| pair.proof.map_or(0, |proof| proof.not_after);
        let mut due: Vec<(u64, AuthKey)> = self
            .pairs
            .iter()
            .filter(|(_, pair)| is_due(pair))
            .map(|(key, pair)| (end(pair), *key))
            .collect();
        // Where there are more than can be begun, those that end first are first.
        due.sort_unstable();
        due.into_iter()
            .map(|(_, key)| key)
            .filter(|key| self.start(*key, Kind::Renewal, now, now) == Decision::Start)
            .collect()
    }

    fn start(&mut self, key: AuthKey, kind: Kind, asked: u64, now: u64) -> Decision {
        let with_node = self.by_node.get(&key.node).copied().unwrap_or(0);
        let known = self.pairs.contains_key(&key);
        // A part of everything is for those who wait.
        let share = |bound: usize| match kind {
            Kind::Contact => bound,
            Kind::Renewal | Kind::Ahead => bound - bound / 4,
        };
        if self.in_flight >= share(self.bounds.in_flight)
            || with_node >= share(self.bounds.per_node)
            || (!known && self.pairs.len() >= share(self.bounds.pairs))
        {
            return Decision::Refused(Refusal::Busy);
        }
        let pair = self.pairs.entry(key).or_default();
        if kind == Kind::Contact {
            self.contacts += 1;
        }
        pair.kind = Some(kind);
        pair.in_flight = Some(now);
        pair.asked = asked;
        pair.touched = now;
        self.in_flight += 1;
        *self.by_node.entry(key.node).or_default() += 1;
        Decision::Start
    }

    fn land(&mut self, key: AuthKey) -> Option<Kind> {
        let pair = self.pairs.get_mut(&key)?;
        let kind = pair.kind.take();
        if pair.in_flight.take().is_some() {
            self.in_flight = self.in_flight.saturating_sub(1);
            if kind == Some(Kind::Contact) {
                self.contacts = self.contacts.saturating_sub(1);
            }
            if let Some(count) = self.by_node.get_mut(&key.node) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.by_node.remove(&key.node);
                }
            }
        }
        kind
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
        let before = pair.proof.filter(|before| before.is_live(now));
        let value = AuthValue {
            not_after,
            epoch: pair.epoch,
            made: u32::try_from(now / SECOND).unwrap_or(u32::MAX),
            // To be renewed is not to be used.
            used: before.map_or(now, |before| before.used),
        };
        pair.proof = Some(value);
        pair.made_at = now;
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
        let kind = self.land(key);
        let Some(pair) = self.pairs.get_mut(&key) else {
            return;
        };
        // What nobody asked for holds back nobody who will.
        if kind != Some(Kind::Ahead) {
            let wait = backoff(FIRST_RETRY, LAST_RETRY, pair.in_a_row, random);
            pair.retry_at = now.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX));
            pair.in_a_row = pair.in_a_row.saturating_add(1);
        }
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
        pair.made_at = match value.made {
            0 => now,
            made => u64::from(made).saturating_mul(SECOND).min(now),
        };
        pair.made_of = None;
        pair.epoch = value.epoch;
        pair.renew_at = renew_at(value.not_after, now, random);
        pair.touched = now;
    }

    /// Takes back every proof that is `meant`. The keys are to be removed from the kernel. A new one may be asked for at once.
    pub fn flush(&mut self, now: u64, meant: impl Fn(&AuthKey) -> bool) -> Vec<AuthKey> {
        let mut gone = Vec::new();
        for (key, pair) in &mut self.pairs {
            if pair.proof.is_some() && meant(key) {
                pair.proof = None;
                pair.made_of = None;
                pair.retry_at = 0;
                pair.in_a_row = 0;
                pair.touched = now;
                gone.push(*key);
            }
        }
        gone
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
mod tests;
