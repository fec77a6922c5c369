//! Connections between agents, as TCP and TLS give them: bytes in order, late, or not at all.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use signet_session::NodeNumber;

use crate::agenda::{Agenda, Event, nanos};
use crate::dice::Dice;

/// Which connection.
pub type ConnectionId = u64;

/// An end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Who has dialed.
    Dialer,
    /// Who was called.
    Listener,
}

impl Side {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Dialer => Self::Listener,
            Self::Listener => Self::Dialer,
        }
    }
}

/// A node's certificate, as far as sessions look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeSvid {
    /// Whose.
    pub node: NodeNumber,
    /// Its end, Unix seconds.
    pub not_after: u64,
}

/// What travels.
#[derive(Clone, Debug)]
enum Frame {
    Bytes(Vec<u8>),
    End,
}

/// What has come.
#[derive(Clone, Debug)]
pub enum Arrival {
    /// Bytes.
    Bytes(Vec<u8>),
    /// The other end has closed it, or the network has.
    End,
}

#[derive(Debug)]
struct End {
    node: NodeNumber,
    svid: Option<NodeSvid>,
    /// The process at this end has it open.
    is_open: bool,
    /// Nothing comes before TLS is there at this end.
    since: u64,
    /// On its way here.
    queue: VecDeque<(u64, Frame)>,
}

#[derive(Debug)]
struct Connection {
    dialer: End,
    listener: End,
    exporter: [u8; 32],
}

impl Connection {
    fn end(&mut self, side: Side) -> &mut End {
        match side {
            Side::Dialer => &mut self.dialer,
            Side::Listener => &mut self.listener,
        }
    }
}

/// How long a frame is under way.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    /// At least.
    pub least: Duration,
    /// At most, but for a few.
    pub most: Duration,
    /// How many of a hundred are late by up to a second more.
    pub late: u64,
}

/// All connections.
#[derive(Debug)]
pub struct Network {
    connections: BTreeMap<ConnectionId, Connection>,
    number: ConnectionId,
    cut: BTreeSet<(NodeNumber, NodeNumber)>,
    latency: Latency,
}

impl Network {
    /// A network without connections.
    pub fn new(latency: Latency) -> Self {
        Self {
            connections: BTreeMap::new(),
            number: 0,
            cut: BTreeSet::new(),
            latency,
        }
    }

    /// How many connections somebody has open.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// How long the next frame is under way.
    pub fn delay(&self, dice: &mut Dice) -> u64 {
        let late = if dice.chance(self.latency.late) {
            dice.between(0, 1_000_000_000)
        } else {
            0
        };
        dice.between(nanos(self.latency.least), nanos(self.latency.most)) + late
    }

    /// Whether nothing gets from one node to the other.
    pub fn is_cut(&self, a: NodeNumber, b: NodeNumber) -> bool {
        self.cut.contains(&(a.min(b), a.max(b)))
    }

    /// Nothing gets through between the two any more.
    pub fn cut(&mut self, a: NodeNumber, b: NodeNumber) {
        self.cut.insert((a.min(b), a.max(b)));
    }

    /// The two reach each other again; what waited arrives within a second or two, as TCP sends it again.
    pub fn mend(&mut self, a: NodeNumber, b: NodeNumber, agenda: &mut Agenda, dice: &mut Dice) {
        if !self.cut.remove(&(a.min(b), a.max(b))) {
            return;
        }
        for (id, connection) in &self.connections {
            let ends = [connection.dialer.node, connection.listener.node];
            if ends != [a, b] && ends != [b, a] {
                continue;
            }
            let at = agenda.now() + dice.between(0, 2_000_000_000);
            agenda.at(at, Event::Arrive(*id, Side::Dialer));
            agenda.at(at, Event::Arrive(*id, Side::Listener));
        }
    }

    /// Asks for a connection.
    pub fn dial(
        &mut self,
        svid: NodeSvid,
        to: NodeNumber,
        agenda: &mut Agenda,
        dice: &mut Dice,
    ) -> ConnectionId {
        self.number += 1;
        let id = self.number;
        let end = |node, svid| End {
            node,
            svid,
            is_open: false,
            since: 0,
            queue: VecDeque::new(),
        };
        let mut dialer = end(svid.node, Some(svid));
        dialer.is_open = true;
        self.connections.insert(
            id,
            Connection {
                dialer,
                listener: end(to, None),
                exporter: dice.bytes(),
            },
        );
        agenda.at(agenda.now() + self.delay(dice), Event::Syn(id));
        id
    }

    /// The called node takes it, and TLS begins.
    pub fn accept(&mut self, id: ConnectionId, svid: NodeSvid, agenda: &mut Agenda, dice: &mut Dice) {
        let (trips, last) = (2 * self.delay(dice), self.delay(dice));
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if !connection.dialer.is_open {
            self.connections.remove(&id);
            return;
        }
        connection.listener.svid = Some(svid);
        connection.listener.is_open = true;
        let at = agenda.now() + trips;
        agenda.at(at, Event::Connected(id, Side::Dialer));
        let last = at + last;
        connection.listener.since = last;
        agenda.at(last, Event::Connected(id, Side::Listener));
    }

