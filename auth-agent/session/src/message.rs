//! What two agents say to each other, as types that are always valid.

use std::fmt;

use signet_spiffe::SpiffeId;

use crate::id::{Instance, NodeNumber, Route};
use crate::lease::{LeaseAsk, LeaseDelta, LeaseGrant, LeasePart};

/// One message of a node session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// First message of both sides.
    Hello(Hello),
    /// Asks for a [`Message::Pong`] with the same number.
    Ping(u64),
    /// Answer to [`Message::Ping`].
    Pong(u64),
    /// Opens a pair handshake.
    Open(Open),
    /// Inner TLS records.
    Records {
        /// Which handshake, seen from the side that holds this value.
        route: Route,
        /// The records; never empty.
        records: Vec<u8>,
    },
    /// The sender's inner handshake is complete and bound to this session.
    Confirm {
        /// Which handshake.
        route: Route,
        /// HMAC-SHA256.
        mac: [u8; 32],
    },
    /// Ends a handshake without a proof.
    Abort {
        /// Which handshake.
        route: Route,
        /// Why.
        cause: AbortCause,
        /// For people.
        detail: Detail,
    },
    /// How to send encrypted packets to the sender.
    Offer(Offer),
    /// The sender can receive what we encrypt; our offer's epoch.
    Ready(u64),
    /// The sender has stopped encrypting towards us; its own epoch.
    Retire(u64),
    /// Asks what the receiver's addresses are.
    LeaseAsk(LeaseAsk),
    /// A part of all the sender's addresses.
    LeasePart(LeasePart),
    /// What has changed of them.
    LeaseDelta(LeaseDelta),
    /// They may be believed.
    LeaseGrant(LeaseGrant),
}

/// Who the sender says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Lowest protocol version spoken.
    pub min_version: u32,
    /// Highest protocol version spoken; not below the lowest.
    pub max_version: u32,
    /// The sender's number.
    pub node: NodeNumber,
    /// The sender's start.
    pub instance: Instance,
}

/// A handshake's first message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// Which handshake.
    pub route: Route,
    /// The opener's workload: the inner TLS client.
    pub initiator: SpiffeId,
    /// The wanted workload: the inner TLS server.
    pub responder: SpiffeId,
    /// First inner TLS records; never empty.
    pub records: Vec<u8>,
}

/// How to send encrypted packets to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Goes up with every change of the sender's key.
    pub key_epoch: u64,
    /// `WireGuard` public key.
    pub public_key: [u8; 32],
    /// UDP port; never 0.
    pub port: u16,
}

/// Why a handshake ended without a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AbortCause {
    /// A cause that this version does not know.
    Unspecified,
    /// The wanted workload has no live endpoint on the node.
    NoEndpoint,
    /// The node has no SVID for the wanted workload.
    NoSvid,
    /// Too many handshakes at a time.
    Busy,
    /// The inner TLS handshake failed.
    Tls,
    /// The confirmation does not fit this session.
    Binding,
    /// It took too long.
    Deadline,
    /// The same pair is being proven in the other direction, which goes first.
    Yield,
    /// The node's view does not have one of the two identities.
    UnknownIdentity,
}

impl AbortCause {
    /// What users see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::NoEndpoint => "no endpoint",
            Self::NoSvid => "no SVID",
            Self::Busy => "busy",
            Self::Tls => "TLS",
            Self::Binding => "binding",
            Self::Deadline => "deadline",
            Self::Yield => "yield",
            Self::UnknownIdentity => "unknown identity",
        }
    }
}

/// Text from a peer or for one: at most 256 bytes, without control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detail(String);

impl Detail {
    /// Longest text, bytes.
    pub const MAX: usize = 256;

    /// Cuts `text` and replaces what a terminal would act on.
    pub fn new(text: &str) -> Self {
        let mut kept = String::new();
        for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
            if kept.len() + c.len_utf8() > Self::MAX {
                break;
            }
            kept.push(c);
        }
        Self(kept)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detail_is_cut_at_a_character_and_has_no_control_characters() {
        let detail = Detail::new(&format!("a\x1b[31m\n{}", "ü".repeat(300)));
        assert!(detail.as_str().len() <= Detail::MAX);
        assert!(!detail.as_str().chars().any(char::is_control));
    }
}
