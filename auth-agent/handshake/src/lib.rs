//! The pair handshake: mutual TLS 1.3 between two workload identities, without sockets.
//!
//! The initiator's node runs an [`Initiator`], the responder's a [`Responder`]; their TLS records travel as messages of
//! the node session between the two. When the inner handshake is complete, each side sends a confirmation: an HMAC under
//! the inner connection's exporter over everything that must be the same at both ends, the outer session's exporter
//! among it ([`Binding`]). Only a verified confirmation turns [`AwaitingConfirm`] into a [`Proof`].
//!
//! Time is an argument, records are byte vectors; nothing here opens, waits or retries.

mod awaiting;
mod binding;
mod confirm;
mod credentials;
mod engine;
mod error;
mod initiator;
mod limits;
mod name;
mod party;
mod proof;
mod responder;

pub use awaiting::{AwaitingConfirm, Progress};
pub use binding::Binding;
pub use credentials::Credentials;
pub use error::HandshakeError;
pub use initiator::Initiator;
pub use limits::{Limits, Now};
pub use name::server_name;
pub use party::Party;
pub use proof::Proof;
pub use responder::Responder;
