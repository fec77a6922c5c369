//! Runs handshakes as the table decides, and writes their proofs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use signet_abi::{AuthKey, AuthValue, SignalCause};
use signet_handshake::Proof;
use signet_maps::boottime_now;
use signet_pairs::{Bounds, Decision, Kind, ProveError, Refusal, Room, Table, Waiting};
use signet_tls::BundleSource;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::handle::Event;
use super::how::How;
use super::report::PairReport;
use super::resolve::Knowledge;
use crate::auth::AuthStore;
use crate::clock::random;
use crate::parking::Parking;
use crate::sessions::Sessions;
use crate::status::Status;
use crate::tasks::Tasks;
use crate::view::{RevocationTable, ViewStore};

mod ahead;
mod flushing;
mod handshake;
mod leasing;
mod revoking;
mod room;
mod telling;
mod writing;

use ahead::Ahead;
pub use flushing::Which;
use handshake::handshake;
use room::Asked;

/// From the request to the proof, opening a session included.
const DEADLINE: Duration = Duration::from_secs(10);
/// Expiry and renewals are looked for this often; the kernel judges expiry itself.
const TICK: Duration = Duration::from_secs(1);
/// The kernel's map is compared with what should be in it this often.
const RECONCILE: Duration = Duration::from_secs(30);
/// People that wait for one pair.
const WAITERS: usize = 64;

/// What a handshake of ours gave.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "moved once for each handshake, never stored in numbers"
)]
enum Outcome {
    One(Proof),
    /// Both ends were here.
    Both(Proof, Proof),
}

/// Owns the table and the map.
#[derive(Debug)]
pub struct Actor<A> {
    knowledge: Knowledge,
    sessions: Arc<Sessions>,
    view: Arc<ViewStore>,
    store: A,
    status: Arc<Status>,
    parking: Parking,
    table: Table,
    flights: Tasks<AuthKey, Result<Outcome, ProveError>>,
    waiters: HashMap<AuthKey, Vec<oneshot::Sender<PairReport>>>,
    adopted: bool,
    /// What numbers of identities mean; proofs of another numbering are void.
    numbering: u64,
    /// The numbering beside whose proofs there are no others in the map.
    cleared: watch::Sender<u64>,
    reconciled: Instant,
    /// The revocations that every proof of ours was judged by, and their versions.
    judged: Arc<RevocationTable>,
    settled: BTreeMap<String, u64>,
    /// The versions that an earlier run has done with.
    inherited: BTreeMap<String, u64>,
    /// An earlier run may have left proofs that rest on something revoked: none of its proofs is taken over.
    flush: bool,
    /// Proofs that are taken back, and that the kernel may still have.
    doomed: BTreeSet<AuthKey>,
    /// Proofs that wait for a lease of the other side.
    unleased: Waiting,
    /// Room in the map, and when it was last told that there is none.
    room: Room,
    full_told: Option<Instant>,
    /// What is proven before anybody asks.
    ahead: Option<Ahead>,
    /// How each handshake that is under way has found the two nodes.
    ways: HashMap<AuthKey, How>,
}

impl<A: AuthStore> Actor<A> {
    /// An actor that has not looked at the map yet.
    pub fn new(
        knowledge: Knowledge,
        sessions: Arc<Sessions>,
        view: Arc<ViewStore>,
        store: A,
        status: Arc<Status>,
    ) -> Self {
        Self {
            knowledge,
            sessions,
            judged: view.revocations(),
            settled: view.revocations().versions(),
            inherited: view.revocations().versions(),
            flush: view.has_unfinished_revocations(),
            doomed: BTreeSet::new(),
            unleased: Waiting::default(),
            room: Room::default(),
            full_told: None,
            ahead: None,
            ways: HashMap::new(),
            view,
            store,
            status,
            parking: Parking::default(),
            table: Table::new(Bounds::default()),
            flights: Tasks::default(),
            waiters: HashMap::new(),
            adopted: false,
            numbering: 0,
            cleared: watch::Sender::new(0),
            reconciled: Instant::now(),
        }
    }

