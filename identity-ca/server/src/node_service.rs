//! `NodeService`: who calls, then what is called.

use std::pin::Pin;
use std::sync::Arc;

use signet_proto::ca::v1::node_service_server::NodeService;
use signet_proto::ca::v1::{
    AcknowledgeBundleRequest, AcknowledgeBundleResponse, AttestRequest, AttestResponse, GetCrlRequest,
    GetCrlResponse, IssueJwtSvidRequest, IssueX509SvidRequest, JwtSvid, RenewNodeSvidRequest, Svid,
    SyncRequest,
};
use signet_proto::view::v1::Update;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

use crate::audit::Told;
use crate::ca::Ca;
use crate::caller::{Caller, peer};
use crate::wire;

/// Updates in one piece.
type Whole = Pin<Box<dyn Stream<Item = Result<Update, Status>> + Send>>;

/// The service for nodes.
#[derive(Debug, Clone)]
pub(crate) struct Nodes(pub(crate) Arc<Ca>);

#[tonic::async_trait]
impl NodeService for Nodes {
    type SyncStream = Whole;

    async fn attest(&self, request: Request<AttestRequest>) -> Result<Response<AttestResponse>, Status> {
        let peer = peer(&request)?.clone();
        let told = request.extensions().get::<Told>();
        let attested = self.0.attest(&peer, request.get_ref()).await;
        if attested.is_err()
            && let Some(told) = told
        {
            told.tell();
        }
        Ok(Response::new(attested?))
    }

    async fn renew_node_svid(
        &self,
        request: Request<RenewNodeSvidRequest>,
    ) -> Result<Response<Svid>, Status> {
        let caller = Caller::of(&self.0, &request).await?;
        let svid = self.0.renew_node_svid(&caller, &request.get_ref().csr).await?;
        Ok(Response::new(wire::svid(&svid)))
    }

    async fn issue_x509_svid(
        &self,
        request: Request<IssueX509SvidRequest>,
    ) -> Result<Response<Svid>, Status> {
        let caller = Caller::of(&self.0, &request).await?;
        let IssueX509SvidRequest { registration, csr } = request.get_ref();
        let svid = self.0.issue_x509_svid(&caller, registration, csr).await?;
        Ok(Response::new(wire::svid(&svid)))
    }

    async fn issue_jwt_svid(
        &self,
        request: Request<IssueJwtSvidRequest>,
    ) -> Result<Response<JwtSvid>, Status> {
        let caller = Caller::of(&self.0, &request).await?;
        let IssueJwtSvidRequest {
            registration,
            audience,
        } = request.get_ref();
        let svid = self.0.issue_jwt_svid(&caller, registration, audience).await?;
        Ok(Response::new(wire::jwt_svid(&svid)))
    }

    async fn get_crl(&self, request: Request<GetCrlRequest>) -> Result<Response<GetCrlResponse>, Status> {
        let _any_node = Caller::of(&self.0, &request).await?;
        Ok(Response::new(self.0.crl_for_nodes().await?))
    }

    async fn acknowledge_bundle(
        &self,
        request: Request<AcknowledgeBundleRequest>,
    ) -> Result<Response<AcknowledgeBundleResponse>, Status> {
        let caller = Caller::of(&self.0, &request).await?;
        Ok(Response::new(
            self.0.acknowledge_bundle(&caller, request.get_ref()).await?,
        ))
    }

    /// For whoever serves this without [`WithParts`](crate::sync::WithParts).
    async fn sync(&self, request: Request<SyncRequest>) -> Result<Response<Whole>, Status> {
        let caller = Caller::of(&self.0, &request).await?;
        let peer = peer(&request)?.clone();
        let updates = self.0.sync(caller, &peer, request.get_ref()).await?;
        let whole = updates.map(|update| update.and_then(|update| update.update()));
        Ok(Response::new(Box::pin(whole)))
    }
}
