//! Packets of workloads: who sends them, and what becomes of them where they arrive.

use std::net::{IpAddr, Ipv4Addr};

use signet_abi::NodeId;
use signet_session::NodeNumber;

use crate::agenda::Event;
use crate::kernel::{Packet, Verdict};
use crate::pairs::Signal;
use crate::truth::Passed;
use crate::world::World;

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
        };
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
    pub(crate) fn judge(&mut self, on: NodeNumber, packet: Packet, waited: bool) {
        let at = self.now();
        let Packet {
            source, destination, ..
        } = packet;
        let Some(host) = self.hosts.get_mut(&on).filter(|host| host.dark == 0) else {
            return;
        };
        let (own, boot) = (NodeId(on.get()), host.clocks.boot(at));
        let (key, verdict) = host.kernel.judge(&packet, own, boot);
        match verdict {
            Verdict::Passes => {
                if waited {
                    self.counts.released += 1;
                } else {
                    self.counts.passed += 1;
                }
                self.passed.insert((source, destination), at);
                if !host.banned && !host.lies {
                    self.truth.passed(&Passed {
                        at,
                        node: on,
                        unix: host.clocks.now(at).unix,
                        view: host.agent.as_ref().map(|agent| &*agent.estate.view),
                        key,
                        source,
                    });
                }
            }
            Verdict::LacksProof => {
                self.counts.unproven += 1;
                let signal = host.kernel.signals(key, boot).then_some(Signal::Proof);
                let parked = (!waited).then(|| (key.remote, write(&packet)));
                self.with(on, |agent, context| agent.on_packet(key, parked, signal, context));
            }
            Verdict::LacksLease => {
                self.counts.unleased += 1;
                let signal = host.kernel.signals(key, boot).then_some(Signal::Lease);
                self.with(on, |agent, context| agent.on_packet(key, None, signal, context));
            }
            Verdict::Unknown => {}
        }
    }

    /// What an agent has given back is judged from the start.
    pub(crate) fn give_back(&mut self, on: NodeNumber, frame: &[u8]) {
        if let Some(packet) = read(frame) {
            self.judge(on, packet, true);
        }
    }
}

/// A packet as the parking lot has it.
fn write(packet: &Packet) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(20);
    for address in [packet.source, packet.destination] {
        if let IpAddr::V4(address) = address {
            bytes.extend(address.octets());
        }
    }
    bytes.extend(packet.from.get().to_be_bytes());
    bytes.extend(packet.interface.to_be_bytes());
    bytes
}

fn read(bytes: &[u8]) -> Option<Packet> {
    let (source, rest) = bytes.split_first_chunk::<4>()?;
    let (destination, rest) = rest.split_first_chunk::<4>()?;
    let (from, rest) = rest.split_first_chunk::<4>()?;
    Some(Packet {
        source: Ipv4Addr::from(*source).into(),
        destination: Ipv4Addr::from(*destination).into(),
        from: NodeNumber::new(u32::from_be_bytes(*from))?,
        interface: u64::from_be_bytes(*rest.first_chunk::<8>()?),
    })
}
