//! What the agent makes of a signet-meshd that tells of endpoints, beats, and hangs.

#![expect(clippy::expect_used, reason = "what fails here is the test")]

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::Stream;
use signet_agent::mesh::{Endpoints, watch as follow};
use signet_agent::status::Status;
use signet_proto::mesh::v1::mesh_service_server::{MeshService, MeshServiceServer};
use signet_proto::mesh::v1::{
    Endpoints as Wire, ExplainRequest, ExplainResponse, FlowEvent, FlowsRequest, ListEndpointsRequest,
    ListEndpointsResponse, ListPoliciesRequest, ListPoliciesResponse, LocalEndpoint, Pairs, StatusRequest,
    StatusResponse, WatchEndpointsRequest, WatchPairsRequest,
};
use signet_session::LONGEST;
use signet_uds::{Access, serve_incoming};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::{Request, Response};

type Told = Result<Wire, tonic::Status>;

/// A signet-meshd that says what a test lets it say, to the one who follows it.
#[derive(Clone, Default)]
struct FakeMesh {
    follower: Arc<Mutex<Option<mpsc::Sender<Told>>>>,
}

impl FakeMesh {
    async fn say(&self, told: Wire) {
        let follower = self.follower.lock().expect("whole").clone();
        follower.expect("followed").send(Ok(told)).await.expect("heard");
    }

    fn is_followed(&self) -> bool {
        let follower = self.follower.lock().expect("whole");
        follower.as_ref().is_some_and(|follower| !follower.is_closed())
    }
}

fn no<T>() -> Result<Response<T>, tonic::Status> {
    Err(tonic::Status::unimplemented("not in this test"))
}

#[tonic::async_trait]
impl MeshService for FakeMesh {
    type WatchEndpointsStream = ReceiverStream<Told>;
    type WatchPairsStream = ReceiverStream<Result<Pairs, tonic::Status>>;
    type FlowsStream = Pin<Box<dyn Stream<Item = Result<FlowEvent, tonic::Status>> + Send>>;

    async fn watch_endpoints(
        &self,
        request: Request<WatchEndpointsRequest>,
    ) -> Result<Response<Self::WatchEndpointsStream>, tonic::Status> {
        assert!(request.get_ref().heartbeat, "the agent asks for it");
        let (sender, receiver) = mpsc::channel(8);
        *self.follower.lock().expect("whole") = Some(sender);
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn watch_pairs(
        &self,
        _: Request<WatchPairsRequest>,
    ) -> Result<Response<Self::WatchPairsStream>, tonic::Status> {
        no()
    }

    async fn list_endpoints(
        &self,
        _: Request<ListEndpointsRequest>,
    ) -> Result<Response<ListEndpointsResponse>, tonic::Status> {
        no()
    }

    async fn list_policies(
        &self,
        _: Request<ListPoliciesRequest>,
    ) -> Result<Response<ListPoliciesResponse>, tonic::Status> {
        no()
    }

    async fn explain(&self, _: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, tonic::Status> {
        no()
    }

    async fn flows(&self, _: Request<FlowsRequest>) -> Result<Response<Self::FlowsStream>, tonic::Status> {
        no()
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, tonic::Status> {
        no()
    }
}

struct Scene {
    mesh: FakeMesh,
    status: Arc<Status>,
    endpoints: watch::Receiver<Option<Arc<Endpoints>>>,
    _directory: tempfile::TempDir,
}

impl Scene {
    async fn open() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("meshd.sock");
        let mesh = FakeMesh::default();
        let incoming = serve_incoming(&socket, Access::Owner).expect("listens");
        let service = MeshServiceServer::new(mesh.clone());
        tokio::spawn(
            Server::builder()
                .add_service(service)
                .serve_with_incoming(incoming),
        );
        let status = Arc::new(Status::default());
        let (publish, endpoints) = watch::channel(None);
        tokio::spawn(follow(socket, publish, status.clone()));
        let scene = Self {
            mesh,
            status,
            endpoints,
            _directory: directory,
        };
        scene.until("followed", |scene| scene.mesh.is_followed()).await;
        scene
    }

    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(20), waiting).await;
        assert!(in_time.is_ok(), "not in time: {what}");
    }

    fn count(&self) -> Option<usize> {
        Some(self.endpoints.borrow().as_ref()?.addresses().len())
    }
}

fn told(heartbeat: u64) -> Wire {
    Wire {
        endpoints: vec![LocalEndpoint {
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
            spiffe_id: "spiffe://t.example/ns/shop/sa/web".to_owned(),
            addresses: vec!["10.244.1.10".to_owned()],
            ..LocalEndpoint::default()
        }],
        heartbeat,
        ..Wire::default()
    }
}

fn beat(heartbeat: u64) -> Wire {
    Wire {
        heartbeat,
        unchanged: true,
        ..Wire::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signet_meshd_that_hangs_is_noticed_and_leases_are_granted_no_longer_than_from_its_last_word() {
    let scene = Scene::open().await;
    let sight = &scene.status.sight;
    assert!(sight.lasting().is_zero(), "nothing was seen yet");
    scene.mesh.say(told(7)).await;
    scene.until("told", |scene| scene.count() == Some(1)).await;
    scene
        .until("seen", |scene| !scene.status.sight.lasting().is_zero())
        .await;
    // Only a later number is a sign of life: what is repeated says nothing of now.
    let before = sight.lasting();
    for _ in 0..5 {
        scene.mesh.say(beat(7)).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let stale = sight.lasting();
    assert!(stale + Duration::from_millis(450) <= before, "repeated");
    scene.mesh.say(beat(8)).await;
    scene
        .until("prolonged", |scene| scene.status.sight.lasting() > stale)
        .await;
    assert_eq!(scene.count(), Some(1), "a beat takes no endpoint away");
    assert!(scene.status.mesh_connected());
    // The connection stays, and nothing comes.
    scene
        .until("noticed", |scene| {
            scene.status.last_error().contains("signet-meshd hangs")
        })
        .await;
    let left = sight.lasting();
    assert!(left + Duration::from_secs(4) <= LONGEST, "{left:?}");
    assert_eq!(scene.count(), Some(1), "the last endpoints stay");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_earlier_signet_meshd_that_does_not_beat_is_believed_while_it_is_there() {
    let scene = Scene::open().await;
    scene.mesh.say(told(0)).await;
    scene.until("told", |scene| scene.count() == Some(1)).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(scene.status.sight.lasting(), LONGEST);
}
