//! The pair handshakes inside one session. No input or output: messages in, messages and proofs out.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use signet_handshake::{
    AwaitingConfirm, Binding, Credentials, HandshakeError, Initiator, Limits, Now, Party, Progress, Proof,
    Responder,
};
use signet_session::{
    AbortCause, Detail, Established, HandshakeStep, Message, NodeNumber, Open, Opener, Route,
};
use signet_spiffe::SpiffeId;
use signet_tls::BundleSource;

use super::handle::Reply;
use super::secrets::Secrets;
use crate::pairs::{Knowledge, ProveError};

/// What came of a step.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// To send, in order.
    pub(super) messages: Vec<Message>,
    /// Of handshakes that the peer has opened.
    pub(super) proofs: Vec<Proof>,
}

enum Stage {
    Initiating(Initiator),
    Responding(Responder),
    Confirming(AwaitingConfirm),
}

struct Flight {
    local: SpiffeId,
    remote: SpiffeId,
    stage: Stage,
    deadline: Instant,
    /// Present in ours.
    reply: Option<Reply>,
}

/// Somebody of ours who waits for the peer's handshake of the same pair.
struct Yielded {
    local: SpiffeId,
    remote: SpiffeId,
    deadline: Instant,
    reply: Reply,
}

/// Who is at the two ends.
pub(super) struct Ends {
    pub(super) own: (NodeNumber, SpiffeId),
    pub(super) peer: (NodeNumber, SpiffeId),
    pub(super) secrets: Arc<Secrets>,
}

pub(super) struct Flights {
    ends: Ends,
    knowledge: Knowledge,
    bundles: Arc<dyn BundleSource>,
    limits: Limits,
    open: HashMap<Route, Flight>,
    yielded: Vec<Yielded>,
}

impl Flights {
    pub(super) fn new(ends: Ends, knowledge: Knowledge, bundles: Arc<dyn BundleSource>) -> Self {
        Self {
            ends,
            knowledge,
            bundles,
            limits: Limits::default(),
            open: HashMap::new(),
            yielded: Vec::new(),
        }
    }

    /// Opens a handshake of ours, or joins the peer's of the same pair.
    pub(super) fn start(
        &mut self,
        session: &mut Established,
        local: Arc<Credentials>,
        remote: SpiffeId,
        reply: Reply,
        now: Now,
    ) -> Effects {
        let mut effects = Effects::default();
        if self.find(Opener::Peer, local.id(), &remote).is_some() {
            self.yield_to_peer(local.id().clone(), remote, reply, now);
            return effects;
        }
        let Ok(route) = session.open() else {
            answer(reply, Err(ProveError::Busy));
            return effects;
        };
        let (local_id, initiator) = (local.id().clone(), local.id().clone());
        match Initiator::start(self.party(local, remote.clone(), Opener::Us), now) {
            Ok((state, records)) => {
                let responder = remote.clone();
                effects.messages.push(Message::Open(Open {
                    route,
                    initiator,
                    responder,
                    records,
                }));
                let deadline = state.deadline();
                let stage = Stage::Initiating(state);
                let flight = Flight {
                    local: local_id,
                    remote,
                    stage,
                    deadline,
                    reply: Some(reply),
                };
                self.open.insert(route, flight);
            }
            Err(error) => {
                session.close(route);
                answer(reply, Err(error.into()));
            }
        }
        effects
    }

