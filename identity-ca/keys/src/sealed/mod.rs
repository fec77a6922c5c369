//! Keys in the registry, sealed.

mod aead;
mod envelope;
mod kek;
mod manager;

pub use envelope::{Envelope, EnvelopeError};
pub use kek::{Kek, KekError};
pub use manager::SealedKeys;
