//! Both sides' part of one session: asks the peer, answers it, and tells it what changes.

use std::sync::Arc;
use std::time::Duration;

use signet_lease::{BookError, Table};
use signet_maps::boottime_now;
use signet_session::{Established, Group, LeaseAsk, Message, NodeNumber};
use std::net::IpAddr;
use tokio::sync::watch;
use tokio::time::Instant;

use super::handle::Leases;
use super::sight::Sight;
use crate::clock::{random, scale};
use crate::status::Status;

/// Between two questions, ± 10 %.
const ASK: Duration = Duration::from_secs(3);
/// The same while the peer does not see its endpoints itself.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// Between two changes that the peer is told of.
const CHANGE: Duration = Duration::from_millis(100);

/// The leases of one session.
pub(crate) struct Talk {
    leases: Leases,
    status: Arc<Status>,
    /// With whom, and which session.
    peer: (NodeNumber, u64),
    own: watch::Receiver<Option<Arc<Table>>>,
    /// What the peer was told; nothing before it has asked.
    told: Option<Arc<Table>>,
    ask_at: Instant,
    /// The peer is not to be told before.
    change_at: Instant,
    pending: bool,
}

impl Talk {
    pub(crate) fn new(leases: Leases, peer: NodeNumber, generation: u64) -> Self {
        let now = Instant::now();
        Self {
            own: leases.own(),
            status: leases.status(),
            leases,
            peer: (peer, generation),
            told: None,
            ask_at: now,
            change_at: now,
            pending: false,
        }
    }

    /// The session is up: it alone speaks for the peer, which is asked at once.
    pub(crate) fn open(&mut self, session: &mut Established) -> Vec<Message> {
        self.leases.open(self.peer.0, self.peer.1);
        self.on_tick(session)
    }

    /// Ready when this node's own addresses have changed, or may have.
    pub(crate) async fn changed(&mut self) {
        if self.own.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.pending = true;
    }

    /// What the time asks for: a question, or a change to tell.
    pub(crate) fn on_tick(&mut self, session: &mut Established) -> Vec<Message> {
        let now = Instant::now();
        let mut messages = Vec::new();
        if self.pending && self.change_at <= now {
            messages = self.tell_change(session);
        }
        if self.ask_at <= now {
            self.ask_at = now + spread(ASK);
            messages.extend(session.ask(self.leases.digest(self.peer.0), boottime_now()));
        }
        messages
    }

    /// When [`Talk::on_tick`] has something to say next.
    pub(crate) fn deadline(&self) -> Instant {
        if self.pending {
            self.ask_at.min(self.change_at)
        } else {
            self.ask_at
        }
    }

    /// The peer asks.
    pub(crate) fn on_ask(&mut self, session: &mut Established, ask: &LeaseAsk) -> Vec<Message> {
        let mut messages = self.tell_change(session);
        if !session.has_granted() {
            self.told.clone_from(&self.own.borrow());
        }
        let table = self.told.clone();
        let digest = table.as_ref().map(|table| table.digest());
        let groups = || table.map(|table| table.groups()).unwrap_or_default();
        messages.extend(session.grant(ask, digest, groups, self.sight().lasting()));
        messages
    }

    /// The peer says what all its addresses are.
    pub(crate) fn on_table(&self, groups: Vec<Group>) -> Result<(), BookError> {
        self.leases.table(self.peer, groups)
    }

    /// The peer says what has changed.
    pub(crate) fn on_change(&self, withdrawn: &[IpAddr], added: Vec<Group>) -> Result<(), BookError> {
        self.leases.change(self.peer, withdrawn, added)
    }

    /// The peer lets it be believed for so long, from when it was asked.
    pub(crate) fn on_grant(&mut self, asked: u64, lasting: Duration) -> Result<(), BookError> {
        if lasting.is_zero() {
            self.ask_at = self.ask_at.min(Instant::now() + spread(ASK_AGAIN));
            return Ok(());
        }
        let lasting = u64::try_from(lasting.as_nanos()).unwrap_or(0);
        self.leases.grant(self.peer, asked.saturating_add(lasting))
    }

    /// Brings what the peer was told up to date.
    fn tell_change(&mut self, session: &mut Established) -> Vec<Message> {
        self.pending = false;
        let (Some(told), Some(own)) = (self.told.clone(), self.own.borrow_and_update().clone()) else {
            return Vec::new();
        };
        if !session.has_granted() || told == own {
            return Vec::new();
        }
        let (withdrawn, added) = told.change_to(&own);
        self.told = Some(own);
        self.change_at = Instant::now() + CHANGE;
        session.change(&withdrawn, &added)
    }

    fn sight(&self) -> &Sight {
        &self.status.sight
    }
}

/// ± 10 %, so that a crowd does not ask at once.
fn spread(time: Duration) -> Duration {
    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    time.saturating_sub(time / 10) + Duration::from_nanos(scale(random(), nanos / 5))
}
