//! Whose turn it is.

use std::collections::{BTreeMap, BTreeSet};

use signet_abi::{AuthKey, NodeId, SecurityIdentity};

use crate::bounds::{Bounds, Fill};
use crate::choice::choose;
use crate::demand::{Demand, Group, Place};
use crate::failures::{Cause, Failures};
use crate::pace::Pace;
use crate::queue::Queue;
use crate::recency::Recency;

/// Who was not there for this long is new when he comes back: a registration that flaps is not first again and again.
const ABSENCE: u64 = 600_000_000_000;
/// Identities and places that are remembered.
const PRESENT: usize = 65_536;

/// How long a pair rests that a bound of this node's own was in the way of, ns.
const REST: u64 = 1_000_000_000;

/// How a pair stands, as its owner knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There is a live proof, or a handshake is under way.
    Settled,
    /// It could be proven.
    Lacking,
    /// Something here is not there yet: an SVID, an endpoint, a registration.
    Impossible,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Begin the handshake of this pair, and say how it ended ([`Planner::ended`]).
    Start(AuthKey),
    /// Ask again then, or when something has ended or changed.
    At(u64),
    /// Ask again when something has ended or changed.
    Nothing,
}

/// How a handshake ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With a proof.
    Proven,
    /// Without.
    Failed(Cause),
    /// It was not begun: a bound of this node's own was in the way. That says nothing of the pair, nor of the other node.
    Deferred,
    /// A packet has asked for the pair meanwhile: it is no business of this planner any more.
    Taken,
}

/// Chooses pairs, and says which one is next.
#[derive(Clone, Debug)]
pub struct Planner {
    bounds: Bounds,
    seed: u64,
    demand: Demand,
    left_out: u64,
    /// The turn of each chosen pair.
    turns: BTreeMap<AuthKey, usize>,
    /// Those that may lack a proof.
    queue: Queue,
    in_flight: BTreeSet<AuthKey>,
    by_node: BTreeMap<NodeId, usize>,
    failures: Failures,
    pace: Pace,
    recency: Recency,
    /// When identities and places were seen last; nothing before the first demand.
    locals: BTreeMap<SecurityIdentity, u64>,
    places: BTreeMap<Place, u64>,
}

impl Planner {
    /// Nothing to do yet. `seed` is this node's own.
    pub fn new(bounds: Bounds, seed: u64) -> Self {
        Self {
            bounds,
            seed,
            demand: Demand::default(),
            left_out: 0,
            turns: BTreeMap::new(),
            queue: Queue::default(),
            in_flight: BTreeSet::new(),
            by_node: BTreeMap::new(),
            failures: Failures::default(),
            pace: Pace::new(bounds.burst, bounds.interval),
            recency: Recency::new(bounds.pairs.saturating_mul(2)),
            locals: BTreeMap::new(),
            places: BTreeMap::new(),
        }
    }

    /// What is possible from now on.
    pub fn demand(&mut self, demand: Demand, now: u64) {
        let new = self.arrivals(&demand, now);
        self.demand = demand;
        self.choose(&new);
        let turns = &self.turns;
        self.failures
            .forget(now, self.bounds.pairs.saturating_mul(2), |key| {
                turns.contains_key(key)
            });
    }

    /// Whoever of the demand was not there lately. The first demand has nobody new: then use alone is the order.
    fn arrivals(&mut self, demand: &Demand, now: u64) -> Group {
        let is_first = self.locals.is_empty() && self.places.is_empty();
        let mut new = Group::default();
        for group in demand.groups() {
            for local in &group.locals {
                if self.locals.insert(*local, now).is_none() && !is_first {
                    new.locals.insert(*local);
                }
            }
            for place in &group.remotes {
                if self.places.insert(*place, now).is_none() && !is_first {
                    new.remotes.insert(*place);
                }
            }
        }
        let lately = |seen: &mut u64| seen.saturating_add(ABSENCE) > now;
        self.locals.retain(|_, seen| lately(seen));
        self.places.retain(|_, seen| lately(seen));
        // Who makes so many come and go is not told from who is new.
        if self.locals.len() > PRESENT || self.places.len() > PRESENT {
            self.locals.retain(|_, seen| *seen == now);
            self.places.retain(|_, seen| *seen == now);
        }
        new
    }

    fn choose(&mut self, new: &Group) {
        let used = self.recency.latest();
        let choice = choose(&self.demand, new, used, self.bounds.pairs, self.seed);
        self.left_out = choice.left_out;
        self.turns = choice.keys.iter().copied().zip(0..).collect();
        self.look();
    }

    /// All pairs may lack a proof.
    pub fn look(&mut self) {
        self.queue = Queue::default();
        for (key, turn) in &self.turns {
            if !self.in_flight.contains(key) {
                self.queue.push(*turn, *key);
            }
        }
    }

