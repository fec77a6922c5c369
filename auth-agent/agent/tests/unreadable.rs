//! An agent that cannot read what is revoked: it believes nobody but the CA, which tells it anew.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot be set up has failed"
)]

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use signet_agent::ca::{
    Announcement, CaAddresses, Keeper, NoProof, NodeAccess, PlaceFile, StateFile, follow,
};
use signet_agent::clock::unix_now;
use signet_agent::jwt::JwtSvids;
use signet_agent::status::Status as AgentStatus;
use signet_agent::svids::{Manager, SvidSet, WorkloadSource};
use signet_agent::view::{KeptFile, TowardsCa, ViewStore};
use signet_proto::ca::v1::node_service_server::{NodeService, NodeServiceServer};
use signet_proto::ca::v1::{
    AcknowledgeBundleRequest, AcknowledgeBundleResponse, AttestRequest, AttestResponse, GetCrlRequest,
    GetCrlResponse, IssueJwtSvidRequest, IssueX509SvidRequest, JwtSvid, RenewNodeSvidRequest, Svid,
    SyncRequest,
};
use signet_proto::view::v1::revocation::Subject;
use signet_proto::view::v1::{EncryptionMode, Revocation, Update};
use signet_spiffe::{RevokedBy, SpiffeId, SvidError, UnixTime, verify_x509_svid};
use signet_tls::{BundleSource, ClientAuth, Expect, FixedBundles, server_config};
use signet_uds::{Access, connect, serve_incoming};
use support::{Authority, Cluster, eventually, node_name, workload};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tonic::{Request, Response, Status};

/// A CA that follows nobody's wishes but `Sync`, and counts those for SVIDs.
#[derive(Default)]
struct FakeCa {
    snapshot: Update,
    asked: Arc<AtomicUsize>,
}

#[tonic::async_trait]
impl NodeService for FakeCa {
    type SyncStream = BoxStream<'static, Result<Update, Status>>;

    async fn attest(&self, _: Request<AttestRequest>) -> Result<Response<AttestResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn renew_node_svid(&self, _: Request<RenewNodeSvidRequest>) -> Result<Response<Svid>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn issue_x509_svid(&self, _: Request<IssueX509SvidRequest>) -> Result<Response<Svid>, Status> {
        self.asked.fetch_add(1, SeqCst);
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
        Err(Status::unimplemented(""))
    }

    async fn sync(&self, _: Request<SyncRequest>) -> Result<Response<Self::SyncStream>, Status> {
        let first = stream::iter([Ok(self.snapshot.clone())]);
        Ok(Response::new(first.chain(stream::pending()).boxed()))
    }
}

/// Serves `Sync` over TLS, to nodes alone.
async fn serve(authority: &Authority, directory: &Path, snapshot: Update) -> SocketAddr {
    let socket = directory.join("ca.sock");
    let incoming = serve_incoming(&socket, Access::Owner).expect("a socket");
    let service = NodeServiceServer::new(FakeCa {
        snapshot,
        ..FakeCa::default()
    });
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(incoming),
    );
    let own = authority.issue(&SpiffeId::ca(&authority.domain));
    let trusted = Arc::new(FixedBundles::new(authority.bundles()));
    let expect = Expect::AnyNode(authority.domain.clone());
    let mut config = server_config(&own, trusted, expect, ClientAuth::Required).expect("a configuration");
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (tls, listener) = (
        TlsAcceptor::from(Arc::new(config)),
        TcpListener::bind("127.0.0.1:0"),
    );
    let listener = listener.await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (tls, socket) = (tls.clone(), socket.clone());
            tokio::spawn(async move {
                let mut outside = tls.accept(stream).await?;
                let mut inside = UnixStream::connect(socket).await?;
                copy_bidirectional(&mut outside, &mut inside).await
            });
        }
    });
    address
}

/// A node whose file of revocations is damaged, with the SVID that an earlier run has kept.
struct Node {
    authority: Authority,
    view: Arc<ViewStore>,
    access: watch::Sender<Option<Arc<NodeAccess>>>,
    status: Arc<AgentStatus>,
    directory: tempfile::TempDir,
}

impl Node {
    fn new() -> Self {
        let authority = Authority::new("t.example");
        let directory = tempfile::tempdir().expect("a directory");
        let state = StateFile::new(directory.path()).expect("a directory");
        let own = SpiffeId::node(&authority.domain, &node_name(1));
        state.save(&authority.issue(&own)).expect("saves");
        std::fs::write(directory.path().join("revocations"), "damaged").expect("writes");
        let view = ViewStore::new(node_name(1), authority.domain.clone(), authority.bundles());
        Self {
            view: Arc::new(view.keeping(KeptFile::new(directory.path()))),
            authority,
            access: watch::Sender::new(None),
            status: Arc::default(),
            directory,
        }
    }

    fn start(&self, ca: SocketAddr) {
        let addresses = CaAddresses::new(&[ca], 0);
        let keeper = Keeper {
            node: node_name(1),
            trust_domain: self.authority.domain.clone(),
            ca: addresses,
            prover: Arc::new(NoProof),
            state: StateFile::new(self.directory.path()).expect("a directory"),
            bundles: Arc::new(TowardsCa(self.view.clone())),
            signers: Arc::default(),
            view: self.view.subscribe(),
            status: self.status.clone(),
        };
        tokio::spawn(keeper.run(self.access.clone()));
        let announcement = Announcement {
            addresses: Vec::new(),
            port: 4250,
        };
        tokio::spawn(follow(
            self.view.clone(),
            self.access.subscribe(),
            announcement,
            PlaceFile::new(self.directory.path()),
            self.status.clone(),
        ));
    }

