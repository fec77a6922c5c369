use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use signet_attest::{ObjectReference, Process, ResolveError};
use signet_proto::workload::{
    JwtBundlesResponse, JwtsvidRequest, JwtsvidResponse, X509BundlesResponse, X509svidResponse,
};
use signet_uds::PeerInfo;
use tokio::sync::watch;
use tonic::Status;

use crate::caller::{Attestations, granted};
use crate::message::{JwtBundles, Profile, X509Bundles, X509Svids};
use crate::places::Places;
use crate::subscription::Subscription;
use crate::{Limits, SvidSource, jwt_calls};

/// The messages of a stream, until the status that ends it.
pub type Messages<T> = BoxStream<'static, Result<T, Status>>;

/// What processes would get from the Workload API, for somebody who acts for them.
///
/// It is the process that is attested and followed, never whoever asks. Who may ask is for the caller to decide. Attestations and
/// bounds are apart from those of the Workload API, so that neither side's haste is the other's wait.
#[derive(Clone)]
pub struct Representation {
    source: Arc<dyn SvidSource>,
    attestations: Attestations,
    places: Places,
    stopping: watch::Receiver<()>,
}

impl Representation {
    /// Streams end when the sender of `stopping` is dropped. Of `limits`, those on streams count.
    pub fn new(source: Arc<dyn SvidSource>, limits: Limits, stopping: watch::Receiver<()>) -> Self {
        let attestations = Attestations::new(source.attestor());
        Self {
            source,
            attestations,
            places: Places::new(limits),
            stopping,
        }
    }

    /// `FetchX509SVID` of this process.
    ///
    /// # Errors
    /// The status for the process: `PermissionDenied` without an identity, `Unavailable` when there is none yet or too many
    /// streams are open.
    pub async fn x509_svids(&self, process: Process) -> Result<Messages<X509svidResponse>, Status> {
        self.subscribe::<X509Svids>(process).await
    }

    /// `FetchX509Bundles` of this process.
    ///
    /// # Errors
    /// As with [`x509_svids`](Self::x509_svids).
    pub async fn x509_bundles(&self, process: Process) -> Result<Messages<X509BundlesResponse>, Status> {
        self.subscribe::<X509Bundles>(process).await
    }

    /// `FetchJWTBundles` of this process.
    ///
    /// # Errors
    /// As with [`x509_svids`](Self::x509_svids).
    pub async fn jwt_bundles(&self, process: Process) -> Result<Messages<JwtBundlesResponse>, Status> {
        self.subscribe::<JwtBundles>(process).await
    }

    /// `FetchJWTSVID` of this process.
    ///
    /// # Errors
    /// As with [`x509_svids`](Self::x509_svids), and `InvalidArgument` for an audience or identity that is none.
    pub async fn jwt_svids(
        &self,
        process: &Process,
        request: &JwtsvidRequest,
    ) -> Result<JwtsvidResponse, Status> {
        let wanted = jwt_calls::wanted(request)?;
        let known = self.attestations.attest(process).await?;
        let offers = Arc::clone(&self.source.offers().borrow());
        let grant = granted(process, &known, &offers)?;
        jwt_calls::fetch(&*self.source, &grant, &wanted).await
    }

    /// The process on this node that stands for an object, held. Whoever names an object gets what that process is entitled to.
    ///
    /// # Errors
    /// There is none, or nobody here knows of such objects.
    pub async fn resolve(&self, object: ObjectReference) -> Result<Process, ResolveError> {
        self.attestations.resolve(object).await
    }

    async fn subscribe<P: Profile>(&self, process: Process) -> Result<Messages<P::Message>, Status> {
        let place = self.places.take(&PeerInfo {
            pid: process.pid(),
            uid: process.uid(),
            gid: 0,
            pidfd: None,
            pidfd_is_exact: false,
            supplementary: Arc::default(),
        });
        let place = place.ok_or_else(|| {
            Status::unavailable(
                "too many streams are open for this process or in all; close some or try again",
            )
        })?;
        let (attestations, stopping) = (self.attestations.clone(), self.stopping.clone());
        let subscription = Subscription::new(process, &*self.source, attestations, stopping, place);
        Ok(subscription.open::<P>().await?.boxed())
    }
}
