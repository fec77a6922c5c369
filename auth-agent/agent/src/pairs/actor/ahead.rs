//! Proofs ahead of traffic: asks the planner whose turn it is, and runs the handshakes that it names.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use signet_abi::AuthKey;
use signet_maps::boottime_now;
use signet_pairs::{Decision, Pressure, ProveError, Refusal};
use signet_preauth::{Bounds, Cause, Demand, End, Next, Planner, Standing};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Actor;
use crate::ahead::{Names, UsedFile};
use crate::auth::AuthStore;
use crate::clock::random;
use crate::pairs::resolve::Knowledge;

/// What policy and endpoints make possible is looked at anew this often at most, however often they change.
const REPLAN: Duration = Duration::from_millis(200);
/// What was used lately is put first this often.
const REORDER: Duration = Duration::from_mins(5);
/// What was used is written down this often.
const SAVE: Duration = Duration::from_mins(1);
/// For somebody who waits for nothing.
const FAR: Duration = Duration::from_hours(1);

/// The planner, and when to ask it again.
#[derive(Debug)]
pub(super) struct Ahead {
    planner: Planner,
    demand: watch::Receiver<Option<Arc<Demand>>>,
    /// The demand has changed since it was planned.
    is_stale: bool,
    planned: Option<Instant>,
    reordered: Instant,
    due: Option<Instant>,
    /// Where the list of used pairs is kept, what was saved last, and when.
    used: Option<UsedFile>,
    saved: (Vec<Names>, Instant),
    /// What an earlier life has kept, until there are numbers for its names.
    earlier: Vec<Names>,
}

impl Ahead {
    pub(super) fn new(
        demand: watch::Receiver<Option<Arc<Demand>>>,
        bounds: Bounds,
        used: Option<UsedFile>,
    ) -> Self {
        let earlier = used.as_ref().map(UsedFile::load).unwrap_or_default();
        Self {
            // The order of the rest is this node's own: it is enough that others begin elsewhere.
            planner: Planner::new(bounds, random()),
            demand,
            is_stale: true,
            planned: None,
            reordered: Instant::now(),
            due: None,
            used,
            saved: (earlier.clone(), Instant::now()),
            earlier,
        }
    }

    /// Takes over what an earlier life has kept: older than anything of this one.
    fn recall(&mut self, knowledge: &Knowledge) {
        for (names, at) in std::mem::take(&mut self.earlier).iter().rev().zip(1..) {
            if let Some(key) = knowledge.named(names) {
                self.planner.used(key, at);
            }
        }
    }

    /// Saves what was used, where that is something else than before.
    fn save(&mut self, knowledge: &Knowledge) {
        let Some(file) = &self.used else { return };
        let used = self.planner.recency().latest();
        let names: Vec<Names> = used.filter_map(|key| knowledge.names(key)).collect();
        // Nothing yet, or no view: what there is stays.
        if !names.is_empty() && names != self.saved.0 {
            file.save(&names);
            self.saved.0 = names;
        }
        self.saved.1 = Instant::now();
    }
}

impl<A: AuthStore> Actor<A> {
    /// The same, proving what `demand` says before anybody asks for it, within `bounds`. `used` outlives it.
    #[must_use]
    pub fn proving_ahead(
        self,
        demand: watch::Receiver<Option<Arc<Demand>>>,
        bounds: Bounds,
        used: Option<UsedFile>,
    ) -> Self {
        Self {
            ahead: Some(Ahead::new(demand, bounds, used)),
            ..self
        }
    }

    /// Waits for another demand; for ever if there is none to come.
    pub(super) async fn demand_changed(demand: &mut Option<watch::Receiver<Option<Arc<Demand>>>>) {
        if let Some(changes) = demand {
            if changes.changed().await.is_ok() {
                return;
            }
            *demand = None;
        }
        std::future::pending::<()>().await;
    }

    /// Where demands come from.
    pub(super) fn demands(&self) -> Option<watch::Receiver<Option<Arc<Demand>>>> {
        self.ahead.as_ref().map(|ahead| ahead.demand.clone())
    }

    /// When the planner wants to be asked again.
    pub(super) fn ahead_due(&self) -> Instant {
        let due = self.ahead.as_ref().and_then(|ahead| ahead.due);
        due.unwrap_or_else(|| Instant::now() + FAR)
    }

    /// The demand has changed.
    pub(super) fn on_demand(&mut self) {
        if let Some(ahead) = &mut self.ahead {
            ahead.is_stale = true;
        }
        self.go_ahead();
    }

    /// Something has changed here: what could not be proven may be possible now.
    pub(super) fn wake_ahead(&mut self) {
        if let Some(ahead) = &mut self.ahead {
            ahead.planner.wake();
        }
        self.go_ahead();
    }

    /// Something has changed that failures may have been due to.
    pub(super) fn relent_ahead(&mut self) {
        if let Some(ahead) = &mut self.ahead {
            ahead.planner.relent(boottime_now(), random);
        }
    }

    /// Proofs may have gone.
    pub(super) fn look_ahead(&mut self) {
        if let Some(ahead) = &mut self.ahead {
            ahead.planner.look();
        }
    }

