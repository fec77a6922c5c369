//! A session with both hellos exchanged.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::event::{Event, HandshakeStep};
use crate::granting::Granting;
use crate::holding::Holding;
use crate::id::{Instance, NodeNumber, Route};
use crate::lease::{Digest, Group, LeaseAsk, LeaseDelta, LeaseError};
use crate::limits::Limits;
use crate::liveness::{Liveness, Pulse};
use crate::message::{AbortCause, Detail, Message, Offer};
use crate::routes::{Admission, RouteError, Routes};
use crate::transport::{Bucket, Epochs};

/// Why a session must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// A second hello.
    #[error("peer said hello twice")]
    SecondHello,
    /// A handshake number that was used before.
    #[error("peer used a handshake number again")]
    ReusedHandshake,
    /// Transport or ping messages without end.
    #[error("peer sends control messages too fast")]
    Flood,
    /// An offer older than the last.
    #[error("peer's transport epoch went back")]
    EpochWentBack,
    /// Nothing heard for too long.
    #[error("peer has been silent for too long")]
    Silent,
    /// Lease messages that cannot be.
    #[error(transparent)]
    Lease(#[from] LeaseError),
}

/// A live session: routes handshakes, judges transport and lease messages, keeps watch.
#[derive(Debug)]
pub struct Established {
    peer: NodeNumber,
    instance: Instance,
    limits: Limits,
    liveness: Liveness,
    routes: Routes,
    epochs: Epochs,
    opens: Bucket,
    transport: Bucket,
    pings: Bucket,
    version: u32,
    holding: Holding,
    granting: Granting,
}

impl Established {
    pub(crate) fn new(
        (peer, instance): (NodeNumber, Instance),
        version: u32,
        limits: Limits,
        now: Instant,
    ) -> Self {
        Self {
            peer,
            instance,
            limits,
            liveness: Liveness::new(now),
            routes: Routes::default(),
            epochs: Epochs::default(),
            opens: Bucket::new(limits.open_burst, limits.open_refill, now),
            transport: Bucket::new(limits.transport_burst, limits.transport_refill, now),
            pings: Bucket::new(limits.ping_burst, limits.ping_refill, now),
            version,
            holding: Holding::new(&limits, now),
            granting: Granting::new(&limits, now),
        }
    }

    /// The peer's number.
    pub fn peer(&self) -> NodeNumber {
        self.peer
    }

    /// The peer's start.
    pub fn peer_instance(&self) -> Instance {
        self.instance
    }

    /// The protocol version that both speak.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Judges one message from the peer. After an error the session must be closed.
    pub fn on_message(&mut self, message: Message, now: Instant) -> Result<Event, SessionError> {
        self.liveness.heard(now);
        match message {
            Message::Hello(_) => Err(SessionError::SecondHello),
            Message::Ping(nonce) => {
                if !self.pings.take(now) {
                    return Err(SessionError::Flood);
                }
                Ok(Event::Reply(Message::Pong(nonce)))
            }
            Message::Pong(_) => Ok(Event::Nothing),
            Message::Open(open) => match self.routes.admit(open.route, &self.limits) {
                Admission::Admitted if self.opens.take(now) => Ok(Event::Opened(open)),
                Admission::Admitted => {
                    self.routes.close(open.route);
                    Ok(busy(open.route, "this session opens handshakes too fast"))
                }
                Admission::Reused => Err(SessionError::ReusedHandshake),
                Admission::Busy => Ok(busy(open.route, "too many handshakes of this session are open")),
            },
            Message::Records { route, records } => Ok(self.step(route, HandshakeStep::Records(records))),
            Message::Confirm { route, mac } => Ok(self.step(route, HandshakeStep::Confirm(mac))),
            Message::Abort { route, cause, detail } => {
                let event = self.step(route, HandshakeStep::Abort(cause, detail));
                self.routes.close(route);
                Ok(event)
            }
            Message::Offer(offer) => {
                self.transport_message(now)?;
                if !self.epochs.accepts(&offer) {
                    return Err(SessionError::EpochWentBack);
                }
                Ok(Event::Offer(offer))
            }
            Message::Ready(epoch) => {
                self.transport_message(now)?;
                Ok(if self.epochs.is_current(epoch) {
                    Event::Ready(epoch)
                } else {
                    Event::Nothing
                })
            }
            Message::Retire(epoch) => {
                self.transport_message(now)?;
                Ok(Event::Retire(epoch))
            }
            Message::LeaseAsk(ask) => {
                self.granting.on_ask(&ask, now)?;
                Ok(Event::LeaseAsked(ask))
            }
            Message::LeasePart(part) => Ok(match self.holding.on_part(part, now)? {
                Some(groups) => Event::LeaseTable(groups),
                None => Event::Nothing,
            }),
            Message::LeaseDelta(delta) => {
                self.holding.on_delta(&delta, now)?;
                let LeaseDelta { withdrawn, added, .. } = delta;
                Ok(Event::LeaseChange { withdrawn, added })
            }
            Message::LeaseGrant(grant) => {
                let (asked, lasting) = self.holding.on_grant(&grant)?;
                Ok(Event::LeaseGranted { asked, lasting })
            }
        }
    }