    fn refusal(&self, id: &SpiffeId, bundles: &dyn BundleSource) -> Option<RevokedBy> {
        let svid = self.authority.issue(id);
        match verify_x509_svid(&svid.chain, &bundles.bundles(), UnixTime::now()) {
            Ok(_) => None,
            Err(SvidError::Revoked(revoked)) => Some(revoked.by),
            Err(error) => panic!("{error}"),
        }
    }
}

fn snapshot(authority: &Authority, revocations: Vec<Revocation>) -> Update {
    let cluster = Cluster {
        nodes: vec![([127, 0, 0, 1], 4250).into()],
        workloads: vec![(1, 300)],
        encryption: EncryptionMode::Off,
        revision: 7,
    };
    Update {
        revocations,
        ..cluster.snapshot(authority, 1)
    }
}

#[tokio::test]
async fn an_agent_that_lost_its_revocations_is_told_them_anew_without_a_new_token() {
    let node = Node::new();
    let ca = SpiffeId::ca(&node.authority.domain);
    let everything = Some(RevokedBy::Unreadable);
    for id in [&ca, &workload(300)] {
        assert_eq!(node.refusal(id, &*node.view), everything, "{id}");
    }
    let revoked = Revocation {
        id: format!("spiffe-id:{}", workload(300)),
        subject: Some(Subject::SpiffeId(workload(300).to_string())),
        not_before: unix_now(),
        until: unix_now() + 3600,
        version: 1,
        ..Revocation::default()
    };
    let snapshot = snapshot(&node.authority, vec![revoked]);
    let address = serve(&node.authority, node.directory.path(), snapshot).await;
    node.start(address);
    eventually("the CA has told", || node.view.current().is_some()).await;
    assert_eq!(node.refusal(&workload(300), &*node.view), Some(RevokedBy::Id));
    assert_eq!(node.refusal(&workload(301), &*node.view), None);
}

#[tokio::test]
async fn what_cannot_be_read_closes_everything_but_the_way_to_the_ca_which_what_can_be_read_closes_still() {
    let node = Node::new();
    let towards = TowardsCa(node.view.clone());
    let unreadable = Revocation {
        id: "of:tomorrow".to_owned(),
        subject: None,
        until: unix_now() + 3600,
        version: 1,
        ..Revocation::default()
    };
    let (ca, own) = (
        SpiffeId::ca(&node.authority.domain),
        SpiffeId::node(&node.authority.domain, &node_name(1)),
    );
    let tell = |revocations| {
        node.view
            .apply(snapshot(&node.authority, revocations))
            .expect("applies");
    };
    for told in [false, true] {
        if told {
            tell(vec![unreadable.clone()]);
        }
        for id in [&ca, &own, &workload(300)] {
            assert_eq!(
                node.refusal(id, &*node.view),
                Some(RevokedBy::Unreadable),
                "{id}, {told}"
            );
        }
        for id in [&ca, &own] {
            assert_eq!(node.refusal(id, &towards), None, "{id}, {told}");
        }
    }
    let of_this_node = Revocation {
        id: "node:n1".to_owned(),
        subject: Some(Subject::Node("n1".to_owned())),
        not_before: unix_now(),
        until: unix_now() + 3600,
        version: 1,
        ..Revocation::default()
    };
    tell(vec![unreadable, of_this_node]);
    assert_eq!(node.refusal(&own, &towards), Some(RevokedBy::Id));
}

/// The CA would sign it and write it down, and this node would refuse it: again and again, for each registration.
#[tokio::test]
async fn no_svid_is_asked_for_while_a_revocation_cannot_be_read_and_then_at_once() {
    let node = Node::new();
    let ca = FakeCa::default();
    let asked = ca.asked.clone();
    let socket = node.directory.path().join("ca.sock");
    let incoming = serve_incoming(&socket, Access::Owner).expect("a socket");
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(NodeServiceServer::new(ca))
            .serve_with_incoming(incoming),
    );
    let access = NodeAccess {
        identity: node.authority.identity(&node_name(1)),
        channel: connect(&socket).expect("a channel").into(),
    };
    node.access.send_replace(Some(Arc::new(access)));
    let tokens = JwtSvids::new(
        node.view.subscribe(),
        node.access.subscribe(),
        node.status.clone(),
    );
    let (endpoints, lists) = (watch::Sender::new(None), watch::Sender::new(None));
    let manager = Manager {
        view: node.view.subscribe(),
        access: node.access.subscribe(),
        endpoints: endpoints.subscribe(),
        revocation_list: lists.subscribe(),
        publish: watch::Sender::new(Arc::new(SvidSet::default())),
        workloads: Arc::new(WorkloadSource::new(tokens)),
        restored: Vec::new(),
        status: node.status.clone(),
    };
    tokio::spawn(manager.run());
    // It has ended already, so that the next news is without it.
    let unreadable = Revocation {
        id: "of:tomorrow".to_owned(),
        subject: None,
        until: 1,
        version: 1,
        ..Revocation::default()
    };
    let first = snapshot(&node.authority, vec![unreadable]);
    let next = Update {
        revision: first.revision + 1,
        revocations: Vec::new(),
        ..first.clone()
    };
    node.view.apply(first).expect("applies");
    eventually("the status says why", || {
        node.status.last_error().contains("of:tomorrow")
    })
    .await;
    // Time enough to ask and ask again.
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(asked.load(SeqCst), 0);
    node.view.apply(next).expect("applies");
    eventually("it is asked for", || asked.load(SeqCst) > 0).await;
}
