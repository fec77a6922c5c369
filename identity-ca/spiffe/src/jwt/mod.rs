//! JWT-SVIDs: what they are signed with, how they are made, and how they are checked.

mod algorithm;
mod audience;
mod bundle;
mod header;
mod key;
#[cfg(test)]
mod known_answers;
mod sign;
mod verify;

pub use algorithm::JwtAlgorithm;
pub use audience::{Audience, AudienceError, MAX_AUDIENCE_BYTES, MAX_AUDIENCES};
pub use bundle::{JwtBundle, JwtBundleError, JwtBundleSet, MAX_JWT_KEYS};
pub use header::HeaderError;
pub use key::{JwtKey, JwtKeyError, MAX_KEY_ID_BYTES};
pub use sign::{JwtSigner, JwtSignerError, JwtSvidClaims, sign_jwt_svid};
pub use verify::{JwtSvidError, VerifiedJwtSvid, verify_jwt_svid};

pub(crate) use algorithm::Verifier;
pub(crate) use key::{Curve, PublicKey};
pub(crate) use sign::sealed;
