//! What happens when: the simulated time.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use signet_abi::AuthKey;
use signet_session::NodeNumber;

use crate::kernel::Packet;
use crate::network::{ConnectionId, Side};
use crate::pairs::Signal;

/// Something that is to happen.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// An agent has something to do.
    Wake(NodeNumber),
    /// A connection is asked for at the other end.
    Syn(ConnectionId),
    /// A connection is there, TLS included.
    Connected(ConnectionId, Side),
    /// Something may have come over a connection.
    Arrive(ConnectionId, Side),
    /// The CA's latest view comes to a node.
    View(NodeNumber),
    /// The CA gives a node's agent the SVIDs that it lacks.
    Issue(NodeNumber),
    /// signet-meshd tells a node's agent of its endpoints.
    Endpoints(NodeNumber),
    /// A node's control plane tells it where an address is now.
    Ipcache(NodeNumber, IpAddr),
    /// Two workloads talk.
    Talk,
    /// A packet arrives at this node, which was its receiver's when it was sent.
    Packet(Packet, NodeNumber),
    /// A node's agent reads a signal of the kernel's.
    Signal(NodeNumber, AuthKey, Signal),
    /// The packet comes out of a node's parking device, to wait for this proof, and says whether its sender is to be told.
    Parked(NodeNumber, Packet, AuthKey, bool),
    /// A node's signet-meshd has read the policies.
    Rules(NodeNumber),
    /// The fault with this number happens.
    Fault(usize),
    /// What the fault with this number did is over.
    Over(usize),
}

/// All that is to happen, in order.
#[derive(Debug, Default)]
pub struct Agenda {
    events: BTreeMap<(u64, u64), Event>,
    number: u64,
    now: u64,
}

impl Agenda {
    /// Simulated time since the start, ns.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Something happens at this instant, or now if that is past.
    pub fn at(&mut self, at: u64, event: Event) {
        self.number += 1;
        self.events.insert((at.max(self.now), self.number), event);
    }

    /// Something happens after this time.
    pub fn after(&mut self, time: Duration, event: Event) {
        self.at(self.now + nanos(time), event);
    }

    /// What happens next, at `until` or before it. The time is then that of the event, or `until`.
    pub fn next(&mut self, until: u64) -> Option<Event> {
        let due = self.events.first_entry().filter(|entry| entry.key().0 <= until);
        let Some(entry) = due else {
            self.now = self.now.max(until);
            return None;
        };
        let ((at, _), event) = entry.remove_entry();
        self.now = at;
        Some(event)
    }
}

/// A time in ns.
pub fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