    /// The same, with packets that wait for what it proves.
    #[must_use]
    pub fn releasing(self, parking: Parking) -> Self {
        Self { parking, ..self }
    }

    /// Which numbering of identities all proofs in the map are of.
    pub fn cleared(&self) -> watch::Receiver<u64> {
        self.cleared.subscribe()
    }

    /// Runs until every handle has gone.
    pub async fn run(mut self, mut events: mpsc::Receiver<Event>) {
        self.flush_unfinished();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut view, mut endpoints) = (self.knowledge.view.clone(), self.knowledge.endpoints.clone());
        let mut svids = self.knowledge.svids.clone();
        let mut leases = self.sessions.leases().changed();
        let mut ready = svids.borrow_and_update().ready();
        let mut demand = self.demands();
        loop {
            let (due, ahead_due) = (self.leases_due(), self.ahead_due());
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.on_event(event),
                    None => return,
                },
                Some((key, landed)) = self.flights.next(), if !self.flights.is_empty() => {
                    self.on_landed(key, landed.unwrap_or_else(|fault| Err(fault.into())));
                }
                changed = view.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.renumber();
                    self.revoke();
                    self.sweep(true);
                    self.reconcile();
                    // It may be what a pair lacked.
                    self.table.forgive();
                    self.relent_ahead();
                    self.wake_ahead();
                }
                changed = svids.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    // A renewal mends nothing; an SVID where there was none does.
                    let before = ready;
                    ready = svids.borrow_and_update().ready();
                    if ready > before {
                        self.table.forgive();
                        self.relent_ahead();
                        self.wake_ahead();
                    }
                }
                changed = endpoints.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.sweep(true);
                    self.table.forgive();
                    self.relent_ahead();
                    self.wake_ahead();
                }
                () = Self::demand_changed(&mut demand) => self.on_demand(),
                () = sleep_until(ahead_due), if self.ahead.is_some() => self.go_ahead(),
                _ = leases.changed(), if !self.unleased.is_empty() => self.on_leases(),
                () = sleep_until(due), if !self.unleased.is_empty() => self.on_leases(),
                _ = tick.tick() => self.on_tick(),
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Signal(signal) if signal.cause == SignalCause::Lease as u8 => self.revive(signal.node),
            Event::Signal(signal) => {
                let key = AuthKey {
                    local: signal.local,
                    remote: signal.remote,
                    node: signal.node,
                };
                self.used(key, signal.at);
                match self.request(key, signal.at) {
                    Decision::Start | Decision::Joined => {}
                    // The kernel lacks what we have: the next reconciliation must not wait.
                    Decision::Proven => self.rewrite(key),
                    Decision::Refused(_) => {
                        self.status.signals_refused.fetch_add(1, Relaxed);
                        if self.table.is_refused(&key) {
                            self.parking.refuse(&key);
                        }
                    }
                }
            }
            Event::Prove { key, reply } => match self.request(key, boottime_now()) {
                Decision::Start | Decision::Joined => {
                    let waiters = self.waiters.entry(key).or_default();
                    if waiters.len() < WAITERS {
                        waiters.push(reply);
                    }
                }
                Decision::Proven | Decision::Refused(Refusal::Backoff | Refusal::NoRoom) => {
                    self.answer(key, reply);
                }
                Decision::Refused(Refusal::Busy) => {
                    let mut report = self.report(key);
                    report.pair.failure = Some(ProveError::Busy.to_string());
                    // It may have gone away.
                    let _ = reply.send(report);
                }
            },
            Event::Responded { node, proof } => {
                if let Some(key) = self.knowledge.key(proof.local(), proof.remote(), node) {
                    self.enter(key, proof, false);
                }
            }
            Event::Used(keys) => self.on_used(keys),
            Event::Flush { which, reply } => {
                // He may have gone away.
                let _ = reply.send(self.flush(which));
            }
            Event::Rebooted { node } => self.void(node),
            Event::Report(reply) => {
                let reports = self.table.iter().map(|(key, pair)| PairReport {
                    key: *key,
                    pair: pair.clone(),
                });
                // It may have gone away.
                let _ = reply.send(reports.collect());
            }
        }
    }

    fn request(&mut self, key: AuthKey, asked: u64) -> Decision {
        let now = boottime_now();
        if let Some(decision) = self.turn_away(key, now) {
            return decision;
        }
        let decision = if self.table.make_place(&key) {
            self.table.request(key, asked, now)
        } else {
            Decision::Refused(Refusal::Busy)
        };
        match decision {
            Decision::Start => self.launch(key),
            Decision::Joined | Decision::Proven | Decision::Refused(_) => {}
        }
        decision
    }

    /// Runs the handshake of a pair that the table has put in flight.
    fn launch(&mut self, key: AuthKey) {
        let resolved = self.knowledge.resolve(&key);
        self.find_way(key, &resolved);
        let sessions = self.sessions.clone();
        let bundles: Arc<dyn BundleSource> = self.view.clone();
        self.flights.spawn(key, async move {
            timeout(DEADLINE, handshake(resolved?, &sessions, &bundles))
                .await
                .map_err(|_| ProveError::Deadline)?
        });
    }

    fn on_landed(&mut self, key: AuthKey, result: Result<Outcome, ProveError>) {
        match result {
            Ok(Outcome::One(proof)) => self.enter(key, proof, true),
            Ok(Outcome::Both(proof, mirrored)) => {
                self.write(key, &proof, true);
                let mirror = AuthKey {
                    local: key.remote,
                    remote: key.local,
                    node: key.node,
                };
                if mirror != key {
                    self.write(mirror, &mirrored, false);
                }
            }
            Err(error) => {
                self.ended_ahead(key, Some(&error));
                self.status.handshakes_failed.fetch_add(1, Relaxed);
                tracing::debug!(
                    pair.local = key.local.0, pair.remote = key.remote.0, peer.node = key.node.0, %error,
                    "handshake failed"
                );
                let kind = self.table.kind(&key);
                let how = self.how(&key);
                self.tell_failed(key, Some(how), &error);
                self.table
                    .failed(key, error.to_string(), boottime_now(), random());
                if error.is_final() && kind != Some(Kind::Ahead) {
                    self.table.refuse(&key);
                    self.parking.refuse(&key);
                }
            }
        }
        if !self.unleased.holds(&key) {
            self.tell_waiters(key);
        }
        self.prove_waiting();
        self.go_ahead();
    }

    fn tell_waiters(&mut self, key: AuthKey) {
        for reply in self.waiters.remove(&key).unwrap_or_default() {
            self.answer(key, reply);
        }
    }

    /// There is room for a handshake: it is for those whose packets wait.
    fn prove_waiting(&mut self) {
        for key in self.parking.waiting() {
            match self.request(key, boottime_now()) {
                Decision::Start
                | Decision::Joined
                | Decision::Refused(Refusal::Backoff | Refusal::NoRoom) => {}
                Decision::Proven => self.rewrite(key),
                Decision::Refused(Refusal::Busy) => return,
            }
        }
    }

    fn on_tick(&mut self) {
        self.flush_unfinished();
        if !self.doomed.is_empty() {
            self.finish_revoking();
        }
        self.sweep(false);
        let stale = *self.cleared.borrow() != self.numbering;
        if self.store.was_replaced() || !self.adopted || stale || self.reconciled.elapsed() >= RECONCILE {
            self.reconcile();
        }
        for key in self.table.renewals(boottime_now()) {
            self.launch(key);
        }
        self.keep_sessions();
        self.watch_room();
        self.tick_ahead();
    }

    /// Deletes what has expired, and what cannot be any more if `changed` says that something may have.
    fn sweep(&mut self, changed: bool) {
        let knowledge = &self.knowledge;
        let gone = self
            .table
            .sweep(boottime_now(), |key| !changed || knowledge.is_possible(key));
        if !gone.is_empty() {
            self.look_ahead();
            self.tell_gone(&gone, |key, _| {
                let why = if self.knowledge.is_possible(key) {
                    "it has expired"
                } else {
                    "an identity, an endpoint or the node has gone, or several SPIFFE IDs are behind one address"
                };
                why.to_owned()
            });
        }
        for key in gone {
            self.remove(key);
        }
    }

    /// Forgets everything if numbers may mean others than they did. What is in the map goes with the next reconciliation.
    fn renumber(&mut self) {
        let numbering = match &*self.knowledge.view.borrow() {
            Some(view) => view.numbering(),
            None => return,
        };
        if numbering == self.numbering {
            return;
        }
        tracing::info!("identities may have other numbers: all proofs are void");
        self.numbering = numbering;
        // Nothing that is in the map is taken over any more.
        self.adopted = true;
        // Ends those that are under way: they are about the old numbers.
        self.flights = Tasks::default();
        self.unleased.clear();
        self.ways.clear();
        self.waiters.clear();
        self.parking.refuse_all();
        self.table = Table::new(Bounds::default());
        self.clear_ahead();
    }

    /// Makes the map what it should be. The first time it takes over what an earlier run has left and what still may be.
    fn reconcile(&mut self) {
        self.reconciled = Instant::now();
        if self.knowledge.view.borrow().is_none() {
            return;
        }
        let entries = match self.store.entries() {
            Ok(entries) => entries,
            Err(error) if error.is_missing() => {
                self.cleared.send_replace(self.numbering);
                return;
            }
            Err(error) => {
                self.status.fail("auth", &anyhow::Error::from(error));
                return;
            }
        };
        let now = boottime_now();
        let mut adopted = 0_u32;
        let mut clean = true;
        for (key, value) in &entries {
            if self.table.get(key).is_some_and(|pair| pair.proof.is_some()) {
                if self.table.saw_used(key, value.used) {
                    self.used(*key, value.used);
                }
                continue;
            }
            let suspect = self.flush || self.doomed.contains(key);
            let revoked = suspect || self.knowledge.revoked(key, None, &self.inherited).is_some();
            if !self.adopted && !revoked && value.not_after > now && self.knowledge.is_possible(key) {
                self.table.adopt(*key, *value, now, random());
                adopted += 1;
            } else {
                clean &= self.remove(*key);
            }
        }
        if clean {
            self.cleared.send_replace(self.numbering);
        }
        if !self.adopted {
            tracing::info!(
                proofs = adopted,
                found = entries.len(),
                "took over the kernel's proofs"
            );
            self.adopted = true;
            self.finish_revoking();
        }
        let written: HashMap<_, _> = entries.into_iter().collect();
        let is_written = |key: &AuthKey, value: &AuthValue| {
            written.get(key).is_some_and(|written| is_same(written, value))
        };
        let mut missing: Vec<_> = self
            .table
            .proofs()
            .filter(|(key, value)| !is_written(key, value))
            .map(|(key, value)| (value.used, key))
            .collect();
        // The map may be a smaller one than before: what was used last is first.
        missing.sort_unstable_by(|one, other| other.cmp(one));
        self.watch_room();
        for (_, key) in missing {
            self.write_again(key, Asked::No);
        }
        self.look_ahead();
    }

    fn report(&self, key: AuthKey) -> PairReport {
        PairReport {
            key,
            pair: self.table.get(&key).cloned().unwrap_or_default(),
        }
    }

    fn answer(&self, key: AuthKey, reply: oneshot::Sender<PairReport>) {
        // It may have gone away.
        let _ = reply.send(self.report(key));
    }
}

/// Whether the kernel has this proof. When it was used last, is the kernel's to say.
fn is_same(written: &AuthValue, proof: &AuthValue) -> bool {
    AuthValue {
        used: proof.used,
        ..*written
    } == *proof
}
