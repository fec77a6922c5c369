//! `grpc.health.v1.Health` for those who watch over the CA, beside the operators' services.
//!
//! It serves while it can do its work: the registry answers, and the active authority's key can be used. That is looked at when
//! somebody asks, so `Watch` is not offered; clients fall back to `Check`, as the protocol says.

use std::sync::Arc;

use tokio_stream::Empty;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tracing::debug;

use crate::ca::Ca;

/// Services that may be asked for by name; the empty name is the CA as a whole.
const NAMES: [&str; 3] = ["", "signet.ca.v1.NodeService", "signet.ca.v1.OperatorService"];

/// Answers for one CA.
pub(crate) struct Work(Arc<Ca>);

/// The service.
pub(crate) fn service(ca: &Arc<Ca>) -> HealthServer<Work> {
    HealthServer::new(Work(Arc::clone(ca)))
}

impl Work {
    async fn can_be_done(&self) -> bool {
        if let Err(error) = self.0.registry.latest().await {
            debug!(%error, "not healthy: the registry does not answer");
            return false;
        }
        let authorities = match self.0.authorities().await {
            Ok(authorities) => authorities,
            Err(error) => {
                debug!(%error, "not healthy: the authorities cannot be read");
                return false;
            }
        };
        let usable = authorities.signing().map(drop);
        if let Err(why) = &usable {
            debug!(why = ?why, "not healthy: the active authority cannot sign");
        }
        usable.is_ok()
    }
}

#[tonic::async_trait]
impl Health for Work {
    type WatchStream = Empty<Result<HealthCheckResponse, Status>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let name = &request.get_ref().service;
        if !NAMES.contains(&name.as_str()) {
            return Err(Status::not_found(format!(
                "no service {name:?} here; ask for one of {NAMES:?}"
            )));
        }
        let status = if self.can_be_done().await {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        Ok(Response::new(HealthCheckResponse {
            status: status.into(),
        }))
    }

    async fn watch(
        &self,
        _request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("ask by Check"))
    }
}
