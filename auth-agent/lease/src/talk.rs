//! Both sides' part of one session: when to ask the peer, what to answer it, and what to tell it unasked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use signet_session::{Digest, Established, LONGEST, LeaseAsk, Message, spread};

use crate::table::Table;

/// Between two questions, ± 10 %.
const ASK: Duration = Duration::from_secs(3);
/// The same while the peer does not see its endpoints itself.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// Between two changes that the peer is told of.
const CHANGE: Duration = Duration::from_millis(100);

/// For how long others may believe what an owner knows of its own addresses, if it was told of them last at `heard`, by the same
/// clock, ns: whoever does not see its own addresses says nothing of them ten seconds later.
pub fn lasting(heard: u64, now: u64) -> Duration {
    LONGEST.saturating_sub(Duration::from_nanos(now.saturating_sub(heard)))
}

/// The time, by the two clocks of a holder, and a random number for when to ask next.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// For what comes next.
    pub clock: Instant,
    /// The kernel's clock, by which leases end, ns.
    pub boot: u64,
    /// Any number.
    pub random: u64,
}

/// The leases of one session, of both directions.
#[derive(Debug)]
pub struct Talk {
    /// What the peer was told; nothing before it has asked.
    told: Option<Arc<Table>>,
    ask_at: Instant,
    /// The peer is not to be told before.
    change_at: Instant,
    pending: bool,
}

impl Talk {
    /// The session is up; the peer is to be asked at once.
    pub fn new(now: Instant) -> Self {
        Self {
            told: None,
            ask_at: now,
            change_at: now,
            pending: false,
        }
    }

    /// This node's own addresses have changed, or may have.
    pub fn changed(&mut self) {
        self.pending = true;
    }

    /// What the time asks for: a question, or a change to tell. `own` is what this node says now, `held` the digest of what the
    /// peer said last.
    pub fn on_tick(
        &mut self,
        session: &mut Established,
        own: Option<&Arc<Table>>,
        held: impl FnOnce() -> Option<Digest>,
        now: Moment,
    ) -> Vec<Message> {
        let mut messages = Vec::new();
        if self.pending && self.change_at <= now.clock {
            messages = self.tell_change(session, own, now.clock);
        }
        if self.ask_at <= now.clock {
            self.ask_at = now.clock + spread(ASK, now.random);
            messages.extend(session.ask(held(), now.boot));
        }
        messages
    }

    /// When [`Talk::on_tick`] has something to say next.
    pub fn deadline(&self) -> Instant {
        if self.pending {
            self.ask_at.min(self.change_at)
        } else {
            self.ask_at
        }
    }

    /// The peer asks. `lasting` is how long what this node knows of its own addresses may be believed from now on.
    pub fn on_ask(
        &mut self,
        session: &mut Established,
        ask: &LeaseAsk,
        own: Option<&Arc<Table>>,
        lasting: Duration,
        now: Instant,
    ) -> Vec<Message> {
        let mut messages = self.tell_change(session, own, now);
        if !session.has_granted() {
            self.told = own.cloned();
        }
        let table = self.told.clone();
        let digest = table.as_ref().map(|table| table.digest());
        let groups = || table.map(|table| table.groups()).unwrap_or_default();
        messages.extend(session.grant(ask, digest, groups, lasting));
        messages
    }

    /// The peer lets what it said be believed for `lasting` from `asked` on, which is when it was asked, not when the answer
    /// has come: until when, by the same clock. Nothing: not now.
    pub fn on_grant(&mut self, asked: u64, lasting: Duration, now: Moment) -> Option<u64> {
        if lasting.is_zero() {
            self.ask_at = self.ask_at.min(now.clock + spread(ASK_AGAIN, now.random));
            return None;
        }
        let lasting = u64::try_from(lasting.as_nanos()).unwrap_or(0);
        Some(asked.saturating_add(lasting))
    }

    /// Brings what the peer was told up to date.
    fn tell_change(
        &mut self,
        session: &mut Established,
        own: Option<&Arc<Table>>,
        now: Instant,
    ) -> Vec<Message> {
        self.pending = false;
        let (Some(told), Some(own)) = (&self.told, own) else {
            return Vec::new();
        };
        if !session.has_granted() || told == own {
            return Vec::new();
        }
        let (withdrawn, added) = told.change_to(own);
        self.told = Some(own.clone());
        self.change_at = now + CHANGE;
        session.change(&withdrawn, &added)
    }
}
