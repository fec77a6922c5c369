//! What tokens of all kinds have in common: how they are written, and what a trust domain vouches for.

mod compact;
mod error;
mod vouched;

pub use compact::{JwtPart, MAX_JWT_BYTES};
pub use error::TokenError;

pub(crate) use compact::Compact;
pub(crate) use vouched::{Claimed, Header, TokenBundle, Vouched, moment, texts};
