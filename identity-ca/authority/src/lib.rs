//! The trust domain's signing keys, the SVIDs that they issue, and the list of those that are taken back.
//!
//! [`Authority`] and [`JwtAuthority`] are pure: the moment and the serial number are arguments, only the signature itself draws on the
//! system's random source. [`DataDirectory`] keeps its key on disk. One root signs every leaf; a second one beside it,
//! for rotation, would be another authority in the same bundle.

mod authority;
mod contents;
mod crl;
mod directory;
mod jwt;
mod key;
mod request;
mod serial;

pub use authority::{Authority, AuthorityError, BACKDATE, IssueError, IssuedSvid};
pub use contents::LeafContents;
pub use crl::{RevocationList, RevokedSerial};
pub use directory::{DataDirectory, DirectoryError, PrivateFile};
pub use jwt::{IssuedJwtSvid, JwtAuthority, JwtIssueError, JwtSigningKey, MAX_JWT_SVID_LIFE};
pub use key::{KeyError, SigningKey};
pub use request::{MAX_REQUEST_BYTES, RequestError, RequestedKey};
pub use serial::Serial;
