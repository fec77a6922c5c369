//! A session with both hellos exchanged.

use std::time::Instant;

use crate::event::{Event, HandshakeStep};
use crate::id::{Instance, NodeNumber, Route};
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
}

/// A live session: routes handshakes, judges transport messages, keeps watch.
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
}

impl Established {
    pub(crate) fn new(peer: NodeNumber, instance: Instance, limits: Limits, now: Instant) -> Self {
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
