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

impl Effects {
    /// What is to be sent after a step, and the stage that it leads to.
    fn step(&mut self, route: Route, step: Step) -> Stage {
        let Step { stage, records, mac } = step;
        if !records.is_empty() {
            self.messages.push(Message::Records { route, records });
        }
        if let Some(mac) = mac {
            self.messages.push(Message::Confirm { route, mac });
        }
        stage
    }
}

enum Stage {
    Initiating(Initiator),
    Responding(Responder),
    Confirming(AwaitingConfirm),
}

/// The two workloads of a handshake.
#[derive(Clone, PartialEq, Eq)]
struct Pair {
    local: SpiffeId,
    remote: SpiffeId,
}

/// A handshake under way. Its stage alone changes.
struct Flight {
    pair: Pair,
    stage: Stage,
    deadline: Instant,
    /// Present in ours.
    reply: Option<Reply>,
}

/// Somebody of ours who waits for the peer's handshake of the same pair.
struct Yielded {
    pair: Pair,
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
        let pair = Pair {
            local: local.id().clone(),
            remote,
        };
        if self.find(Opener::Peer, &pair).is_some() {
            self.yield_to_peer(pair, reply, now);
            return effects;
        }
        let Ok(route) = session.open() else {
            answer(reply, Err(ProveError::Busy));
            return effects;
        };
        match Initiator::start(self.party(local, pair.remote.clone(), Opener::Us), now) {
            Ok((state, records)) => {
                effects.messages.push(Message::Open(Open {
                    route,
                    initiator: pair.local.clone(),
                    responder: pair.remote.clone(),
                    records,
                }));
                let flight = Flight {
                    pair,
                    deadline: state.deadline(),
                    stage: Stage::Initiating(state),
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
        let pair = Pair {
            local: open.responder,
            remote: open.initiator,
        };
        if self.find(Opener::Peer, &pair).is_some() {
            // Two would cost twice and prove no more. The first one goes on.
            session.close(open.route);
            let detail = "a handshake of this pair is open already";
            effects.messages.push(abort(open.route, AbortCause::Busy, detail));
            return effects;
        }
        if let Some(ours) = self.find(Opener::Us, &pair) {
            // Both sides have opened the same pair. The lower node's goes on; both know that without asking.
            if self.ends.own.0 < self.ends.peer.0 {
                session.close(open.route);
                effects.messages.push(abort(open.route, AbortCause::Yield, ""));
                return effects;
            }
            session.close(ours);
            effects.messages.push(abort(ours, AbortCause::Yield, ""));
            if let Some(Flight {
                pair,
                reply: Some(reply),
                ..
            }) = self.open.remove(&ours)
            {
                self.yield_to_peer(pair, reply, now);
            }
        }
        let peer = self.ends.peer.0;
        let accepted = self
            .knowledge
            .answer(peer, &pair.remote, &pair.local)
            .and_then(|credentials| {
                let party = self.party(credentials, pair.remote.clone(), Opener::Peer);
                Ok(Step::from(Responder::accept(party, &open.records, now)?))
            });
        match accepted {
            Ok(step) => {
                let stage = effects.step(open.route, step);
                let flight = Flight {
                    pair,
                    stage,
                    deadline: now.clock + self.limits.deadline,
                    reply: None,
                };
                self.open.insert(open.route, flight);
            }
            Err(error) => {
                session.close(open.route);
                tracing::debug!(pair.local = %pair.local, pair.remote = %pair.remote, %error, "refused a peer's handshake");
                effects
                    .messages
                    .push(abort(open.route, error.cause(), &error.to_string()));
                self.fail(open.route, &pair, None, &error);
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
        let Some(mut flight) = self.open.remove(&route) else {
            return effects;
        };
        let result = match (step, flight.stage) {
            (HandshakeStep::Abort(cause, detail), _) => {
                session.close(route);
                match flight.reply {
                    Some(reply) if cause == AbortCause::Yield => {
                        self.yield_to_peer(flight.pair, reply, now);
                    }
                    reply => self.fail(route, &flight.pair, reply, &ProveError::Refused { cause, detail }),
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
                    self.deliver(proof, flight.reply, &mut effects);
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
            Ok(step) => {
                flight.stage = effects.step(route, step);
                self.open.insert(route, flight);
            }
            Err(error) => {
                session.close(route);
                let Pair { local, remote } = &flight.pair;
                let error = ProveError::from(error);
                tracing::debug!(pair.local = %local, pair.remote = %remote, %error, "handshake broken off");
                effects
                    .messages
                    .push(abort(route, error.cause(), &error.to_string()));
                self.fail(route, &flight.pair, flight.reply, &error);
            }
        }
        effects
    }

    /// Ends what is overdue.
    pub(super) fn on_tick(&mut self, session: &mut Established, now: Now) -> Effects {
        let mut effects = Effects::default();
        let late = |deadline: Instant| deadline <= now.clock;
        let overdue: Vec<(Route, Flight)> = self.open.extract_if(|_, flight| late(flight.deadline)).collect();
        for (route, flight) in overdue {
            session.close(route);
            effects.messages.push(abort(route, AbortCause::Deadline, ""));
            self.fail(route, &flight.pair, flight.reply, &ProveError::Deadline);
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

    fn deliver(&mut self, proof: Proof, reply: Option<Reply>, effects: &mut Effects) {
        let waiting = |yielded: &mut Yielded| {
            yielded.pair.local == *proof.local() && yielded.pair.remote == *proof.remote()
        };
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

    /// A handshake ended without a proof: whoever asked for it is told, and whoever of ours has yielded to it.
    fn fail(&mut self, route: Route, pair: &Pair, reply: Option<Reply>, error: &ProveError) {
        if let Some(reply) = reply {
            answer(reply, Err(error.clone()));
        }
        if route.opener == Opener::Peer {
            for waiting in self.yielded.extract_if(.., |waiting| waiting.pair == *pair) {
                answer(waiting.reply, Err(error.clone()));
            }
        }
    }

    fn yield_to_peer(&mut self, pair: Pair, reply: Reply, now: Now) {
        let deadline = now.clock + self.limits.deadline;
        self.yielded.push(Yielded {
            pair,
            deadline,
            reply,
        });
    }

    fn find(&self, opener: Opener, pair: &Pair) -> Option<Route> {
        let mut flights = self.open.iter().filter(|(route, _)| route.opener == opener);
        flights
            .find(|(_, flight)| flight.pair == *pair)
            .map(|(route, _)| *route)
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
