//! The upper CA's agent on the lower CA's node, as far as the lower one asks it.

use std::path::{Path, PathBuf};
use std::pin::Pin;

use signet_proto::ca::v1::node_service_client::NodeServiceClient;
use signet_proto::ca::v1::operator_service_client::OperatorServiceClient;
use signet_proto::ca::v1::{BundleRequest, IssueX509SvidRequest};
use signet_proto::workload::spiffe_workload_api_server::{SpiffeWorkloadApi, SpiffeWorkloadApiServer};
use signet_proto::workload::{
    JwtBundlesRequest, JwtBundlesResponse, JwtsvidRequest, JwtsvidResponse, ValidateJwtsvidRequest,
    ValidateJwtsvidResponse, WitBundlesRequest, WitBundlesResponse, WitsvidRequest, WitsvidResponse,
    X509BundlesRequest, X509BundlesResponse, X509svid, X509svidRequest, X509svidResponse,
};
use signet_spiffe::X509Bundle;
use signet_uds::{Access, serve_incoming};
use tokio::task::JoinHandle;
use tokio_stream::Stream;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::running::{domain, request};

/// Gives whoever asks a new SVID of one registration.
#[derive(Clone)]
struct Agent {
    node: NodeServiceClient<Channel>,
    operator: OperatorServiceClient<Channel>,
    registration: String,
}

/// A running one.
pub(crate) struct FakeAgent {
    pub(crate) socket: PathBuf,
    serving: JoinHandle<()>,
}

impl Drop for FakeAgent {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl FakeAgent {
    pub(crate) fn start(
        directory: &Path,
        node: &NodeServiceClient<Channel>,
        operator: &OperatorServiceClient<Channel>,
        registration: &str,
    ) -> Self {
        let socket = directory.join("workload.sock");
        let incoming = serve_incoming(&socket, Access::Anyone).unwrap();
        let agent = Agent {
            node: node.clone(),
            operator: operator.clone(),
            registration: registration.to_owned(),
        };
        let serving = tokio::spawn(async move {
            let _ = tonic::transport::Server::builder()
                .add_service(SpiffeWorkloadApiServer::new(agent))
                .serve_with_incoming(incoming)
                .await;
        });
        Self { socket, serving }
    }
}

type Stream1<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn not_asked<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("nobody asks for that here"))
}

#[tonic::async_trait]
impl SpiffeWorkloadApi for Agent {
    type FetchX509SVIDStream = Stream1<X509svidResponse>;
    type FetchX509BundlesStream = Stream1<X509BundlesResponse>;
    type FetchJWTBundlesStream = Stream1<JwtBundlesResponse>;
    type FetchWITSVIDStream = Stream1<WitsvidResponse>;
    type FetchWITBundlesStream = Stream1<WitBundlesResponse>;

    async fn fetch_x509svid(
        &self,
        _: Request<X509svidRequest>,
    ) -> Result<Response<Self::FetchX509SVIDStream>, Status> {
        let (key, csr) = request();
        let call = IssueX509SvidRequest {
            registration: self.registration.clone(),
            csr,
        };
        let svid = self.node.clone().issue_x509_svid(call).await?.into_inner();
        let bundle = self.operator.clone().bundle(BundleRequest {}).await?.into_inner();
        let bundle = X509Bundle::from_pem(domain(), &bundle.pem).unwrap();
        let answer = X509svidResponse {
            svids: vec![X509svid {
                spiffe_id: svid.spiffe_id,
                x509_svid: svid.chain.concat(),
                x509_svid_key: key.serialize_der(),
                bundle: bundle.authorities().iter().flat_map(|one| one.to_vec()).collect(),
                hint: String::new(),
            }],
            ..X509svidResponse::default()
        };
        Ok(Response::new(Box::pin(tokio_stream::once(Ok(answer)))))
    }

    async fn fetch_x509_bundles(
        &self,
        _: Request<X509BundlesRequest>,
    ) -> Result<Response<Self::FetchX509BundlesStream>, Status> {
        not_asked()
    }

    async fn fetch_jwtsvid(&self, _: Request<JwtsvidRequest>) -> Result<Response<JwtsvidResponse>, Status> {
        not_asked()
    }

    async fn fetch_jwt_bundles(
        &self,
        _: Request<JwtBundlesRequest>,
    ) -> Result<Response<Self::FetchJWTBundlesStream>, Status> {
        not_asked()
    }

    async fn fetch_witsvid(
        &self,
        _: Request<WitsvidRequest>,
    ) -> Result<Response<Self::FetchWITSVIDStream>, Status> {
        not_asked()
    }

    async fn fetch_wit_bundles(
        &self,
        _: Request<WitBundlesRequest>,
    ) -> Result<Response<Self::FetchWITBundlesStream>, Status> {
        not_asked()
    }

    async fn validate_jwtsvid(
        &self,
        _: Request<ValidateJwtsvidRequest>,
    ) -> Result<Response<ValidateJwtsvidResponse>, Status> {
        not_asked()
    }
}
