//! Why an update of the view is refused.

use signet_attest::RequiredSelectorsError;
use signet_spiffe::{BundleError, IdError, JwksError, NodeNameError};

/// Why an update is refused. Nothing of it is applied then.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// A change to nothing.
    #[error("the first update is not a snapshot")]
    NoSnapshot,
    /// For somebody else.
    #[error("the snapshot is for node {0}, not for this one")]
    OtherNode(String),
    /// A snapshot must be whole.
    #[error("the snapshot has no {0}")]
    Missing(&'static str),
    /// A node's name.
    #[error("node name `{name}` is invalid")]
    NodeName {
        /// As received.
        name: String,
        /// What is wrong.
        #[source]
        source: NodeNameError,
    },
    /// A number outside its range.
    #[error("{what} of {name} is out of range")]
    Range {
        /// Which number.
        what: &'static str,
        /// Whose.
        name: String,
    },
    /// Two names for one number.
    #[error("{what} {number} belongs to both {first} and {second}")]
    Conflict {
        /// Which number.
        what: &'static str,
        /// The number.
        number: u32,
        /// One owner.
        first: String,
        /// The other owner.
        second: String,
    },
    /// An address.
    #[error("address `{address}` of node {node} is not an IP address")]
    Address {
        /// As received.
        address: String,
        /// Whose.
        node: String,
    },
    /// A SPIFFE ID.
    #[error("SPIFFE ID `{text}` is invalid")]
    SpiffeId {
        /// As received.
        text: String,
        /// What is wrong.
        #[source]
        source: IdError,
    },
    /// A trust domain's name.
    #[error("trust domain `{name}` is invalid")]
    TrustDomain {
        /// As received.
        name: String,
        /// What is wrong.
        #[source]
        source: IdError,
    },
    /// This trust domain among those that are federated with.
    #[error("this trust domain's own bundle came as a federated one")]
    OwnAsForeign,
    /// The trust bundle.
    #[error("trust bundle is invalid")]
    Bundle(#[from] BundleError),
    /// The trust bundle's JWT keys.
    #[error("JWT keys of the trust bundle are invalid")]
    JwtKeys(#[from] JwksError),
    /// JWT keys that are not text.
    #[error("JWT keys of the trust bundle are not text")]
    JwtKeysText,
    /// The trust bundle of another trust domain.
    #[error("trust bundle is of trust domain `{0}`, not of this one")]
    OtherTrustDomain(String),
    /// What a registration says of its SVIDs.
    #[error("registration {id} says what this agent does not understand: {why}")]
    Terms {
        /// Whose.
        id: String,
        /// What is wrong.
        why: String,
    },
    /// A registration's selectors.
    #[error("selectors of registration {id} are invalid")]
    Selectors {
        /// Whose.
        id: String,
        /// What is wrong.
        #[source]
        source: RequiredSelectorsError,
    },
}
