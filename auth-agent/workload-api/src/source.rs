use std::sync::Arc;

use signet_attest::EndpointTable;
use tokio::sync::watch;

use crate::Offers;

/// What the Workload API gives out. Implemented by the agent.
///
/// Both values are whole states, never changes to one; publish with [`watch::Sender::send_replace`] or
/// [`watch::Sender::send_if_modified`]. A published value reaches every open stream that it concerns, at once; streams that
/// it does not concern send nothing. Dropping a sender ends all streams with `Unavailable`.
pub trait SvidSource: Send + Sync + 'static {
    /// The registrations of this node with their SVIDs, and the bundles.
    ///
    /// [`Offers::starting`] until the first view has come from the CA: clients get `Unavailable` and try again. A
    /// registration without an SVID yet is an [`Offer::pending`](crate::Offer::pending). A renewed SVID takes the old one's
    /// place in one publication. An SVID that has expired and could not be renewed becomes pending again.
    fn offers(&self) -> watch::Receiver<Arc<Offers>>;

    /// This node's endpoints by network namespace.
    ///
    /// `None` until meshd has told: a process for which no registration matches then gets `Unavailable` and tries again,
    /// since an `endpoint:` selector might have entitled it. Keep the last table while meshd is away; take a namespace out
    /// as soon as its endpoint goes. Streams are attested anew at each change.
    fn endpoints(&self) -> watch::Receiver<Option<Arc<EndpointTable>>>;
}
