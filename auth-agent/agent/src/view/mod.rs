//! What the node knows of the trust domain.

mod error;
mod parse;
mod state;
mod store;

pub use error::ViewError;
pub use state::{Encryption, Node, Registration, View};
pub use store::ViewStore;
