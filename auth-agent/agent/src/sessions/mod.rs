//! Node sessions: one TLS connection per peer node, dialed on demand, with pair handshakes inside.

mod boots;
mod connection;
mod context;
mod dialer;
mod establish;
mod handle;
mod listener;
mod manager;
mod secrets;

pub use boots::own_boot;
pub use context::Context;
pub use establish::EstablishError;
pub use handle::{Command, SessionHandle, TransportEvent};
pub use listener::{Gate, listen};
pub use manager::Sessions;
