//! Drives signet-keyd: offers, readiness and retirement of encryption, in an order that loses no packet.
//!
//! Towards each peer: tell it our key → install its key → tell it that we can receive → once it said the same, encrypt.
//! Turning it off is the same backwards. The driver is level-triggered: events change what is known, and what is known
//! says what is done next; so it does not matter in which order daemons and sessions come and go.

mod driver;
mod keyd;
mod peer;

pub use driver::Driver;
pub use keyd::{Keyd, KeydError, Ours};
