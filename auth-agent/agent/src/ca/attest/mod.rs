//! How this node proves to the CA who it is: one trait, its implementations, and the exchange that they share.

mod certificate;
mod exchange;
mod prover;
mod token;

pub use certificate::X509Pop;
pub(crate) use exchange::Exchange;
pub use prover::{Answerer, Asked, NoProof, NodeProver};
pub use token::JoinToken;
