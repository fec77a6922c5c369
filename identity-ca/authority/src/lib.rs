//! The trust domain's signing key and the X.509-SVIDs it issues.
//!
//! [`Authority`] is pure: the moment and the serial number are arguments, only the signature itself draws on the
//! system's random source. [`DataDirectory`] keeps its key on disk. One root signs every leaf; a second one beside it,
//! for rotation, would be another authority in the same bundle.

mod authority;
mod directory;
mod key;
mod request;
mod serial;

pub use authority::{Authority, AuthorityError, BACKDATE, IssueError, IssuedSvid};
pub use directory::{DataDirectory, DirectoryError};
pub use key::{KeyError, SigningKey};
pub use request::{MAX_REQUEST_BYTES, RequestError, RequestedKey};
pub use serial::Serial;