    /// These pairs have lost their proofs.
    pub fn lost<'a>(&mut self, keys: impl IntoIterator<Item = &'a AuthKey>) {
        for key in keys {
            if let Some(turn) = self.turns.get(key).filter(|_| !self.in_flight.contains(key)) {
                self.queue.push(*turn, *key);
            }
        }
    }

    /// Something has changed here: what was impossible may be possible now.
    pub fn wake(&mut self) {
        self.queue.wake();
    }

    /// Something has changed that failures may have been due to: what failed is tried again soon, though not at once and not ever
    /// again as if it were the first time. `random` gives another number each time.
    pub fn relent(&mut self, now: u64, random: impl FnMut() -> u64) {
        self.failures.relent(now, random);
        self.queue.rouse();
    }

    /// A packet of the pair was seen then. It counts for the order of the next choice.
    pub fn used(&mut self, key: AuthKey, at: u64) {
        self.recency.used(key, at);
    }

    /// What is known of use.
    pub fn recency(&self) -> &Recency {
        &self.recency
    }

    /// Puts what was used lately first, as of now.
    pub fn reorder(&mut self) {
        self.choose(&Group::default());
    }

    /// Numbers mean others now: nothing of before counts.
    pub fn clear(&mut self) {
        *self = Self::new(self.bounds, self.seed);
    }

    /// What to do now. `contacts`: packets wait for a proof of other pairs, and go first. The pair of [`Next::Start`] is in flight
    /// from now on.
    pub fn next(&mut self, now: u64, contacts: bool, standing: impl Fn(&AuthKey) -> Standing) -> Next {
        let most = if contacts {
            self.bounds.beside_contacts.min(self.bounds.in_flight)
        } else {
            self.bounds.in_flight
        };
        if self.in_flight.len() >= most {
            return Next::Nothing;
        }
        self.queue.resume(now);
        if self.queue.is_empty() {
            return self.queue.resumes().map_or(Next::Nothing, Next::At);
        }
        if self.pace.ready() > now {
            return Next::At(self.pace.ready());
        }
        loop {
            let (failures, by_node, per_node) = (&self.failures, &self.by_node, self.bounds.per_node);
            let has_room = |node: NodeId| {
                let room = if failures.is_suspect(node) { 1 } else { per_node };
                failures.until_node(node) <= now && by_node.get(&node).copied().unwrap_or(0) < room
            };
            let Some((turn, key)) = self.queue.pop(has_room) else {
                return self.later(now);
            };
            let until = self.failures.until_pair(&key);
            if until > now {
                self.queue.push_until(until, turn, key);
                continue;
            }
            match standing(&key) {
                Standing::Settled => {}
                Standing::Impossible => self.queue.push_absent(turn, key),
                Standing::Lacking => {
                    self.pace.take(now);
                    self.in_flight.insert(key);
                    *self.by_node.entry(key.node).or_default() += 1;
                    return Next::Start(key);
                }
            }
        }
    }

    /// When the first of those that wait for a time may be tried.
    fn later(&self, now: u64) -> Next {
        let nodes = self.queue.nodes().map(|node| self.failures.until_node(node));
        let first = nodes
            .filter(|until| *until > now)
            .chain(self.queue.resumes())
            .min();
        first.map_or(Next::Nothing, Next::At)
    }

    /// A handshake that [`Self::next`] has begun is over; of others it is ignored.
    pub fn ended(&mut self, key: AuthKey, end: End, now: u64, random: u64) {
        if !self.in_flight.remove(&key) {
            return;
        }
        if let Some(count) = self.by_node.get_mut(&key.node) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_node.remove(&key.node);
            }
        }
        match end {
            End::Proven => self.failures.succeeded(&key),
            End::Taken => {}
            End::Deferred => {
                if let Some(turn) = self.turns.get(&key) {
                    self.queue.push_until(now.saturating_add(REST), *turn, key);
                }
            }
            End::Failed(cause) => {
                self.failures.failed(key, cause, now, random);
                self.lost([&key]);
            }
        }
    }

    /// Whether a handshake of this planner is under way for the pair.
    pub fn is_in_flight(&self, key: &AuthKey) -> bool {
        self.in_flight.contains(key)
    }

    /// How things stand.
    pub fn fill(&self, now: u64) -> Fill {
        let held = self.queue.held_by(|node| self.failures.until_node(node) > now);
        Fill {
            chosen: self.turns.len(),
            left_out: self.left_out,
            waiting: self.queue.len(),
            backing_off: self.queue.resting() + held,
            absent: self.queue.absent(),
            in_flight: self.in_flight.len(),
        }
    }
}
