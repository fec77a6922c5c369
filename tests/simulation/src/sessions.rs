//! An agent's node sessions: dialed, taken, kept, lost. What `sessions/` of the daemon does with tasks and sockets.

use signet_abi::AuthKey;
use signet_pairs::{Effects, Ends, Flights};
use signet_session::{
    Contender, Decoder, Dialer, Established, Event, Instance, Keep, Limits, LocalNode, Message, NodeNumber,
    Opening, PeerNode, Redial, encode, keep,
};
use zeroize::Zeroizing;

use crate::agenda::nanos;
use crate::agent::{Agent, apply};
use crate::context::{Clocks, Context, SECOND};
use crate::names::node_id;
use crate::network::{Arrival, ConnectionId, Side};

/// For TCP and TLS.
const TLS: u64 = 5 * SECOND;
/// Frames that wait to be written.
const OUTGOING: usize = 512;

/// A connection without a session.
#[derive(Debug)]
pub(crate) struct Coming {
    side: Side,
    opening: Opening,
    decoder: Decoder,
    peer: NodeNumber,
    not_after: u64,
}

/// A session.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) connection: ConnectionId,
    side: Side,
    pub(crate) instance: Instance,
    generation: u64,
    pub(crate) session: Established,
    pub(crate) flights: Flights<AuthKey>,
    pub(crate) talk: signet_lease::Talk,
    decoder: Decoder,
    not_after: u64,
}

impl Live {
    /// When it has something to do next, simulated ns.
    fn due(&self, clocks: &Clocks) -> u64 {
        let parts = [self.session.deadline(), self.talk.deadline()].into_iter();
        let parts = parts.chain(self.flights.deadline());
        let first = parts.map(|deadline| clocks.at(deadline)).min();
        first.unwrap_or(u64::MAX).min(clocks.at_unix(self.not_after))
    }

    fn contender(&self) -> Contender {
        Contender {
            dialer: match self.side {
                Side::Dialer => Dialer::Us,
                Side::Listener => Dialer::Peer,
            },
            instance: self.instance,
        }
    }
}

/// How dialing stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Dialing {
    #[default]
    Idle,
    /// The last session was short: not before then.
    Paused(u64),
    /// Until then.
    Under(ConnectionId, u64),
    /// The last attempt failed: not before then.
    Backoff(u64),
}

/// Another node.
#[derive(Debug, Default)]
pub(crate) struct Peer {
    pub(crate) up: Option<Live>,
    pub(crate) dialing: Dialing,
    redial: Redial,
    pub(crate) demand: bool,
}

impl Agent {
    /// With whom there is a session, and over which connection.
    pub fn sessions(&self) -> impl Iterator<Item = (NodeNumber, ConnectionId)> {
        self.peers
            .iter()
            .filter_map(|(peer, state)| Some((*peer, state.up.as_ref()?.connection)))
    }

    /// The connection of the session with a node.
    pub fn session(&self, peer: NodeNumber) -> Option<ConnectionId> {
        Some(self.peers.get(&peer)?.up.as_ref()?.connection)
    }

    /// Somebody needs a session with the node.
    pub(crate) fn demand(&mut self, peer: NodeNumber, context: &mut Context<'_>) {
        if !self.estate.view.nodes.contains(&peer) {
            return;
        }
        let state = self.peers.entry(peer).or_default();
        if state.up.is_none() {
            state.demand = true;
            self.dial(peer, context);
        }
    }

    fn dial(&mut self, peer: NodeNumber, context: &mut Context<'_>) {
        let (own, at) = (self.own, context.at());
        let svid = self.estate.svid;
        let Some(state) = self.peers.get_mut(&peer) else {
            return;
        };
        if state.dialing != Dialing::Idle || !state.demand || state.up.is_some() {
            return;
        }
        state.demand = false;
        debug_assert_ne!(own, peer, "nobody dials itself");
        let pause = state.redial.wanted(context.now().clock, context.dice.roll());
        state.dialing = if pause.is_zero() {
            let id = context.network.dial(svid, peer, context.agenda, context.dice);
            Dialing::Under(id, at + TLS)
        } else {
            Dialing::Paused(at + nanos(pause))
        };
    }