    /// Numbers mean others now.
    pub(super) fn clear_ahead(&mut self) {
        if let Some(ahead) = &mut self.ahead {
            ahead.planner.clear();
            ahead.is_stale = true;
        }
    }

    /// A packet of the pair asked for a proof.
    pub(super) fn used(&mut self, key: AuthKey, at: u64) {
        if let Some(ahead) = &mut self.ahead {
            ahead.planner.used(key, at);
        }
    }

    /// Pairs have live connections.
    pub(super) fn on_used(&mut self, keys: Vec<AuthKey>) {
        let now = boottime_now();
        for key in keys {
            self.used(key, now);
        }
    }

    /// A handshake is over, and its proof written unless there was an `error`.
    pub(super) fn ended_ahead(&mut self, key: AuthKey, error: Option<&ProveError>) {
        let Some(ahead) = &mut self.ahead else { return };
        if !ahead.planner.is_in_flight(&key) {
            return;
        }
        let end = match error {
            None => {
                self.status.ahead.proven.fetch_add(1, Relaxed);
                End::Proven
            }
            Some(error) => {
                self.status.ahead.failed.fetch_add(1, Relaxed);
                End::Failed(cause(error))
            }
        };
        ahead.planner.ended(key, end, boottime_now(), random());
    }

    /// At every tick.
    pub(super) fn tick_ahead(&mut self) {
        if let Some(ahead) = &mut self.ahead
            && ahead.reordered.elapsed() >= REORDER
        {
            ahead.reordered = Instant::now();
            ahead.planner.reorder();
        }
        if let Some(ahead) = &mut self.ahead
            && ahead.saved.1.elapsed() >= SAVE
            && ahead.earlier.is_empty()
        {
            ahead.save(&self.knowledge);
        }
        self.go_ahead();
    }

    /// Begins what may begin now.
    pub(super) fn go_ahead(&mut self) {
        while let Some(key) = self.next_ahead() {
            match self.table.ahead(key, boottime_now()) {
                Decision::Start => {
                    self.status.ahead.started.fetch_add(1, Relaxed);
                    self.launch(key);
                }
                Decision::Joined | Decision::Proven => self.put_back(key, End::Taken),
                Decision::Refused(Refusal::Busy | Refusal::Backoff | Refusal::NoRoom) => {
                    self.put_back(key, End::Deferred);
                }
            }
        }
        if let Some(ahead) = &self.ahead {
            self.status.ahead.set_fill(ahead.planner.fill(boottime_now()));
        }
    }

    fn put_back(&mut self, key: AuthKey, end: End) {
        if let Some(ahead) = &mut self.ahead {
            ahead.planner.ended(key, end, boottime_now(), random());
        }
    }

    fn next_ahead(&mut self) -> Option<AuthKey> {
        let ahead = self.ahead.as_mut()?;
        let (now, at) = (boottime_now(), Instant::now());
        ahead.due = None;
        // Before the kernel's proofs were looked at, what they are is not known, nor what numbers mean.
        if !self.adopted {
            return None;
        }
        if ahead.is_stale {
            let may = ahead.planned.map_or(at, |planned| planned + REPLAN);
            if may > at {
                ahead.due = Some(may);
                return None;
            }
            let demand = ahead.demand.borrow().clone()?;
            ahead.recall(&self.knowledge);
            ahead.planner.demand(Demand::clone(&demand), now);
            ahead.is_stale = false;
            ahead.planned = Some(at);
        }
        // What nobody asks for leaves the last of the room to those who will.
        if self.room.pressure() != Pressure::None {
            return None;
        }
        let contacts = self.table.has_contacts(&self.parking.waiting(), now);
        let (table, knowledge, unleased) = (&self.table, &self.knowledge, &self.unleased);
        let standing = |key: &AuthKey| {
            if unleased.holds(key) || table.is_settled(key, now) {
                Standing::Settled
            } else if knowledge.resolve(key).is_ok() {
                Standing::Lacking
            } else {
                Standing::Impossible
            }
        };
        match ahead.planner.next(now, contacts, standing) {
            Next::Start(key) => Some(key),
            Next::At(due) => {
                ahead.due = Some(at + Duration::from_nanos(due.saturating_sub(now)));
                None
            }
            Next::Nothing => None,
        }
    }
}

/// When such a failure is worth another attempt.
fn cause(error: &ProveError) -> Cause {
    match error {
        ProveError::NoSession { .. } | ProveError::SessionLost | ProveError::Deadline => Cause::Unreachable,
        _ if error.is_final() => Cause::Never,
        ProveError::UnknownIdentity(_)
        | ProveError::UnknownNode(_)
        | ProveError::NoView
        | ProveError::NotThere { .. }
        | ProveError::Revoked(_)
        | ProveError::SeveralIds(_)
        | ProveError::NoEndpoint
        | ProveError::NoSvid
        | ProveError::Busy
        | ProveError::Refused { .. }
        | ProveError::Handshake(_)
        | ProveError::Fault
        | ProveError::NoRoom { .. }
        | ProveError::Auth(_) => Cause::NotYet,
    }
}
