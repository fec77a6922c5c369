use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use signet_proto::workload::spiffe_workload_api_server::SpiffeWorkloadApi;
use signet_proto::workload::{
    JwtBundlesRequest, JwtBundlesResponse, JwtsvidRequest, JwtsvidResponse, ValidateJwtsvidRequest,
    ValidateJwtsvidResponse, X509BundlesRequest, X509BundlesResponse, X509svidRequest, X509svidResponse,
};
use signet_uds::PeerInfo;
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use crate::SvidSource;
use crate::caller::{self, Attestations};
use crate::message::{Profile, X509Bundles, X509Svids};
use crate::places::Places;
use crate::subscription::Subscription;

/// Metadata that every request carries, so that no server can be made to call us on another's behalf (Workload Endpoint §3).
const SECURITY_HEADER: &str = "workload.spiffe.io";

type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The calls of the Workload API.
#[derive(Debug)]
pub(crate) struct Service<S> {
    source: Arc<S>,
    attestations: Attestations,
    places: Places,
    stopping: watch::Receiver<()>,
}

impl<S: SvidSource> Service<S> {
    /// Streams end when the sender of `stopping` is dropped.
    pub(crate) fn new(source: Arc<S>, places: Places, stopping: watch::Receiver<()>) -> Self {
        Self {
            source,
            attestations: Attestations::default(),
            places,
            stopping,
        }
    }

    async fn subscribe<P: Profile>(
        &self,
        peer: Option<&PeerInfo>,
    ) -> Result<Response<Messages<P::Message>>, Status> {
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
        Ok(Response::new(Box::pin(subscription.open::<P>().await?)))
    }
}

/// Refuses requests without the security header, before anything else is looked at.
pub(crate) fn require_security_header(request: Request<()>) -> Result<Request<()>, Status> {
    match request.metadata().get(SECURITY_HEADER) {
        Some(value) if value.as_bytes() == b"true" => Ok(request),
        Some(_) | None => Err(Status::invalid_argument(
            "security header missing from request: workload.spiffe.io: true",
        )),
    }
}

fn no_jwt() -> Status {
    Status::unimplemented("this agent does not issue JWT-SVIDs; use the X.509 profile")
}

#[tonic::async_trait]
impl<S: SvidSource> SpiffeWorkloadApi for Service<S> {
    type FetchX509SVIDStream = Messages<X509svidResponse>;
    type FetchX509BundlesStream = Messages<X509BundlesResponse>;
    type FetchJWTBundlesStream = Messages<JwtBundlesResponse>;

    async fn fetch_x509svid(
        &self,
        request: Request<X509svidRequest>,
    ) -> Result<Response<Self::FetchX509SVIDStream>, Status> {
        self.subscribe::<X509Svids>(request.extensions().get()).await
    }

    async fn fetch_x509_bundles(
        &self,
        request: Request<X509BundlesRequest>,
    ) -> Result<Response<Self::FetchX509BundlesStream>, Status> {
        self.subscribe::<X509Bundles>(request.extensions().get()).await
    }

    async fn fetch_jwtsvid(&self, _: Request<JwtsvidRequest>) -> Result<Response<JwtsvidResponse>, Status> {
        Err(no_jwt())
    }

    async fn fetch_jwt_bundles(
        &self,
        _: Request<JwtBundlesRequest>,
    ) -> Result<Response<Self::FetchJWTBundlesStream>, Status> {
        Err(no_jwt())
    }

    async fn validate_jwtsvid(
        &self,
        _: Request<ValidateJwtsvidRequest>,
    ) -> Result<Response<ValidateJwtsvidResponse>, Status> {
        Err(no_jwt())
    }
}
