//! The pair handshakes inside one session. No input or output: messages in, messages and proofs out.

use std::collections::BTreeMap;
use std::fmt;
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
use zeroize::Zeroizing;

use crate::failure::ProveError;

/// Who answers handshakes that a peer opens.
pub trait Answers {
    /// What answers `peer`, which wants `responder` for `initiator`.
    fn answer(
        &self,
        peer: NodeNumber,
        initiator: &SpiffeId,
        responder: &SpiffeId,
    ) -> Result<Arc<Credentials>, ProveError>;
}

/// A handshake that ended without a proof on this side, for the log.
#[derive(Debug)]
pub struct Refused {
    /// Our workload.
    pub local: SpiffeId,
    /// Theirs.
    pub remote: SpiffeId,
    /// Why.
    pub error: ProveError,
}

/// What came of a step. `T` stands for whoever asked for a handshake.
#[derive(Debug)]
pub struct Effects<T> {
    /// To send, in order.
    pub messages: Vec<Message>,
    /// Of handshakes that the peer has opened.
    pub proofs: Vec<Proof>,
    /// For those who asked. A proof is good although nobody waits for it any more.
    pub answers: Vec<(T, Result<Proof, ProveError>)>,
    /// What this side has broken off.
    pub refused: Vec<Refused>,
}

impl<T> Default for Effects<T> {
    fn default() -> Self {
        Self {
            messages: Vec::new(),
            proofs: Vec::new(),
            answers: Vec::new(),
            refused: Vec::new(),
        }
    }
}

impl<T> Effects<T> {
    fn refuse(&mut self, route: Route, pair: &Pair, error: &ProveError) {
        self.messages
            .push(abort(route, error.cause(), &error.to_string()));
        self.refused.push(Refused {
            local: pair.local.clone(),
            remote: pair.remote.clone(),
            error: error.clone(),
        });
    }

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
struct Flight<T> {
    pair: Pair,
    stage: Stage,
    deadline: Instant,
    /// Present in ours.
    asker: Option<T>,
}

/// Somebody of ours who waits for the peer's handshake of the same pair.
struct Yielded<T> {
    pair: Pair,
    deadline: Instant,
    asker: T,
}

/// A session as its handshakes see it: who is at its two ends, and what ties a handshake to it.
pub struct Ends {
    /// This node.
    pub own: (NodeNumber, SpiffeId),
    /// The other one.
    pub peer: (NodeNumber, SpiffeId),
    /// The session's binding exporter.
    pub exporter: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ends")
            .field("own", &self.own)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// The pair handshakes inside one session. `T` stands for whoever asks for one.
pub struct Flights<T> {
    ends: Ends,
    bundles: Arc<dyn BundleSource>,
    limits: Limits,
    open: BTreeMap<Route, Flight<T>>,
    yielded: Vec<Yielded<T>>,
}

impl<T> fmt::Debug for Flights<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights")
            .field("ends", &self.ends)
            .field("open", &self.open.len())
            .field("yielded", &self.yielded.len())
            .finish_non_exhaustive()
    }
}

impl<T> Flights<T> {
    /// None yet.
    pub fn new(ends: Ends, bundles: Arc<dyn BundleSource>) -> Self {
        Self {
            ends,
            bundles,
            limits: Limits::default(),
            open: BTreeMap::new(),
            yielded: Vec::new(),
        }
    }

