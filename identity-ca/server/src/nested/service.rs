//! `DownstreamService`: who calls, then what is called.

use std::sync::Arc;

use signet_proto::ca::v1::downstream_service_server::DownstreamService;
use signet_proto::ca::v1::{
    FollowBundleRequest, IssueIntermediateRequest, IssueIntermediateResponse, PublishJwtKeysRequest,
    PublishJwtKeysResponse,
};
use tonic::{Request, Response, Status};

use super::follow::Updates;
use super::permit::Downstream;
use crate::ca::Ca;

/// The service for CAs below this one.
#[derive(Debug, Clone)]
pub(crate) struct Downstreams(pub(crate) Arc<Ca>);

#[tonic::async_trait]
impl DownstreamService for Downstreams {
    type FollowBundleStream = Updates;

    async fn issue_intermediate(
        &self,
        request: Request<IssueIntermediateRequest>,
    ) -> Result<Response<IssueIntermediateResponse>, Status> {
        let below = Downstream::of(&self.0, &request).await?;
        let IssueIntermediateRequest { csr, life, instance } = request.get_ref();
        self.0.check_instance(&below, instance).await?;
        let issued = self.0.issue_intermediate(&below, csr, *life).await?;
        Ok(Response::new(IssueIntermediateResponse {
            chain: issued.chain.iter().map(|one| one.to_vec()).collect(),
            bundle: Some(self.0.bundle_for(&below).await?),
        }))
    }

    async fn publish_jwt_keys(
        &self,
        request: Request<PublishJwtKeysRequest>,
    ) -> Result<Response<PublishJwtKeysResponse>, Status> {
        let below = Downstream::of(&self.0, &request).await?;
        let PublishJwtKeysRequest {
            jwks,
            wit_keys,
            instance,
        } = request.get_ref();
        self.0.check_instance(&below, instance).await?;
        let changed = self.0.publish_keys_of(&below, jwks, wit_keys).await?;
        Ok(Response::new(PublishJwtKeysResponse { changed }))
    }

    async fn follow_bundle(
        &self,
        request: Request<FollowBundleRequest>,
    ) -> Result<Response<Updates>, Status> {
        let below = Downstream::of(&self.0, &request).await?;
        let instance = request.into_inner().instance;
        Ok(Response::new(self.0.tell_downstream(below, instance).await?))
    }
}
