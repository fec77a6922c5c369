//! Numbers that name nodes, starts of an agent, and handshakes within a session.

use std::fmt;
use std::num::NonZeroU32;

/// A node's number, from 1, as the CA handed it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeNumber(NonZeroU32);

impl NodeNumber {
    /// The number, or nothing for 0, which says "no node".
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// As an integer.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for NodeNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which life of a node's kernel: with each one ends what that kernel believed of addresses and pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Boot(pub [u8; 8]);

/// Chosen anew at every start of an agent: tells a restarted peer from one that only reconnects. Begins with the [`Boot`]; the
/// rest is random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Instance(pub [u8; 16]);

impl Instance {
    /// A start of an agent in this life of the kernel.
    pub fn new(boot: Boot, start: [u8; 8]) -> Self {
        let mut bytes = [0; 16];
        let (first, second) = bytes.split_at_mut(8);
        first.copy_from_slice(&boot.0);
        second.copy_from_slice(&start);
        Self(bytes)
    }

    /// Which life of its kernel the agent is in.
    pub fn boot(self) -> Boot {
        let mut boot = [0; 8];
        boot.copy_from_slice(&self.0[..8]);
        Boot(boot)
    }
}

/// A handshake's number, chosen by its opener, only ever growing within a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HandshakeId(pub u64);

/// Which side of the session opened a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Opener {
    /// This node: we are the inner TLS client.
    Us,
    /// The peer: we are the inner TLS server.
    Peer,
}

/// Names one handshake within a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route {
    /// Who opened it.
    pub opener: Opener,
    /// The opener's number for it.
    pub id: HandshakeId,
}
