//! WIT-SVIDs: tokens that are bound to a key of their workload, and the proofs that it has it.

mod bundle;
mod confirmation;
mod proof;
mod replay;
mod sign;
mod verify;

pub use bundle::{WitBundle, WitBundleSet};
pub use confirmation::{ConfirmationError, ConfirmationKey};
pub use proof::{MAX_PROOF_LIFE, ProofContext, ProofError, VerifiedWitSvid};
pub use replay::SeenProofs;
pub use sign::{WitProofClaims, WitSvidClaims, sign_wit_proof, sign_wit_svid};
pub use verify::{UnprovenWitSvid, WitHeaderError, WitSvidError, verify_wit_svid};
