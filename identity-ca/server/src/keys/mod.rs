//! The CA's private keys: which manager has them, and what they are sealed under.

mod kek;
mod options;
mod rewrap;
mod sealing;
mod store;

pub use options::{KekSource, KeyManagerName, KeyOptions};
pub use rewrap::Rewrap;
pub(crate) use sealing::GUARD;
pub(crate) use store::Keys;