    /// TLS is there at this end.
    pub fn on_connected(&mut self, id: ConnectionId, side: Side, context: &mut Context<'_>) {
        let svid = context.network.svid(id, side.other());
        let Some(svid) = svid.filter(|_| context.network.is_open(id, side)) else {
            return;
        };
        let now = context.now();
        let is_member = self.estate.view.nodes.contains(&svid.node);
        if !is_member || now.unix.as_secs() >= svid.not_after.min(self.estate.svid.not_after) {
            context.network.close(id, side, context.agenda, context.dice);
            self.dial_failed(id, context);
            return;
        }
        context.traffic.sessions += 1;
        let local = LocalNode {
            node: self.own,
            instance: self.instance,
        };
        let peer = PeerNode { node: svid.node };
        let (opening, hello) = Opening::new(local, peer, Limits::default(), now.clock);
        if let Dialing::Under(dialed, until) = &mut self.peers.entry(svid.node).or_default().dialing
            && *dialed == id
        {
            *until = context.clocks.at(opening.deadline());
        }
        self.coming.insert(
            id,
            Coming {
                side,
                opening,
                decoder: Decoder::default(),
                peer: svid.node,
                not_after: svid.not_after.min(self.estate.svid.not_after),
            },
        );
        let _ = send(id, side, &hello, context);
    }

    /// Something has come over a connection.
    pub fn on_arrival(&mut self, id: ConnectionId, arrival: Arrival, context: &mut Context<'_>) {
        let bytes = match arrival {
            Arrival::Bytes(bytes) => bytes,
            Arrival::End => return self.on_end(id, context),
        };
        if let Some(mut coming) = self.coming.remove(&id) {
            coming.decoder.push(&bytes);
            self.on_hello(id, coming, context);
        } else if let Some(peer) = self.over(id) {
            if let Some(live) = self.live(peer) {
                live.decoder.push(&bytes);
            }
            self.drain(peer, id, context);
        }
    }

    fn on_hello(&mut self, id: ConnectionId, mut coming: Coming, context: &mut Context<'_>) {
        let message = match coming.decoder.next_message() {
            Ok(Some(message)) => message,
            Ok(None) => {
                self.coming.insert(id, coming);
                return;
            }
            Err(error) => return self.refuse(id, coming.side, &error.to_string(), context),
        };
        let Coming {
            side,
            opening,
            decoder,
            peer,
            not_after,
        } = coming;
        let session = match opening.on_message(&message, context.now().clock) {
            Ok(session) => session,
            Err(error) => return self.refuse(id, side, &error.to_string(), context),
        };
        let Some(exporter) = context.network.exporter(id) else {
            return;
        };
        self.generation += 1;
        let ends = Ends {
            own: (self.own, node_id(self.own)),
            peer: (peer, node_id(peer)),
            exporter: Zeroizing::new(exporter),
        };
        let live = Live {
            connection: id,
            side,
            instance: session.peer_instance(),
            generation: self.generation,
            session,
            flights: Flights::new(ends, self.bundles.clone()),
            talk: signet_lease::Talk::new(context.now().clock),
            decoder,
            not_after,
        };
        self.install(peer, live, context);
    }

