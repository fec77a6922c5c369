//! What a received message asks the shell to do.

use std::net::IpAddr;
use std::time::Duration;

use crate::id::Route;
use crate::lease::{Group, LeaseAsk};
use crate::message::{AbortCause, Detail, Message, Offer, Open};

/// The effect of one received message.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing to do.
    Nothing,
    /// Send this back.
    Reply(Message),
    /// The peer opens a handshake; its route is taken until [`crate::Established::close`].
    Opened(Open),
    /// A handshake of ours or the peer's goes on.
    Handshake(Route, HandshakeStep),
    /// The peer says how to encrypt towards it.
    Offer(Offer),
    /// The peer can receive what we encrypt under our current offer of this epoch.
    Ready(u64),
    /// The peer has stopped encrypting towards us.
    Retire(u64),
    /// The peer asks what this node's addresses are: [`crate::Established::grant`] answers. Each question is to be answered.
    LeaseAsked(LeaseAsk),
    /// The peer has said what all its addresses are; what it said before is void.
    LeaseTable(Vec<Group>),
    /// The peer's addresses have changed.
    LeaseChange {
        /// Gone, before the added ones come.
        withdrawn: Vec<IpAddr>,
        /// New.
        added: Vec<Group>,
    },
    /// What the peer has said may be believed.
    LeaseGranted {
        /// When it was asked for, by the clock that [`crate::Established::ask`] was given.
        asked: u64,
        /// For so long, from then on; 0: the peer does not know itself.
        lasting: Duration,
    },
}

/// The next step of an open handshake.
#[derive(Debug, PartialEq, Eq)]
pub enum HandshakeStep {
    /// Inner TLS records.
    Records(Vec<u8>),
    /// The peer's confirmation.
    Confirm([u8; 32]),
    /// The peer gave up; the route is free.
    Abort(AbortCause, Detail),
}
