//! What a received message asks the shell to do.

use crate::id::Route;
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