    /// Opens a handshake of ours, or joins the peer's of the same pair.
    pub fn start(
        &mut self,
        session: &mut Established,
        local: Arc<Credentials>,
        remote: SpiffeId,
        asker: T,
        now: Now,
    ) -> Effects<T> {
        let mut effects = Effects::default();
        let pair = Pair {
            local: local.id().clone(),
            remote,
        };
        if self.find(Opener::Peer, &pair).is_some() {
            self.yield_to_peer(pair, asker, now);
            return effects;
        }
        let Ok(route) = session.open() else {
            effects.answers.push((asker, Err(ProveError::Busy)));
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
                    asker: Some(asker),
                };
                self.open.insert(route, flight);
            }
            Err(error) => {
                session.close(route);
                effects.answers.push((asker, Err(error.into())));
            }
        }
        effects
    }

    /// Answers a handshake that the peer opens.
    pub fn on_open(
        &mut self,
        session: &mut Established,
        open: Open,
        workloads: &impl Answers,
        now: Now,
    ) -> Effects<T> {
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
                asker: Some(asker),
                ..
            }) = self.open.remove(&ours)
            {
                self.yield_to_peer(pair, asker, now);
            }
        }
        let peer = self.ends.peer.0;
        let accepted = workloads
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
                    asker: None,
                };
                self.open.insert(open.route, flight);
            }
            Err(error) => {
                session.close(open.route);
                effects.refuse(open.route, &pair, &error);
                self.fail(open.route, &pair, None, &error, &mut effects);
            }
        }
        effects
    }

    /// Takes the next step of a handshake.
    pub fn on_step(
        &mut self,
        session: &mut Established,
        route: Route,
        step: HandshakeStep,
        now: Now,
    ) -> Effects<T> {
        let mut effects = Effects::default();
        let Some(mut flight) = self.open.remove(&route) else {
            return effects;
        };
        let result = match (step, flight.stage) {
            (HandshakeStep::Abort(cause, detail), _) => {
                session.close(route);
                match flight.asker {
                    Some(asker) if cause == AbortCause::Yield => {
                        self.yield_to_peer(flight.pair, asker, now);
                    }
                    asker => {
                        let error = ProveError::Refused { cause, detail };
                        self.fail(route, &flight.pair, asker, &error, &mut effects);
                    }
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
                    self.deliver(proof, flight.asker, &mut effects);
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
                let error = ProveError::from(error);
                effects.refuse(route, &flight.pair, &error);
                self.fail(route, &flight.pair, flight.asker, &error, &mut effects);
            }
        }
        effects
    }

    /// Ends what is overdue.
    pub fn on_tick(&mut self, session: &mut Established, now: Now) -> Effects<T> {
        let mut effects = Effects::default();
        let late = |deadline: Instant| deadline <= now.clock;
        let overdue: Vec<(Route, Flight<T>)> = self
            .open
            .extract_if(.., |_, flight| late(flight.deadline))
            .collect();
        for (route, flight) in overdue {
            session.close(route);
            effects.messages.push(abort(route, AbortCause::Deadline, ""));
            self.fail(
                route,
                &flight.pair,
                flight.asker,
                &ProveError::Deadline,
                &mut effects,
            );
        }
        for waiting in self.yielded.extract_if(.., |waiting| late(waiting.deadline)) {
            effects.answers.push((waiting.asker, Err(ProveError::Deadline)));
        }
        effects
    }

    /// When [`Flights::on_tick`] has something to do next.
    pub fn deadline(&self) -> Option<Instant> {
        let flights = self.open.values().map(|flight| flight.deadline);
        flights
            .chain(self.yielded.iter().map(|waiting| waiting.deadline))
            .min()
    }

    /// How many are under way, and how many of ours wait for the peer's of the same pair.
    pub fn len(&self) -> (usize, usize) {
        (self.open.len(), self.yielded.len())
    }

    /// All of ours who still wait: the session is over.
    pub fn into_askers(self) -> Vec<T> {
        let open = self.open.into_values().filter_map(|flight| flight.asker);
        open.chain(self.yielded.into_iter().map(|waiting| waiting.asker))
            .collect()
    }

    fn deliver(&mut self, proof: Proof, asker: Option<T>, effects: &mut Effects<T>) {
        let waiting = |yielded: &mut Yielded<T>| {
            yielded.pair.local == *proof.local() && yielded.pair.remote == *proof.remote()
        };
        let yielded = self
            .yielded
            .extract_if(.., waiting)
            .map(|yielded| yielded.asker)
            .next();
        match asker.or(yielded) {
            Some(asker) => effects.answers.push((asker, Ok(proof))),
            None => effects.proofs.push(proof),
        }
    }

    /// A handshake ended without a proof: whoever asked for it is told, and whoever of ours has yielded to it.
    fn fail(
        &mut self,
        route: Route,
        pair: &Pair,
        asker: Option<T>,
        error: &ProveError,
        effects: &mut Effects<T>,
    ) {
        if let Some(asker) = asker {
            effects.answers.push((asker, Err(error.clone())));
        }
        if route.opener == Opener::Peer {
            for waiting in self.yielded.extract_if(.., |waiting| waiting.pair == *pair) {
                effects.answers.push((waiting.asker, Err(error.clone())));
            }
        }
    }

    fn yield_to_peer(&mut self, pair: Pair, asker: T, now: Now) {
        let deadline = now.clock + self.limits.deadline;
        self.yielded.push(Yielded {
            pair,
            deadline,
            asker,
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
        let exporter = *self.ends.exporter;
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
