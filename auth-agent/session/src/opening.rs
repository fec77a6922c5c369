//! The first message of both sides.

use std::time::Instant;

use crate::established::Established;
use crate::id::{Instance, NodeNumber};
use crate::limits::Limits;
use crate::message::{Hello, Message};

/// The newest protocol version that is spoken: with leases.
pub const VERSION: u32 = 2;
/// The oldest one. What a peer of version 1 proves could not pass, since it says nothing of its addresses.
pub const OLDEST_VERSION: u32 = 2;

/// Who we are.
#[derive(Clone, Copy, Debug)]
pub struct LocalNode {
    /// Our number.
    pub node: NodeNumber,
    /// This start of the agent.
    pub instance: Instance,
}

/// Who the peer proved to be.
#[derive(Clone, Copy, Debug)]
pub struct PeerNode {
    /// The number that the view has for the node name in the peer's certificate.
    pub node: NodeNumber,
}

/// Why a session did not come to be.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No common version.
    #[error(
        "peer speaks protocol versions {min} to {max}, this node {OLDEST_VERSION} to {VERSION}: upgrade signet-agent on the older one"
    )]
    Version {
        /// Peer's lowest.
        min: u32,
        /// Peer's highest.
        max: u32,
    },
    /// The peer's number does not fit its certificate.
    #[error("peer says that it is node {claimed}, its certificate belongs to node {certified}")]
    Identity {
        /// What it said.
        claimed: NodeNumber,
        /// What it proved.
        certified: NodeNumber,
    },
    /// Something else came first.
    #[error("peer's first message is not a hello")]
    NotHello,
    /// Too late.
    #[error("peer sent no hello in time")]
    Deadline,
    /// We talk to ourselves.
    #[error("the other end of the connection is this node itself")]
    Loop,
}

/// A session whose peer has not said hello yet.
#[derive(Debug)]
pub struct Opening {
    local: LocalNode,
    peer: PeerNode,
    limits: Limits,
    deadline: Instant,
}

impl Opening {
    /// Starts a session; the message is ours to send.
    pub fn new(local: LocalNode, peer: PeerNode, limits: Limits, now: Instant) -> (Self, Message) {
        let hello = Hello {
            min_version: OLDEST_VERSION,
            max_version: VERSION,
            node: local.node,
            instance: local.instance,
        };
        (
            Self {
                local,
                peer,
                limits,
                deadline: now + limits.hello,
            },
            Message::Hello(hello),
        )
    }

    /// When the peer's hello must be here.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Judges the peer's first message.
    pub fn on_message(self, message: &Message, now: Instant) -> Result<Established, OpenError> {
        if now >= self.deadline {
            return Err(OpenError::Deadline);
        }
        let Message::Hello(hello) = message else {
            return Err(OpenError::NotHello);
        };
        let version = hello.max_version.min(VERSION);
        if version < hello.min_version.max(OLDEST_VERSION) {
            return Err(OpenError::Version {
                min: hello.min_version,
                max: hello.max_version,
            });
        }
        if hello.node != self.peer.node {
            return Err(OpenError::Identity {
                claimed: hello.node,
                certified: self.peer.node,
            });
        }
        if hello.node == self.local.node || hello.instance == self.local.instance {
            return Err(OpenError::Loop);
        }
        let peer = (hello.node, hello.instance);
        Ok(Established::new(peer, version, self.limits, now))
    }
}
