//! What the node knows of the trust domain.

mod error;
mod kept;
mod parse;
mod revoked;
mod state;
mod store;
mod tainted;
mod whole;

pub use error::ViewError;
pub use kept::{Kept, KeptFile};
pub use revoked::RevocationTable;
pub use state::{CertificateTerms, Encryption, Node, Position, Registration, View};
pub use store::{Forget, TowardsCa, ViewStore};
pub use tainted::Tainted;
