use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use signet_proto::workload::spiffe_workload_api_server::SpiffeWorkloadApi;
use signet_proto::workload::{
    JwtBundlesRequest, JwtBundlesResponse, JwtsvidRequest, JwtsvidResponse, ValidateJwtsvidRequest,
    ValidateJwtsvidResponse, WitBundlesRequest, WitBundlesResponse, WitsvidRequest, WitsvidResponse,
    X509BundlesRequest, X509BundlesResponse, X509svidRequest, X509svidResponse,
};
use signet_uds::PeerInfo;
use tonic::{Request, Response, Status};

use crate::message::{JwtBundles, Profile, WitBundles, WitSvids, X509Bundles, X509Svids};
use crate::{Entrance, SvidSource, jwt_calls};

/// Metadata that every request carries, so that no server can be made to call us on another's behalf (Workload Endpoint §3).
const SECURITY_HEADER: &str = "workload.spiffe.io";

type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The calls of the Workload API.
pub(crate) struct Service<S> {
    source: Arc<S>,
    entrance: Entrance,
}

impl<S: SvidSource> Service<S> {
    pub(crate) fn new(source: Arc<S>, entrance: Entrance) -> Self {
        Self { source, entrance }
    }

    async fn subscribe<P: Profile>(
        &self,
        peer: Option<&PeerInfo>,
    ) -> Result<Response<Messages<P::Message>>, Status> {
        let messages = self.entrance.subscribe::<P>(peer).await?;
        Ok(Response::new(Box::pin(messages)))
    }

    /// Before it is asked who calls: clients shall not come back (Workload API §7).
    fn require_wit_svids(&self) -> Result<(), Status> {
        let on = self.source.serves_wit_svids();
        on.then_some(()).ok_or_else(|| {
            Status::unimplemented(
                "there are no WIT-SVIDs here: they are an experiment, which signet-agent run --experimental-wit-svid switches on",
            )
        })
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

#[tonic::async_trait]
impl<S: SvidSource> SpiffeWorkloadApi for Service<S> {
    type FetchX509SVIDStream = Messages<X509svidResponse>;
    type FetchX509BundlesStream = Messages<X509BundlesResponse>;
    type FetchJWTBundlesStream = Messages<JwtBundlesResponse>;
    type FetchWITSVIDStream = Messages<WitsvidResponse>;
    type FetchWITBundlesStream = Messages<WitBundlesResponse>;

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

    async fn fetch_jwtsvid(
        &self,
        request: Request<JwtsvidRequest>,
    ) -> Result<Response<JwtsvidResponse>, Status> {
        let wanted = jwt_calls::wanted(request.get_ref())?;
        let grant = self.entrance.grant(request.extensions().get()).await?;
        let svids = jwt_calls::fetch(&*self.source, &grant, &wanted).await?;
        Ok(Response::new(svids))
    }

    async fn fetch_jwt_bundles(
        &self,
        request: Request<JwtBundlesRequest>,
    ) -> Result<Response<Self::FetchJWTBundlesStream>, Status> {
        self.subscribe::<JwtBundles>(request.extensions().get()).await
    }

    async fn validate_jwtsvid(
        &self,
        request: Request<ValidateJwtsvidRequest>,
    ) -> Result<Response<ValidateJwtsvidResponse>, Status> {
        jwt_calls::check(request.get_ref())?;
        let grant = self.entrance.grant(request.extensions().get()).await?;
        Ok(Response::new(jwt_calls::validate(request.get_ref(), &grant)?))
    }

    async fn fetch_witsvid(
        &self,
        request: Request<WitsvidRequest>,
    ) -> Result<Response<Self::FetchWITSVIDStream>, Status> {
        self.require_wit_svids()?;
        let only = jwt_calls::wanted_id(&request.get_ref().spiffe_id)?;
        let peer = request.extensions().get();
        let messages = self.entrance.subscribe_to::<WitSvids>(peer, only).await?;
        Ok(Response::new(Box::pin(messages)))
    }

    async fn fetch_wit_bundles(
        &self,
        request: Request<WitBundlesRequest>,
    ) -> Result<Response<Self::FetchWITBundlesStream>, Status> {
        self.require_wit_svids()?;
        self.subscribe::<WitBundles>(request.extensions().get()).await
    }
}
