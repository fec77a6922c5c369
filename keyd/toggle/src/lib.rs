//! The order in which a peer's encryption is switched, as a state machine.
//!
//! Turning encryption on must lose no established connection, and turning it off neither. Per peer, that is:
//!
//! ```text
//!            install            ready               key changed
//!      Off ──────────▶ Receiving ─────▶ Sending ◀─────────────── ▶ Rekeying
//!       ▲                │   ▲            │             ready         ▲
//!       │     remove     │   └────────────┘                           │ install
//!       └────────────────┘        stop                   found ─▶ Held ┘
//! ```
//!
//! - *Receiving*: the peer is in our device, so we can decrypt what it sends; ours still goes out in plaintext.
//! - *Sending*: the peer said that it can receive; what we send goes into the tunnel.
//! - *Rekeying*: we were sending, and the peer came back with another key. Until it says that it has ours, what we
//!   send still goes into the tunnel, where it waits for a handshake. It never falls back to plaintext on its own.
//! - *Held*: the kernel sends into the tunnel, but the device that encrypted died with its process and has no such
//!   peer. Packets are lost there until the peer is installed again: fail closed.
//!
//! Plaintext is sent again only after an explicit [`Input::Stop`] or [`Input::Remove`], or after the mode was set to
//! off. The crate is pure: a [`Peer`] takes inputs and gives back what is to be done, in order.

#![forbid(unsafe_code)]

mod mode;
mod peer;

pub use mode::{Mode, ModeStep, Switch};
pub use peer::{Effect, Input, Key, Peer, Refusal, State, Step};