    /// One of two sessions lives on.
    fn install(&mut self, peer: NodeNumber, live: Live, context: &mut Context<'_>) {
        let own = self.own;
        let now = context.now().clock;
        let id = live.connection;
        let state = self.peers.entry(peer).or_default();
        let dialed = matches!(state.dialing, Dialing::Under(dialing, _) if dialing == id);
        if dialed {
            state.dialing = Dialing::Idle;
            state.redial.opened(now);
        }
        if let Some(existing) = &state.up {
            match keep(own, peer, existing.contender(), live.contender()) {
                Keep::Existing => {
                    context.network.close(id, live.side, context.agenda, context.dice);
                    return;
                }
                Keep::New => self.end(peer, "replaced", context),
            }
        }
        let state = self.peers.entry(peer).or_default();
        state.demand = false;
        if matches!(state.dialing, Dialing::Paused(_) | Dialing::Backoff(_)) {
            state.dialing = Dialing::Idle;
        }
        let (generation, boot) = (live.generation, live.instance.boot());
        state.up = Some(live);
        self.book.open(peer, generation);
        let before = self.met.insert(peer, boot);
        if before.is_some_and(|before| before != boot) {
            let effects = self
                .book
                .rebooted((peer, generation), &*self.estate.view, context.boot());
            apply(&effects, context);
            self.void(peer, context);
        }
        self.tick_session(peer, context);
        self.drain(peer, id, context);
        self.fly(peer, context);
    }

    fn drain(&mut self, peer: NodeNumber, id: ConnectionId, context: &mut Context<'_>) {
        loop {
            let Some(live) = self.live(peer).filter(|live| live.connection == id) else {
                return;
            };
            let outcome = match live.decoder.next_message() {
                Ok(Some(message)) => self.on_message(peer, message, context),
                Ok(None) => return,
                Err(error) => Err(error.to_string()),
            };
            if let Err(reason) = outcome {
                context.truth.broken(self.own, peer, &reason);
                return self.end(peer, &reason, context);
            }
        }
    }

    fn on_message(
        &mut self,
        peer: NodeNumber,
        message: Message,
        context: &mut Context<'_>,
    ) -> Result<(), String> {
        let Some(mut live) = self.peers.get_mut(&peer).and_then(|state| state.up.take()) else {
            return Ok(());
        };
        let outcome = self.step(peer, &mut live, message, context);
        if let Some(state) = self.peers.get_mut(&peer) {
            state.up = Some(live);
        }
        let (messages, effects) = outcome?;
        self.send_all(peer, &messages, context)?;
        self.on_flights(peer, effects, context)?;
        self.on_leases(context);
        Ok(())
    }

    /// What a message asks for.
    fn step(
        &mut self,
        peer: NodeNumber,
        live: &mut Live,
        message: Message,
        context: &mut Context<'_>,
    ) -> Result<(Vec<Message>, Effects<AuthKey>), String> {
        let (now, boot, moment) = (context.now(), context.boot(), context.moment());
        let from = (peer, live.generation);
        let view = self.estate.view.clone();
        let mut answer = (Vec::new(), Effects::default());
        match live.session.on_message(message, now.clock).map_err(text)? {
            Event::Nothing | Event::Offer(_) | Event::Ready(_) | Event::Retire(_) => {}
            Event::Reply(message) => answer.0.push(message),
            Event::Opened(open) => {
                answer.1 = live.flights.on_open(&mut live.session, open, &self.local(), now);
            }
            Event::Handshake(route, step) => {
                answer.1 = live.flights.on_step(&mut live.session, route, step, now);
            }
            Event::LeaseAsked(ask) => {
                let lasting = self.lasting(boot);
                let claims = self.claims.as_ref();
                answer.0 = live
                    .talk
                    .on_ask(&mut live.session, &ask, claims, lasting, now.clock);
            }
            Event::LeaseTable(groups) => {
                let effects = self.book.table(from, groups, &*view, boot).map_err(text)?;
                apply(&effects, context);
            }
            Event::LeaseChange { withdrawn, added } => {
                let effects = self.book.change(from, &withdrawn, added, &*view, boot);
                apply(&effects.map_err(text)?, context);
            }
            Event::LeaseGranted { asked, lasting } => {
                if let Some(not_after) = live.talk.on_grant(asked, lasting, moment) {
                    let effects = self.book.grant(from, not_after, &*view, boot).map_err(text)?;
                    apply(&effects, context);
                }
            }
        }
        Ok(answer)
    }

