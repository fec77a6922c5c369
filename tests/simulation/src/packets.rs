//! Packets of workloads: who sends them, and what becomes of them where they arrive.

use std::net::IpAddr;
use std::time::Duration;

use signet_abi::{AuthKey, NodeId, ParkingTicket, ticket_flags};
use signet_session::NodeNumber;

use crate::agenda::Event;
use crate::frames::{park, read, read_told};
use crate::kernel::{Packet, Verdict};
use crate::ledger::Held;
use crate::pairs::Signal;
use crate::rules::Rule;
use crate::truth::Passed;
use crate::world::World;

/// From a kernel program to the agent: through the ring of signals, and through the parking device, which keeps the order.
const RING: Duration = Duration::from_micros(100);
const DEVICE: Duration = Duration::from_micros(300);

impl World {
    /// A workload sends a packet to another one.
    pub fn send(&mut self, source: IpAddr, destination: IpAddr) {
        let owner = |address| self.truth.owner(address).map(|(on, _)| *on);
        let (Some(from), Some(to)) = (owner(source), owner(destination)) else {
            return;
        };
        let is_dark = |on: &NodeNumber| self.hosts.get(on).is_none_or(|host| host.dark > 0);
        if is_dark(&from) || is_dark(&to) || from != to && self.network.is_cut(from, to) {
            return;
        }
        let at = self.now() + self.network.delay(&mut self.dice);
        let packet = Packet {
            source,
            destination,
            from,
            interface: self.truth.interface(source),
            number: self.packets,
        };
        self.packets += 1;
        self.agenda.at(at, Event::Packet(packet, to));
    }

    pub(crate) fn talk(&mut self) {
        let Some(pause) = self.setup.talk else { return };
        self.agenda.after(pause, Event::Talk);
        let addresses: Vec<IpAddr> = self.truth.addresses().map(|(address, _)| address).collect();
        let hot: Vec<IpAddr> = self.hot.iter().copied().collect();
        let sources = if self.dice.chance(30) { &hot } else { &addresses };
        let source = self.dice.pick(sources).copied();
        let destination = self.dice.pick(&addresses).copied();
        if let (Some(source), Some(destination)) = (source, destination)
            && source != destination
        {
            self.send(source, destination);
        }
    }

    /// What a packet meets at its destination's node. `waited`: it was parked there before.
    pub(crate) fn judge(&mut self, on: NodeNumber, packet: Packet, waited: bool) -> (AuthKey, Verdict) {
        let at = self.now();
        let Some(host) = self.hosts.get_mut(&on).filter(|host| host.dark == 0) else {
            return (AuthKey::default(), Verdict::Unknown);
        };
        let (own, boot) = (NodeId(on.get()), host.clocks.boot(at));
        let (key, verdict) = host.kernel.judge(&packet, own, boot);
        match verdict {
            Verdict::Passes | Verdict::Open => {
                let open = verdict == Verdict::Open;
                match (waited, open) {
                    (true, _) => self.counts.released += 1,
                    (false, true) => self.counts.open += 1,
                    (false, false) => self.counts.passed += 1,
                }
                if !open {
                    host.kernel.used.insert(key);
                }
                self.passed.insert((packet.source, packet.destination), at);
                if !host.banned && !host.lies {
                    self.truth.passed(&Passed {
                        at,
                        node: on,
                        view: host.agent.as_ref().map(|agent| &*agent.estate.view),
                        key,
                        source: packet.source,
                        open,
                    });
                }
            }
            Verdict::LacksProof => {
                self.counts.unproven += 1;
                if host.kernel.signals(key, boot) {
                    self.agenda.after(RING, Event::Signal(on, key, Signal::Proof));
                }
                // Where nobody reads the device, it waits for nothing.
                if !waited && host.agent.is_some() {
                    let tell = host.kernel.rules.of(key.remote, key.local) == Rule::Rejecting;
                    let held = Held {
                        key,
                        ends: [packet.source, packet.destination],
                        bytes: park(&packet, &key, host.kernel.secret, tell).len(),
                        at,
                        tell,
                    };
                    self.counts.parked += 1;
                    self.truth.parked(on, packet.number, held);
                    self.agenda.after(DEVICE, Event::Parked(on, packet, key, tell));
                }
            }
            Verdict::LacksLease => {
                self.counts.unleased += 1;
                if host.kernel.signals(key, boot) {
                    self.agenda.after(RING, Event::Signal(on, key, Signal::Lease));
                }
            }
            Verdict::Denied => self.counts.denied += 1,
            Verdict::Unknown => {}
        }
        (key, verdict)
    }

    /// A packet comes out of the parking device. What was in it when an agent died has gone with that one.
    pub(crate) fn park(&mut self, on: NodeNumber, packet: Packet, key: AuthKey, tell: bool) {
        if !self.truth.ledger().holds(on, packet.number) {
            return;
        }
        let Some(secret) = self.hosts.get(&on).map(|host| host.kernel.secret) else {
            return;
        };
        let frame = park(&packet, &key, secret, tell);
        self.with(on, |agent, context| agent.on_frame(frame, context));
    }

    /// What an agent writes into the device: a packet, which is judged from the start, or what a sender is told.
    pub(crate) fn give_back(&mut self, on: NodeNumber, frame: &[u8]) {
        let secret = self.hosts.get(&on).map(|host| host.kernel.secret);
        let ticket = ParkingTicket::read(frame).filter(|ticket| Some(ticket.secret) == secret);
        let Some(ticket) = ticket else {
            return self
                .truth
                .violated(format!("node {on} gives back what was never parked"));
        };
        if ticket.flags & ticket_flags::REFUSAL != 0 {
            self.answer(on, frame);
        } else if let Some(packet) = read(frame) {
            let (key, verdict) = self.judge(on, packet, true);
            self.truth.returned(on, packet.number, key, verdict);
        }
    }

    /// A sender is told that it is refused, in the name of the one who was to have the packet.
    fn answer(&mut self, on: NodeNumber, frame: &[u8]) {
        self.counts.told += 1;
        let Some(told) = read_told(frame) else {
            return self
                .truth
                .violated(format!("what node {on} tells a sender is no answer"));
        };
        self.truth.told(on, &told);
    }
}
