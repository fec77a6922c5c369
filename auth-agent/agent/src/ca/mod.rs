//! The CA seen from a node: attestation, the node's own SVID, the view.

mod channel;
mod csr;
mod identity;
mod keeper;
mod pem;
mod store;
mod sync;

pub use channel::channel;
pub use csr::{Request, new_request};
pub use identity::{IdentityError, NodeIdentity};
pub use keeper::{Keeper, NodeAccess};
pub use store::{StateError, StateFile};
pub use sync::{Announcement, follow};
