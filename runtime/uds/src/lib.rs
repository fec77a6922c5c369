//! gRPC over Unix sockets whose peer is checked by the kernel's credentials.
//!
//! The server side binds a socket and yields only connections that its [`Access`] admits, each with the kernel's word
//! on who is at the other end ([`PeerInfo`]). The client side is a lazily connecting channel.

mod client;
mod directory;
mod groups;
mod peer;
mod server;

pub use client::connect;
pub use peer::{PeerInfo, PeerStream};
pub use server::{Access, BindError, serve_admitted, serve_incoming};