    /// Answers a handshake that the peer opens.
    pub(super) fn on_open(&mut self, session: &mut Established, open: Open, now: Now) -> Effects {
        let mut effects = Effects::default();
        let (local, remote) = (open.responder, open.initiator);
        if let Some(ours) = self.find(Opener::Us, &local, &remote) {
            // Both sides have opened the same pair. The lower node's goes on; both know that without asking.
            if self.ends.own.0 < self.ends.peer.0 {
                session.close(open.route);
                effects.messages.push(abort(open.route, AbortCause::Yield, ""));
                return effects;
            }
            session.close(ours);
            effects.messages.push(abort(ours, AbortCause::Yield, ""));
            if let Some(Flight {
                local,
                remote,
                reply: Some(reply),
                ..
            }) = self.open.remove(&ours)
            {
                self.yield_to_peer(local, remote, reply, now);
            }
        }
        let peer = self.ends.peer.0;
        let accepted = self
            .knowledge
            .answer(peer, &remote, &local)
            .and_then(|credentials| {
                let party = self.party(credentials, remote.clone(), Opener::Peer);
                Ok(Step::from(Responder::accept(party, &open.records, now)?))
            });
        match accepted {
            Ok(step) => {
                let deadline = now.clock + self.limits.deadline;
                self.advance(open.route, local, remote, deadline, None, step, &mut effects);
            }
            Err(error) => {
                session.close(open.route);
                tracing::debug!(pair.local = %local, pair.remote = %remote, %error, "refused a peer's handshake");
                effects
                    .messages
                    .push(abort(open.route, error.cause(), &error.to_string()));
            }
        }
        effects
    }

    /// Takes the next step of a handshake.
    pub(super) fn on_step(
        &mut self,
        session: &mut Established,
        route: Route,
        step: HandshakeStep,
        now: Now,
    ) -> Effects {
        let mut effects = Effects::default();
        let Some(flight) = self.open.remove(&route) else {
            return effects;
        };
        let Flight {
            local,
            remote,
            stage,
            deadline,
            reply,
        } = flight;
        let result = match (step, stage) {
            (HandshakeStep::Abort(cause, detail), _) => {
                session.close(route);
                match reply {
                    Some(reply) if cause == AbortCause::Yield => {
                        self.yield_to_peer(local, remote, reply, now);
                    }
                    Some(reply) => answer(reply, Err(ProveError::Refused { cause, detail })),
                    None => {}
                }
                return effects;
            }
            (HandshakeStep::Records(records), Stage::Initiating(state)) => {
                state.on_records(&records, now).map(Step::from)
            }
            (HandshakeStep::Records(records), Stage::Responding(state)) => {
                state.on_records(&records, now).map(Step::from)
            }
            (HandshakeStep::Confirm(mac), Stage::Confirming(state)) => match state.on_confirm(&mac, now) {
                Ok(proof) => {
                    session.close(route);
                    self.deliver(proof, reply, &mut effects);
                    return effects;
                }
                Err(error) => Err(error),
            },
            (HandshakeStep::Records(_), Stage::Confirming(_))
            | (HandshakeStep::Confirm(_), Stage::Initiating(_) | Stage::Responding(_)) => {
                Err(HandshakeError::Unexpected)
            }
        };
        match result {
            Ok(step) => self.advance(route, local, remote, deadline, reply, step, &mut effects),
            Err(error) => {
                session.close(route);
                let error = ProveError::from(error);
                tracing::debug!(pair.local = %local, pair.remote = %remote, %error, "handshake broken off");
                effects
                    .messages
                    .push(abort(route, error.cause(), &error.to_string()));
                if let Some(reply) = reply {
                    answer(reply, Err(error));
                }
            }
        }
        effects
    }

    /// Ends what is overdue.
    pub(super) fn on_tick(&mut self, session: &mut Established, now: Now) -> Effects {
        let mut effects = Effects::default();
        let late = |deadline: Instant| deadline <= now.clock;
        let overdue: Vec<Route> = self
            .open
            .iter()
            .filter(|(_, flight)| late(flight.deadline))
            .map(|(route, _)| *route)
            .collect();
        for route in overdue {
            session.close(route);
            effects.messages.push(abort(route, AbortCause::Deadline, ""));
            if let Some(Flight {
                reply: Some(reply), ..
            }) = self.open.remove(&route)
            {
                answer(reply, Err(ProveError::Deadline));
            }
        }
        for waiting in self.yielded.extract_if(.., |waiting| late(waiting.deadline)) {
            answer(waiting.reply, Err(ProveError::Deadline));
        }
        effects
    }

