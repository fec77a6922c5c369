//! The CA's revocation list, from the CA to those who are given it, over a real connection.

#![expect(clippy::expect_used, reason = "a test that cannot be set up has failed")]

mod support;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::stream::Empty;
use signet_agent::ca::NodeAccess;
use signet_agent::clock::unix_now;
use signet_agent::lists::ListKeeper;
use signet_agent::status::Status as AgentStatus;
use signet_agent::view::ViewStore;
use signet_proto::ca::v1::node_service_server::{NodeService, NodeServiceServer};
use signet_proto::ca::v1::{
    AcknowledgeBundleRequest, AcknowledgeBundleResponse, AttestRequest, AttestResponse, GetCrlRequest,
    GetCrlResponse, IssueJwtSvidRequest, IssueX509SvidRequest, JwtSvid, RenewNodeSvidRequest, Svid,
    SyncRequest,
};
use signet_proto::view::v1::revocation::Subject;
use signet_proto::view::v1::{EncryptionMode, Revocation, Update};
use signet_sds::LONGEST_LIST;
use signet_uds::{Access, connect, serve_incoming};
use signet_workload_api::RevocationList;
use support::{Authority, Cluster, PATIENCE, eventually, node_name};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

/// A CA that has nothing but lists, and gives them out in order; the last one for ever.
#[derive(Default)]
struct FakeCa {
    lists: Mutex<VecDeque<Result<GetCrlResponse, Status>>>,
    calls: AtomicUsize,
}

struct Service(Arc<FakeCa>);

#[tonic::async_trait]
impl NodeService for Service {
    type SyncStream = Empty<Result<Update, Status>>;

    async fn attest(&self, _: Request<AttestRequest>) -> Result<Response<AttestResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn renew_node_svid(&self, _: Request<RenewNodeSvidRequest>) -> Result<Response<Svid>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn issue_x509_svid(&self, _: Request<IssueX509SvidRequest>) -> Result<Response<Svid>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn issue_jwt_svid(&self, _: Request<IssueJwtSvidRequest>) -> Result<Response<JwtSvid>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn acknowledge_bundle(
        &self,
        _: Request<AcknowledgeBundleRequest>,
    ) -> Result<Response<AcknowledgeBundleResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_crl(&self, _: Request<GetCrlRequest>) -> Result<Response<GetCrlResponse>, Status> {
        self.0.calls.fetch_add(1, SeqCst);
        let mut lists = self.0.lists.lock().expect("whole");
        let next = lists.pop_front().expect("there is a list");
        if lists.is_empty() {
            lists.push_back(next.clone());
        }
        next.map(Response::new)
    }

    async fn sync(&self, _: Request<SyncRequest>) -> Result<Response<Self::SyncStream>, Status> {
        Err(Status::unimplemented(""))
    }
}

struct World {
    ca: Arc<FakeCa>,
    view: ViewStore,
    status: Arc<AgentStatus>,
    list: watch::Receiver<Option<Arc<RevocationList>>>,
    _access: watch::Sender<Option<Arc<NodeAccess>>>,
    _directory: tempfile::TempDir,
}

impl World {
    /// Follows a view in which nothing is revoked.
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let ca = Arc::<FakeCa>::default();
        let socket = directory.path().join("ca.sock");
        let incoming = serve_incoming(&socket, Access::Owner).expect("a socket");
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(
                    NodeServiceServer::new(Service(ca.clone())).max_encoding_message_size(usize::MAX),
                )
                .serve_with_incoming(incoming),
        );
        let authority = Authority::new("t.example");
        let access = NodeAccess {
            identity: authority.identity(&node_name(1)),
            channel: connect(&socket).expect("a channel").into(),
        };
        let (access, access_watch) = watch::channel(Some(Arc::new(access)));
        let view = ViewStore::new(node_name(1), authority.domain.clone(), authority.bundles());
        let status = Arc::new(AgentStatus::default());
        let (keeper, list) = ListKeeper::new(view.subscribe(), access_watch, status.clone());
        tokio::spawn(keeper.run());
        let cluster = Cluster {
            nodes: vec![([127, 0, 0, 1], 4250).into()],
            workloads: Vec::new(),
            encryption: EncryptionMode::Off,
            revision: 1,
        };
        view.apply(cluster.snapshot(&authority, 1)).expect("applies");
        Self {
            ca,
            view,
            status,
            list,
            _access: access,
            _directory: directory,
        }
    }

    /// The CA will answer so.
    fn answers(&self, lists: impl IntoIterator<Item = Result<GetCrlResponse, Status>>) {
        *self.ca.lists.lock().expect("whole") = lists.into_iter().collect();
    }

    /// At this revision of the view.
    fn revoke(&self, revision: u64, serial: u8) {
        let revocation = Revocation {
            id: format!("serial:{serial:02x}"),
            subject: Some(Subject::Serial(vec![serial])),
            not_before: unix_now(),
            at: unix_now(),
            until: unix_now() + 3600,
            reason: "the key leaked".to_owned(),
            version: revision,
            ..Revocation::default()
        };
        let update = Update {
            revision,
            revocations: vec![revocation],
            ..Update::default()
        };
        self.view.apply(update).expect("applies");
    }

    /// Waits for the list that begins so.
    async fn is_given(&mut self, mark: u8) {
        let is_it = |list: &Option<Arc<RevocationList>>| {
            list.as_ref().is_some_and(|list| list.der.first() == Some(&mark))
        };
        let given = tokio::time::timeout(PATIENCE, self.list.wait_for(is_it)).await;
        given.expect("in time").expect("the keeper runs");
    }
}

