use std::sync::Arc;

use futures::StreamExt as _;
use futures::future::ready;
use futures::stream::{BoxStream, once};
use signet_proto::sds::secret_discovery_service_server::{
    SecretDiscoveryService, SecretDiscoveryServiceServer,
};
use signet_proto::sds::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse};
use signet_workload_api::{Entrance, Visit};
use tonic::service::Routes;
use tonic::{Code, Extensions, Request, Response, Status, Streaming};

use crate::conversation::{Protocol, converse};
use crate::delta::Delta;
use crate::state::{StateOfTheWorld, fetch};
use crate::withdrawn::{Withdrawn, WithdrawnError};

/// Longest request, bytes. Each of Envoy's tells of all extensions that it was built with, some 60 KiB.
const MAX_REQUEST: usize = 512 * 1024;
/// Longest response, bytes: what gRPC clients accept by default.
const MAX_RESPONSE: usize = 4 * 1024 * 1024;
/// Longest revocation list, bytes of DER, for [`signet_workload_api::Offers::with_revocation_list`]: as PEM it is longer by
/// more than a third, and a response has room for it once, with the bundles and identities of a caller.
pub const LONGEST_LIST: usize = 5 * 1024 * 1024 / 2;

struct Service {
    entrance: Entrance,
    withdrawn: Arc<Withdrawn>,
}

/// The service, for [`signet_workload_api::serve_beside`].
///
/// # Errors
/// What takes the place of withdrawn secrets cannot be made.
pub fn service() -> Result<impl FnOnce(Entrance) -> Routes + Send, WithdrawnError> {
    let withdrawn = Arc::new(Withdrawn::new()?);
    Ok(|entrance| {
        let service = SecretDiscoveryServiceServer::new(Service { entrance, withdrawn })
            .max_decoding_message_size(MAX_REQUEST)
            .max_encoding_message_size(MAX_RESPONSE);
        Routes::new(service)
    })
}

type Responses<T> = BoxStream<'static, Result<T, Status>>;

impl Service {
    async fn converse<P: Protocol>(
        &self,
        protocol: P,
        request: Request<Streaming<P::Request>>,
    ) -> Result<Response<Responses<P::Response>>, Status> {
        let (_, extensions, requests) = request.into_parts();
        let visit = self.visit(&extensions).await?;
        Ok(Response::new(converse(protocol, requests, visit)))
    }

    /// Whoever gets nothing is let in as far as to give back what it has.
    async fn visit(&self, extensions: &Extensions) -> Result<Visit, Status> {
        match self.entrance.follow(extensions).await {
            Err(status) if status.code() == Code::PermissionDenied => Ok(Visit {
                pid: 0,
                uid: 0,
                holdings: once(ready(Err(status))).boxed(),
            }),
            visit => visit,
        }
    }
}

#[tonic::async_trait]
impl SecretDiscoveryService for Service {
    type DeltaSecretsStream = Responses<DeltaDiscoveryResponse>;
    type StreamSecretsStream = Responses<DiscoveryResponse>;

    async fn delta_secrets(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaSecretsStream>, Status> {
        self.converse(Delta::new(Arc::clone(&self.withdrawn)), request)
            .await
    }

    async fn stream_secrets(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamSecretsStream>, Status> {
        self.converse(StateOfTheWorld::new(Arc::clone(&self.withdrawn)), request)
            .await
    }

    async fn fetch_secrets(
        &self,
        request: Request<DiscoveryRequest>,
    ) -> Result<Response<DiscoveryResponse>, Status> {
        let (_, extensions, request) = request.into_parts();
        let holdings = self.entrance.holdings(&extensions).await?;
        let response = fetch(request, holdings, Arc::clone(&self.withdrawn))?;
        Ok(Response::new(response))
    }
}