    /// Nobody listens.
    pub fn refuse(&mut self, id: ConnectionId, agenda: &mut Agenda, dice: &mut Dice) {
        self.push(id, Side::Dialer, Frame::End, agenda, dice);
    }

    /// Who is at this end.
    pub fn node(&mut self, id: ConnectionId, side: Side) -> Option<NodeNumber> {
        Some(self.connections.get_mut(&id)?.end(side).node)
    }

    /// Whether the process at this end has it open.
    pub fn is_open(&mut self, id: ConnectionId, side: Side) -> bool {
        self.connections
            .get_mut(&id)
            .is_some_and(|connection| connection.end(side).is_open)
    }

    /// What this end has proven to be.
    pub fn svid(&mut self, id: ConnectionId, side: Side) -> Option<NodeSvid> {
        self.connections.get_mut(&id)?.end(side).svid
    }

    /// The binding exporter: the same at both ends, and of no other connection.
    pub fn exporter(&self, id: ConnectionId) -> Option<[u8; 32]> {
        Some(self.connections.get(&id)?.exporter)
    }

    /// Sends from this end; how many frames are on their way then.
    pub fn send(
        &mut self,
        id: ConnectionId,
        from: Side,
        bytes: Vec<u8>,
        agenda: &mut Agenda,
        dice: &mut Dice,
    ) -> usize {
        self.push(id, from.other(), Frame::Bytes(bytes), agenda, dice);
        self.connections.get(&id).map_or(0, |connection| match from {
            Side::Dialer => connection.listener.queue.len(),
            Side::Listener => connection.dialer.queue.len(),
        })
    }

    /// This end closes it, or its process has ended.
    pub fn close(&mut self, id: ConnectionId, side: Side, agenda: &mut Agenda, dice: &mut Dice) {
        if self.vanish(id, side) {
            self.push(id, side.other(), Frame::End, agenda, dice);
        }
    }

    /// This end has gone without a word.
    pub fn vanish(&mut self, id: ConnectionId, side: Side) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else {
            return false;
        };
        let end = connection.end(side);
        let was_open = std::mem::replace(&mut end.is_open, false);
        end.queue.clear();
        if !connection.dialer.is_open && !connection.listener.is_open {
            self.connections.remove(&id);
            return false;
        }
        was_open
    }

    /// All that one node has open.
    pub fn of(&self, node: NodeNumber) -> Vec<(ConnectionId, Side)> {
        let mut found = Vec::new();
        for (id, connection) in &self.connections {
            for (end, side) in [
                (&connection.dialer, Side::Dialer),
                (&connection.listener, Side::Listener),
            ] {
                if end.node == node && end.is_open {
                    found.push((*id, side));
                }
            }
        }
        found
    }

    /// The network breaks all connections between the two, at both ends.
    pub fn reset(&mut self, a: NodeNumber, b: NodeNumber, agenda: &mut Agenda, dice: &mut Dice) {
        let ids: Vec<ConnectionId> = self
            .connections
            .iter()
            .filter(|(_, connection)| {
                let ends = [connection.dialer.node, connection.listener.node];
                ends == [a, b] || ends == [b, a]
            })
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            for side in [Side::Dialer, Side::Listener] {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.end(side).queue.clear();
                }
                self.push(id, side, Frame::End, agenda, dice);
            }
        }
    }

    /// What has come to this end by now, in order. Whoever is not there any more says so.
    pub fn arrivals(
        &mut self,
        id: ConnectionId,
        to: Side,
        is_up: bool,
        agenda: &mut Agenda,
        dice: &mut Dice,
    ) -> Vec<Arrival> {
        let now = agenda.now();
        let Some(connection) = self.connections.get_mut(&id) else {
            return Vec::new();
        };
        let ends = (connection.dialer.node, connection.listener.node);
        if self.cut.contains(&(ends.0.min(ends.1), ends.0.max(ends.1))) {
            return Vec::new();
        }
        let end = connection.end(to);
        let is_open = end.is_open;
        let mut arrivals = Vec::new();
        while let Some((_, frame)) = end.queue.pop_front_if(|(due, _)| *due <= now) {
            arrivals.push(match frame {
                Frame::Bytes(bytes) => Arrival::Bytes(bytes),
                Frame::End => Arrival::End,
            });
        }
        if is_open {
            return arrivals;
        }
        let answers = is_up
            && arrivals
                .iter()
                .any(|arrival| matches!(arrival, Arrival::Bytes(_)));
        if answers {
            // A reset, for there is no such connection here.
            self.push(id, to.other(), Frame::End, agenda, dice);
        }
        Vec::new()
    }

    fn push(&mut self, id: ConnectionId, to: Side, frame: Frame, agenda: &mut Agenda, dice: &mut Dice) {
        let due = agenda.now() + self.delay(dice);
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let end = connection.end(to);
        // In order, whatever the delay.
        let due = end
            .queue
            .back()
            .map_or(due, |(last, _)| due.max(*last))
            .max(end.since);
        end.queue.push_back((due, frame));
        agenda.at(due, Event::Arrive(id, to));
    }
}
