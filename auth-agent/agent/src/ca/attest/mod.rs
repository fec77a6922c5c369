//! How this node proves to the CA who it is: one trait, its implementations, and the exchange that they share.

mod certificate;
mod exchange;
mod prover;
mod token;
mod tpm;

pub use certificate::X509Pop;
pub(crate) use exchange::{Exchange, prepare};
pub use prover::{Answerer, Asked, NoProof, NodeProver};
pub use token::JoinToken;
pub use tpm::TpmDevid;
