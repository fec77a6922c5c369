//! An agent that says what a test wants.

use std::path::Path;
use std::sync::Arc;

use signet_proto::agent::v1::agent_service_server::{AgentService, AgentServiceServer};
use signet_proto::agent::v1::{
    AuthEvent, FlushRequest, FlushResponse, ListLeasesRequest, ListLeasesResponse, ListProofsRequest,
    ListProofsResponse, ListSessionsRequest, ListSessionsResponse, ListSvidsRequest, ListSvidsResponse,
    ProofEntry, ProveRequest, StatusRequest, StatusResponse, WatchRequest, WatchViewRequest,
};
use signet_proto::view::v1::{Cluster, Identity, Node, TrustBundle, Update};
use signet_uds::{Access, serve_incoming};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// Serves `agent.sock` until it is stopped or dropped.
pub(crate) struct FakeAgent {
    updates: Arc<watch::Sender<Update>>,
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

impl FakeAgent {
    /// Two nodes, of which n1 is ours, and the identity of shop/web.
    pub(crate) fn start(run_dir: &Path) -> Self {
        let updates = Arc::new(watch::Sender::new(snapshot()));
        let incoming = serve_incoming(&run_dir.join("agent.sock"), Access::Owner).unwrap();
        let (stop, mut stopped) = watch::channel(false);
        let service = AgentServiceServer::new(Service {
            updates: Arc::clone(&updates),
            stop: stopped.clone(),
        });
        let task = tokio::spawn(async move {
            let stopped = async move {
                let _ = stopped.changed().await;
            };
            let _ = Server::builder()
                .add_service(service)
                .serve_with_incoming_shutdown(incoming, stopped)
                .await;
        });
        Self {
            updates,
            stop,
            task: Some(task),
        }
    }

    /// The registration of shop/web is deleted.
    pub(crate) fn without_identity(&self) {
        self.updates.send_replace(Update {
            revision: 2,
            removed_identities: vec!["spiffe://cluster.local/ns/shop/sa/web".into()],
            ..Update::default()
        });
    }

    /// Ends all streams and the server.
    pub(crate) async fn stop(mut self) {
        self.stop.send_replace(true);
        if let Some(task) = self.task.take() {
            task.await.unwrap();
        }
    }
}

impl Drop for FakeAgent {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

fn snapshot() -> Update {
    let node = |id: u32| Node {
        name: format!("n{id}"),
        id,
        addresses: vec![format!("192.0.2.{id}")],
        session_port: 4250,
        pod_cidrs: vec![format!("10.244.{id}.0/24"), format!("fd00:244:{id}::/64")],
    };
    Update {
        revision: 1,
        snapshot: true,
        self_node: "n1".into(),
        nodes: vec![node(1), node(2)],
        identities: vec![Identity {
            spiffe_id: "spiffe://cluster.local/ns/shop/sa/web".into(),
            number: 256,
            nodes: vec!["n1".into(), "n2".into()],
        }],
        bundle: Some(TrustBundle {
            trust_domain: "cluster.local".into(),
            ..TrustBundle::default()
        }),
        cluster: Some(Cluster::default()),
        ..Update::default()
    }
}

struct Service {
    updates: Arc<watch::Sender<Update>>,
    stop: watch::Receiver<bool>,
}

#[tonic::async_trait]
impl AgentService for Service {
    type WatchViewStream = ReceiverStream<Result<Update, Status>>;

    async fn watch_view(
        &self,
        _: Request<WatchViewRequest>,
    ) -> Result<Response<Self::WatchViewStream>, Status> {
        let (sender, receiver) = mpsc::channel(1);
        let (mut updates, mut stop) = (self.updates.subscribe(), self.stop.clone());
        tokio::spawn(async move {
            let _ = sender.send(Ok(snapshot())).await;
            if !updates.borrow_and_update().snapshot {
                updates.mark_changed();
            }
            loop {
                tokio::select! {
                    _ = stop.changed() => return,
                    changed = updates.changed() => if changed.is_err() { return },
                }
                let update = updates.borrow_and_update().clone();
                if sender.send(Ok(update)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn list_proofs(
        &self,
        _: Request<ListProofsRequest>,
    ) -> Result<Response<ListProofsResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    async fn list_sessions(
        &self,
        _: Request<ListSessionsRequest>,
    ) -> Result<Response<ListSessionsResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    async fn list_leases(
        &self,
        _: Request<ListLeasesRequest>,
    ) -> Result<Response<ListLeasesResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    async fn list_svids(&self, _: Request<ListSvidsRequest>) -> Result<Response<ListSvidsResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    type WatchStream = ReceiverStream<Result<AuthEvent, Status>>;

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    async fn flush(&self, _: Request<FlushRequest>) -> Result<Response<FlushResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    async fn prove(&self, _: Request<ProveRequest>) -> Result<Response<ProofEntry>, Status> {
        Err(Status::unimplemented("not needed"))
    }
}