    /// Sends to a node with which there is a session.
    pub(crate) fn send_all(
        &mut self,
        peer: NodeNumber,
        messages: &[Message],
        context: &mut Context<'_>,
    ) -> Result<(), String> {
        let Some(live) = self.live(peer) else {
            return Ok(());
        };
        let (id, side) = (live.connection, live.side);
        messages
            .iter()
            .try_for_each(|message| send(id, side, message, context))
    }

    /// The other end has gone.
    fn on_end(&mut self, id: ConnectionId, context: &mut Context<'_>) {
        if let Some(coming) = self.coming.remove(&id) {
            return self.refuse(id, coming.side, "closed", context);
        }
        if let Some(peer) = self.over(id) {
            return self.end(peer, "closed by the peer", context);
        }
        self.dial_failed(id, context);
        for side in [Side::Dialer, Side::Listener] {
            if context.network.node(id, side) == Some(self.own) {
                context.network.vanish(id, side);
            }
        }
    }

    fn refuse(&mut self, id: ConnectionId, side: Side, _reason: &str, context: &mut Context<'_>) {
        context.network.close(id, side, context.agenda, context.dice);
        self.dial_failed(id, context);
    }

    fn dial_failed(&mut self, id: ConnectionId, context: &mut Context<'_>) {
        let dialed = |state: &Peer| matches!(state.dialing, Dialing::Under(dialing, _) if dialing == id);
        let Some(peer) = self
            .peers
            .iter()
            .find(|(_, state)| dialed(state))
            .map(|(peer, _)| *peer)
        else {
            return;
        };
        let (at, random) = (context.at(), context.dice.roll());
        if let Some(state) = self.peers.get_mut(&peer) {
            state.dialing = Dialing::Backoff(at + nanos(state.redial.failed(random)));
        }
        self.no_session(peer, context);
    }

    /// Ends the session with a node.
    pub(crate) fn end(&mut self, peer: NodeNumber, _reason: &str, context: &mut Context<'_>) {
        let Some(live) = self.peers.get_mut(&peer).and_then(|state| state.up.take()) else {
            return;
        };
        context
            .network
            .close(live.connection, live.side, context.agenda, context.dice);
        for key in live.flights.into_askers() {
            self.lost(key, context);
        }
        if self.kept.contains(&peer) {
            self.demand(peer, context);
        }
    }

    /// The node has left the view.
    pub(crate) fn forget(&mut self, peer: NodeNumber, context: &mut Context<'_>) {
        self.kept.remove(&peer);
        self.end(peer, "the node has left the view", context);
        if let Some(Dialing::Under(id, _)) = self.peers.remove(&peer).map(|state| state.dialing) {
            context
                .network
                .close(id, Side::Dialer, context.agenda, context.dice);
        }
    }