    /// Takes a route for a handshake that we open. It is ours until [`Established::close`].
    pub fn open(&mut self) -> Result<Route, RouteError> {
        self.routes.open(&self.limits)
    }

    /// Frees a route, whatever came of the handshake.
    pub fn close(&mut self, route: Route) {
        self.routes.close(route);
    }

    /// Notes the offer that we are about to send, so that only answers to it count.
    pub fn offer(&mut self, offer: Offer) -> Message {
        self.epochs.offered(offer.key_epoch);
        Message::Offer(offer)
    }

    /// Asks the peer what its addresses are. `digest` is that of the table that we have of it, `at` the time by a clock of
    /// the caller's, which comes back with the answer. None while too many questions are open.
    pub fn ask(&mut self, digest: Option<Digest>, at: u64) -> Option<Message> {
        self.holding.ask(digest, at).map(Message::LeaseAsk)
    }

    /// Answers a question of the peer's. `table` is the digest of what it was told before, as [`Established::change`] has left
    /// it, or of all that it is to be told, and `groups` the content; none if this node does not know its own addresses. The
    /// messages are to be sent in order.
    pub fn grant(
        &mut self,
        ask: &LeaseAsk,
        table: Option<Digest>,
        groups: impl FnOnce() -> Vec<Group>,
        lasting: Duration,
    ) -> Vec<Message> {
        self.granting.answer(ask, table, groups, lasting)
    }

    /// Whether the peer was told what this node's addresses are, so that it is to be told what changes.
    pub fn has_granted(&self) -> bool {
        self.granting.has_begun()
    }

    /// Tells the peer that this node's addresses have changed; nothing before it was told what they are. The messages are
    /// to be sent in order.
    pub fn change(&mut self, withdrawn: &[IpAddr], added: &[Group]) -> Vec<Message> {
        self.granting.change(withdrawn, added)
    }

    /// What the time asks for: a ping to send, or the end.
    pub fn on_tick(&mut self, now: Instant) -> Result<Option<Message>, SessionError> {
        match self.liveness.tick(&self.limits, now) {
            Pulse::Quiet => Ok(None),
            Pulse::Ping(nonce) => Ok(Some(Message::Ping(nonce))),
            Pulse::Dead => Err(SessionError::Silent),
        }
    }

    /// When [`Established::on_tick`] has something to say next.
    pub fn deadline(&self) -> Instant {
        self.liveness.deadline(&self.limits)
    }

    fn step(&mut self, route: Route, step: HandshakeStep) -> Event {
        if self.routes.is_open(route) {
            Event::Handshake(route, step)
        } else {
            // Ends cross on the way: not the peer's fault.
            Event::Nothing
        }
    }

    fn transport_message(&mut self, now: Instant) -> Result<(), SessionError> {
        if self.transport.take(now) {
            Ok(())
        } else {
            Err(SessionError::Flood)
        }
    }
}

fn busy(route: Route, detail: &str) -> Event {
    Event::Reply(Message::Abort {
        route,
        cause: AbortCause::Busy,
        detail: Detail::new(detail),
    })
}