    /// When [`Flights::on_tick`] has something to do next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let flights = self.open.values().map(|flight| flight.deadline);
        flights
            .chain(self.yielded.iter().map(|waiting| waiting.deadline))
            .min()
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "a flight taken apart, put together again in its next stage"
    )]
    fn advance(
        &mut self,
        route: Route,
        local: SpiffeId,
        remote: SpiffeId,
        deadline: Instant,
        reply: Option<Reply>,
        step: Step,
        effects: &mut Effects,
    ) {
        if !step.records.is_empty() {
            effects.messages.push(Message::Records {
                route,
                records: step.records,
            });
        }
        if let Some(mac) = step.mac {
            effects.messages.push(Message::Confirm { route, mac });
        }
        self.open.insert(
            route,
            Flight {
                local,
                remote,
                stage: step.stage,
                deadline,
                reply,
            },
        );
    }

    fn deliver(&mut self, proof: Proof, reply: Option<Reply>, effects: &mut Effects) {
        let waiting =
            |yielded: &mut Yielded| yielded.local == *proof.local() && yielded.remote == *proof.remote();
        let yielded = self
            .yielded
            .extract_if(.., waiting)
            .map(|yielded| yielded.reply)
            .next();
        // Nobody waits any more: the proof is good all the same.
        match reply.or(yielded).map(|reply| (reply.is_closed(), reply)) {
            Some((false, reply)) => answer(reply, Ok(proof)),
            Some((true, _)) | None => effects.proofs.push(proof),
        }
    }

    fn yield_to_peer(&mut self, local: SpiffeId, remote: SpiffeId, reply: Reply, now: Now) {
        let deadline = now.clock + self.limits.deadline;
        self.yielded.push(Yielded {
            local,
            remote,
            deadline,
            reply,
        });
    }

    fn find(&self, opener: Opener, local: &SpiffeId, remote: &SpiffeId) -> Option<Route> {
        let same = |flight: &Flight| flight.local == *local && flight.remote == *remote;
        let mut flights = self.open.iter().filter(|(route, _)| route.opener == opener);
        flights.find(|(_, flight)| same(flight)).map(|(route, _)| *route)
    }

    fn party(&self, local: Arc<Credentials>, remote: SpiffeId, opener: Opener) -> Party {
        let (own, peer) = (self.ends.own.1.clone(), self.ends.peer.1.clone());
        let exporter = self.ends.secrets.binding();
        let binding = match opener {
            Opener::Us => Binding::new(exporter, own, peer),
            Opener::Peer => Binding::new(exporter, peer, own),
        };
        Party {
            local,
            remote,
            bundles: self.bundles.clone(),
            binding,
            limits: self.limits,
        }
    }
}

/// Either side's progress in one shape.
struct Step {
    stage: Stage,
    records: Vec<u8>,
    mac: Option<[u8; 32]>,
}

impl From<Progress<Initiator>> for Step {
    fn from(progress: Progress<Initiator>) -> Self {
        Self::new(progress, Stage::Initiating)
    }
}

impl From<Progress<Responder>> for Step {
    fn from(progress: Progress<Responder>) -> Self {
        Self::new(progress, Stage::Responding)
    }
}

impl Step {
    fn new<S>(progress: Progress<S>, stage: impl FnOnce(S) -> Stage) -> Self {
        match progress {
            Progress::More { state, records } => Self {
                stage: stage(state),
                records,
                mac: None,
            },
            Progress::Complete { state, records, mac } => Self {
                stage: Stage::Confirming(state),
                records,
                mac: Some(mac),
            },
        }
    }
}

fn abort(route: Route, cause: AbortCause, detail: &str) -> Message {
    Message::Abort {
        route,
        cause,
        detail: Detail::new(detail),
    }
}

fn answer(reply: Reply, result: Result<Proof, ProveError>) {
    // Whoever asked may have given up.
    let _ = reply.send(result);
}
