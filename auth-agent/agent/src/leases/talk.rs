//! Both sides' part of one session: what `signet_lease::Talk` says, with this node's clocks, tables and view.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use signet_lease::{BookError, Moment, Table};
use signet_maps::boottime_now;
use signet_session::{Established, Group, LeaseAsk, Message, NodeNumber};
use tokio::sync::watch;
use tokio::time::Instant;

use super::handle::Leases;
use super::sight::Sight;
use crate::clock::random;
use crate::status::Status;

/// The leases of one session.
pub(crate) struct Talk {
    leases: Leases,
    status: Arc<Status>,
    /// With whom, and which session.
    peer: (NodeNumber, u64),
    own: watch::Receiver<Option<Arc<Table>>>,
    state: signet_lease::Talk,
}

impl Talk {
    pub(crate) fn new(leases: Leases, peer: NodeNumber, generation: u64) -> Self {
        Self {
            own: leases.own(),
            status: leases.status(),
            leases,
            peer: (peer, generation),
            state: signet_lease::Talk::new(Instant::now().into_std()),
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
        self.state.changed();
    }

    /// What the time asks for: a question, or a change to tell.
    pub(crate) fn on_tick(&mut self, session: &mut Established) -> Vec<Message> {
        // Not marked as seen: what changes while this runs is told next time.
        let own = self.own.borrow().clone();
        let held = || self.leases.digest(self.peer.0);
        self.state.on_tick(session, own.as_ref(), held, moment())
    }

    /// When [`Talk::on_tick`] has something to say next.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::from_std(self.state.deadline())
    }

    /// The peer asks.
    pub(crate) fn on_ask(&mut self, session: &mut Established, ask: &LeaseAsk) -> Vec<Message> {
        let own = self.own.borrow().clone();
        let lasting = self.sight().lasting();
        self.state
            .on_ask(session, ask, own.as_ref(), lasting, moment().clock)
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
        match self.state.on_grant(asked, lasting, moment()) {
            Some(not_after) => self.leases.grant(self.peer, not_after),
            None => Ok(()),
        }
    }

    fn sight(&self) -> &Sight {
        &self.status.sight
    }
}

fn moment() -> Moment {
    Moment {
        clock: Instant::now().into_std(),
        boot: boottime_now(),
        random: random(),
    }
}
