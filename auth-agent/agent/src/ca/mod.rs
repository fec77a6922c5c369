//! The CA seen from a node: attestation, the node's own SVID, the view.

mod acknowledge;
mod addresses;
mod attest;
mod bundle;
mod channel;
mod csr;
mod failover;
mod identity;
mod keeper;
mod own;
mod pem;
mod place;
mod store;
mod sync;

pub use acknowledge::Acknowledger;
pub use addresses::CaAddresses;
pub use attest::{Answerer, Asked, JoinToken, NoProof, NodeProver, TpmDevid, X509Pop};
pub use bundle::BundleFile;
pub use channel::channel;
pub(crate) use channel::refusal;
pub use csr::{Request, new_request, new_request_for};
pub use failover::CaChannel;
pub use identity::{IdentityError, NodeIdentity};
pub use keeper::{Keeper, NodeAccess};
pub use own::OwnCa;
pub use place::{PlaceFile, keep};
pub use store::{StateError, StateFile};
pub use sync::{Announcement, follow};