/// A list that counts for an hour, and can be told from others by its first byte.
fn list(mark: u8, number: u64) -> GetCrlResponse {
    GetCrlResponse {
        der: vec![mark],
        number,
        this_update: unix_now() - 300,
        next_update: unix_now() + 3600,
        ..GetCrlResponse::default()
    }
}

#[tokio::test]
async fn nobody_is_asked_while_nothing_is_revoked_and_then_each_revocation_brings_a_list() {
    let mut world = World::new();
    world.answers([Ok(list(1, 2))]);
    tokio::task::yield_now().await;
    assert_eq!(
        (world.ca.calls.load(SeqCst), world.list.borrow().is_none()),
        (0, true)
    );
    world.revoke(2, 7);
    world.is_given(1).await;
    world.answers([Ok(list(2, 3))]);
    world.revoke(3, 8);
    world.is_given(2).await;
    assert_eq!(world.ca.calls.load(SeqCst), 2);
}

#[tokio::test]
async fn a_burst_of_revocations_is_told_in_few_lists() {
    let mut world = World::new();
    world.answers([Ok(list(1, 50))]);
    for number in 2..=50 {
        world.revoke(u64::from(number), number);
        // The keeper has its turn after each.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    world.is_given(1).await;
    assert!(world.ca.calls.load(SeqCst) < 25);
}

#[tokio::test]
async fn what_lacks_a_revocation_or_does_not_count_is_not_given_out_and_is_asked_for_again() {
    let mut world = World::new();
    let ended = GetCrlResponse {
        next_update: unix_now() - 1,
        ..list(3, 2)
    };
    world.answers([
        Err(Status::unavailable("busy")),
        Ok(list(2, 1)),
        Ok(ended),
        Ok(list(1, 2)),
    ]);
    world.revoke(2, 7);
    world.is_given(1).await;
    assert_eq!(world.ca.calls.load(SeqCst), 4);
    assert!(world.status.last_error().contains("revocation list"));
}

#[tokio::test]
async fn a_list_is_withdrawn_before_it_ends_when_there_is_no_newer_one() {
    let mut world = World::new();
    // It may be given out for one more second.
    let short = GetCrlResponse {
        next_update: unix_now() + 122,
        ..list(1, 2)
    };
    world.answers([Ok(short), Err(Status::unavailable("busy"))]);
    world.revoke(2, 7);
    world.is_given(1).await;
    let withdrawn = tokio::time::timeout(PATIENCE, world.list.wait_for(Option::is_none)).await;
    withdrawn.expect("in time").expect("the keeper runs");
    eventually("it is asked for again", || world.ca.calls.load(SeqCst) > 1).await;
}

/// Some fifty thousand certificates.
#[tokio::test]
async fn a_list_as_long_as_envoys_can_take_is_given_out_and_why_a_longer_one_is_not_is_told() {
    let mut world = World::new();
    let of_length = |mark, length| {
        let mut der = vec![0; length];
        der[0] = mark;
        GetCrlResponse { der, ..list(1, 2) }
    };
    let longest = GetCrlResponse {
        // As an earlier CA sends it.
        pem: "x".repeat(LONGEST_LIST * 14 / 10),
        ..of_length(1, LONGEST_LIST)
    };
    world.answers([
        Ok(of_length(2, LONGEST_LIST + 1)),
        Ok(of_length(3, 2 * LONGEST_LIST)),
        Ok(longest),
    ]);
    world.revoke(2, 7);
    world.is_given(1).await;
    assert_eq!(world.ca.calls.load(SeqCst), 3);
    let told = world.status.last_error();
    assert!(told.contains(&(2 * LONGEST_LIST).to_string()), "{told}");
}
