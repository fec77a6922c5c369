//! The trust domain's signing keys, the SVIDs that they issue, and the list of those that are taken back.
//!
//! [`Authority`], [`JwtAuthority`] and [`WitAuthority`] are pure: the moment and the serial number are arguments; the signature is made by whoever
//! has the key (`signet-keys`). [`DataDirectory`] is where a CA keeps what is not in its registry.

mod authority;
mod contents;
mod crl;
mod directory;
mod intermediate;
mod jwt;
mod key;
mod request;
mod serial;
mod token;
mod wit;

pub use authority::{Authority, AuthorityError, BACKDATE, IssueError, IssuedSvid, begins};
pub use contents::LeafContents;
pub use crl::{RevocationList, RevokedSerial};
pub use directory::{DataDirectory, DirectoryError, EarlierAuthority, PrivateFile};
pub use intermediate::{
    AuthorityRequest, ChainError, IssuedAuthority, MAX_CHAIN, MAX_CHAIN_BYTES, chain_from_pem, public_key,
    request_authority,
};
pub use jwt::{JwtAuthority, JwtSigningKey, MAX_JWT_SVID_LIFE};
pub use key::{KeyError, SigningKey};
pub use request::{MAX_REQUEST_BYTES, RequestError, RequestedKey};
pub use serial::Serial;
pub use token::{IssuedToken, TokenIssueError};
pub use wit::{WitAuthority, WitKey};