    /// What the time asks of sessions.
    pub(crate) fn tick_sessions(&mut self, context: &mut Context<'_>) {
        let at = context.at();
        let late: Vec<ConnectionId> = self
            .coming
            .iter()
            .filter(|(_, coming)| context.clocks.at(coming.opening.deadline()) <= at)
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            if let Some(coming) = self.coming.remove(&id) {
                self.refuse(id, coming.side, "no hello", context);
            }
        }
        let peers: Vec<NodeNumber> = self.peers.keys().copied().collect();
        for peer in peers {
            self.tick_dialing(peer, context);
            self.tick_session(peer, context);
        }
    }

    fn tick_dialing(&mut self, peer: NodeNumber, context: &mut Context<'_>) {
        let at = context.at();
        let kept = self.kept.contains(&peer);
        let Some(state) = self.peers.get_mut(&peer) else {
            return;
        };
        match state.dialing {
            Dialing::Paused(until) if until <= at => {
                state.dialing = Dialing::Idle;
                if state.up.is_none() {
                    let id = context
                        .network
                        .dial(self.estate.svid, peer, context.agenda, context.dice);
                    state.dialing = Dialing::Under(id, at + TLS);
                }
            }
            Dialing::Backoff(until) if until <= at => {
                state.dialing = Dialing::Idle;
                state.demand |= kept && state.up.is_none();
                self.dial(peer, context);
            }
            Dialing::Under(id, until) if until <= at => {
                self.coming.remove(&id);
                context
                    .network
                    .close(id, Side::Dialer, context.agenda, context.dice);
                self.dial_failed(id, context);
            }
            Dialing::Idle => self.dial(peer, context),
            Dialing::Paused(_) | Dialing::Backoff(_) | Dialing::Under(..) => {}
        }
    }

    fn tick_session(&mut self, peer: NodeNumber, context: &mut Context<'_>) {
        let due = self.live(peer).map(|live| live.due(&context.clocks));
        if due.is_none_or(|due| due > context.at()) {
            return;
        }
        let now = context.now();
        let moment = context.moment();
        let claims = self.claims.clone();
        let digest = self.book.digest(peer);
        let Some(live) = self.live(peer) else {
            return;
        };
        if now.unix.as_secs() >= live.not_after {
            return self.end(peer, "an SVID has expired", context);
        }
        let mut messages = Vec::new();
        match live.session.on_tick(now.clock) {
            Ok(ping) => messages.extend(ping),
            Err(error) => return self.end(peer, &error.to_string(), context),
        }
        messages.extend(
            live.talk
                .on_tick(&mut live.session, claims.as_ref(), || digest, moment),
        );
        let effects = live.flights.on_tick(&mut live.session, now);
        let done = self
            .send_all(peer, &messages, context)
            .and_then(|()| self.on_flights(peer, effects, context));
        if let Err(reason) = done {
            self.end(peer, &reason, context);
        }
    }

    /// When there is something to do next for sessions.
    pub(crate) fn sessions_due(&self, context: &Context<'_>) -> u64 {
        let at = |instant| context.clocks.at(instant);
        let coming = self.coming.values().map(|coming| at(coming.opening.deadline()));
        let mut due = coming.min().unwrap_or(u64::MAX);
        for state in self.peers.values() {
            match state.dialing {
                Dialing::Idle => {}
                Dialing::Paused(until) | Dialing::Under(_, until) | Dialing::Backoff(until) => {
                    due = due.min(until);
                }
            }
            due = due.min(
                state
                    .up
                    .as_ref()
                    .map_or(u64::MAX, |live| live.due(&context.clocks)),
            );
        }
        due
    }

    /// The process ends: its connections with it. Who has asked for a handshake hears nothing.
    pub fn stop(self, context: &mut Context<'_>) -> crate::agent::Estate {
        for (id, side) in context.network.of(self.own) {
            context.network.close(id, side, context.agenda, context.dice);
        }
        self.estate
    }

    /// Connections that are there and carry no session yet.
    pub fn half_open(&self) -> usize {
        self.coming.len()
    }

    pub(crate) fn live(&mut self, peer: NodeNumber) -> Option<&mut Live> {
        self.peers.get_mut(&peer)?.up.as_mut()
    }

    fn over(&self, id: ConnectionId) -> Option<NodeNumber> {
        self.sessions()
            .find(|(_, over)| *over == id)
            .map(|(peer, _)| peer)
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn send(id: ConnectionId, side: Side, message: &Message, context: &mut Context<'_>) -> Result<(), String> {
    let bytes = encode(message).map_err(|error| error.to_string())?;
    context.traffic.messages += 1;
    context.traffic.bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let waiting = context
        .network
        .send(id, side, bytes, context.agenda, context.dice);
    if waiting > OUTGOING {
        return Err("the peer does not read".to_owned());
    }
    Ok(())
}
