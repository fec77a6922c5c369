use std::sync::Arc;
use std::time::Instant;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use signet_spiffe::{BundleSet, SpiffeId};
use signet_uds::PeerInfo;
use tokio::sync::watch;
use tonic::{Extensions, Status};

use crate::caller::{self, Attestations};
use crate::entitlement::Grant;
use crate::message::{Everything, Profile};
use crate::pace::Paces;
use crate::places::Places;
use crate::subscription::Subscription;
use crate::{Limits, RevocationList, SvidSource, X509Svid};

/// Where callers are attested, counted and followed: the one way to anything that this socket gives out, whatever the
/// protocol. Clones share the bounds.
#[derive(Clone)]
pub struct Entrance {
    source: Arc<dyn SvidSource>,
    attestations: Attestations,
    places: Places,
    calls: Arc<Paces<i32>>,
    stopping: watch::Receiver<()>,
}

/// What a caller is entitled to at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holdings {
    /// Its identities, never none; the first is its default one (Workload API §8). An identity without an SVID has yet to
    /// get one.
    pub ids: Vec<SpiffeId>,
    /// The SVIDs that there are, in the order of the identities.
    pub svids: Vec<Arc<X509Svid>>,
    /// Bundles of its own trust domain and of those that it trusts.
    pub bundles: Arc<BundleSet>,
    /// What is revoked of its own trust domain's certificates, if there is a list that is valid now.
    pub revocation_list: Option<Arc<RevocationList>>,
}

/// A caller that is followed.
pub struct Visit {
    /// Process ID.
    pub pid: i32,
    /// User ID.
    pub uid: u32,
    /// What it holds: first at once, then at each change. Ends with the status for the caller: `PermissionDenied` when
    /// nothing is left for it or its process has ended, `Unavailable` when the agent stops.
    pub holdings: BoxStream<'static, Result<Holdings, Status>>,
}

impl Entrance {
    /// Streams end when the sender of `stopping` is dropped.
    pub(crate) fn new(source: Arc<dyn SvidSource>, limits: Limits, stopping: watch::Receiver<()>) -> Self {
        let attestations = Attestations::new(source.attestor());
        Self {
            source,
            attestations,
            places: Places::new(limits),
            calls: Arc::new(Paces::new(limits.calls)),
            stopping,
        }
    }

    /// Attests whoever made a request, by its connection, and follows it as long as the stream is held.
    ///
    /// # Errors
    /// The status for the caller: it has no identity, its streams are too many, or the agent is not ready.
    pub async fn follow(&self, request: &Extensions) -> Result<Visit, Status> {
        let peer = request.get();
        let holdings = self.subscribe::<Everything>(peer).await?;
        let (pid, uid) = peer.map_or((0, 0), |peer| (peer.pid, peer.uid));
        Ok(Visit {
            pid,
            uid,
            holdings: holdings.boxed(),
        })
    }

    /// Attests whoever made a request, and tells what it holds at this moment.
    ///
    /// # Errors
    /// The status for the caller: it has no identity, it asks too often, or the agent is not ready.
    pub async fn holdings(&self, request: &Extensions) -> Result<Holdings, Status> {
        Ok(self.grant(request.get()).await?.into())
    }

    /// Opens a stream of one profile.
    pub(crate) async fn subscribe<P: Profile>(
        &self,
        peer: Option<&PeerInfo>,
    ) -> Result<impl Stream<Item = Result<P::Message, Status>> + Send + use<P>, Status> {
        self.subscribe_to::<P>(peer, None).await
    }

    /// The same about one identity, where one is named.
    pub(crate) async fn subscribe_to<P: Profile>(
        &self,
        peer: Option<&PeerInfo>,
        only: Option<SpiffeId>,
    ) -> Result<impl Stream<Item = Result<P::Message, Status>> + Send + use<P>, Status> {
        let process = caller::process(peer)?;
        let place = peer.and_then(|peer| self.places.take(peer));
        let place =
            place.ok_or_else(|| Status::unavailable("too many streams are open; close some or try again"))?;
        let subscription = Subscription::new(
            process,
            &*self.source,
            self.attestations.clone(),
            self.stopping.clone(),
            place,
        );
        subscription.only(only).open::<P>().await
    }

    /// Attests the caller of something that is not a stream, and tells what it is entitled to at this moment.
    pub(crate) async fn grant(&self, peer: Option<&PeerInfo>) -> Result<Grant, Status> {
        let process = caller::process(peer)?;
        // Before attestation, which is what a hasty process would make others wait for.
        if !self.calls.take(process.pid(), Instant::now()) {
            return Err(Status::unavailable(
                "this process asks too often; keep tokens until they end, and try again",
            ));
        }
        let known = self.attestations.attest(&process).await?;
        let offers = Arc::clone(&self.source.offers().borrow());
        caller::granted(&process, &known, &offers)
    }
}

impl From<Grant> for Holdings {
    fn from(grant: Grant) -> Self {
        Self {
            ids: grant.ids,
            svids: grant.svids,
            bundles: grant.bundles,
            revocation_list: grant.revocation_list,
        }
    }
}
