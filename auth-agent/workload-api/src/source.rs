use std::sync::Arc;

use futures::future::BoxFuture;
use signet_attest::{Attestor, EndpointTable};
use signet_spiffe::{Audience, SpiffeId};
use tokio::sync::watch;

use crate::{JwtSvid, NoJwtSvid, Offers};

/// What the Workload API gives out. Implemented by the agent.
///
/// Offers and endpoints are whole states, never changes to one; publish with [`watch::Sender::send_replace`] or
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

    /// How callers are attested: by what the kernel says of a process, and by [`endpoints`](Self::endpoints). An agent that knows
    /// more ways of telling what a process is puts them beside these.
    fn attestor(&self) -> Attestor {
        Attestor::of_node(self.endpoints())
    }

    /// Whether the WIT-SVID profile is on (Workload API §7). Where it is not, its calls are `Unimplemented`.
    fn serves_wit_svids(&self) -> bool {
        false
    }

    /// A JWT-SVID of an identity that the caller is entitled to, for these audiences: one that was made before, as long as
    /// it has some life left, or a new one. Asked for at the callers' pace, so it must bound what it costs others.
    ///
    /// # Errors
    /// There is none to be had now; the caller gets `Unavailable`.
    fn jwt_svid<'a>(
        &'a self,
        id: &'a SpiffeId,
        audience: &'a Audience,
    ) -> BoxFuture<'a, Result<Arc<JwtSvid>, NoJwtSvid>>;
}
