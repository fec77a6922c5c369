//! A node has one CA of its own, and takes no other one of the trust domain for it.

#![expect(clippy::expect_used, clippy::panic, reason = "what fails here is the test")]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use signet_agent::ca::{CaAddresses, OwnCa, channel};
use signet_agent::view::{View, ViewStore};
use signet_proto::ca::v1::RenewNodeSvidRequest;
use signet_proto::ca::v1::node_service_client::NodeServiceClient;
use signet_proto::view::v1::EncryptionMode;
use signet_spiffe::{KeyId, SpiffeId, UnixTime};
use signet_tls::{ClientAuth, Expect, FixedBundles, peer_svid, server_config_with};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use support::{Authority, Cluster, PATIENCE, node_name};

/// What answers under the name of the CA, with an SVID that this authority signed.
struct Answering {
    address: SocketAddr,
    /// Whether the node went on with it: one entry for each handshake.
    taken: mpsc::UnboundedReceiver<bool>,
}

impl Answering {
    async fn start(authority: &Authority) -> Self {
        Self::showing(authority, &[]).await
    }

    /// With SVIDs by other authorities, for those who ask for them by these names.
    async fn showing(authority: &Authority, others: &[(KeyId, &Authority)]) -> Self {
        let id = SpiffeId::ca(&authority.domain);
        let own = authority.issue(&id);
        let others: Vec<_> = others
            .iter()
            .map(|(name, other)| (name.clone(), other.issue(&id)))
            .collect();
        let bundles = Arc::new(FixedBundles::new(authority.bundles()));
        let expect = Expect::AnyInTrustDomain(authority.domain.clone());
        let config = server_config_with(&own, &others, bundles, expect, ClientAuth::Optional);
        let mut config = config.expect("a configuration");
        config.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (told, taken) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = told.send(acceptor.accept(stream).await.is_ok());
            }
        });
        Self { address, taken }
    }

    async fn was_taken(&mut self) -> bool {
        let told = timeout(PATIENCE, self.taken.recv()).await;
        told.expect("nobody came").expect("it goes on")
    }
}

/// A node that `own` has signed an SVID for, and what it was told.
struct Node<'a> {
    own: &'a Authority,
    view: watch::Receiver<Option<Arc<View>>>,
    kept: Vec<String>,
}

impl<'a> Node<'a> {
    fn new(own: &'a Authority) -> Self {
        let (_, view) = watch::channel(None);
        let kept = Vec::new();
        Self { own, view, kept }
    }

    fn told(self, signers: &[&Authority]) -> Self {
        let store = ViewStore::new(node_name(1), self.own.domain.clone(), self.own.bundles());
        let cluster = Cluster {
            nodes: Vec::new(),
            workloads: Vec::new(),
            encryption: EncryptionMode::Off,
            revision: 1,
        };
        let mut snapshot = cluster.snapshot(self.own, 1);
        if let Some(bundle) = &mut snapshot.bundle {
            bundle.node_signers = signers.iter().map(|one| one.signer()).collect();
        }
        store.apply(snapshot).expect("a view");
        let view = store.subscribe();
        Self { view, ..self }
    }

    fn keeping(self, signers: &[&Authority]) -> Self {
        let kept = signers.iter().map(|one| one.signer()).collect();
        Self { kept, ..self }
    }

    /// Calls, and comes back with the failure: nobody here answers.
    async fn call(&self, at: &[SocketAddr]) -> String {
        let identity = self.own.issue(&SpiffeId::node(&self.own.domain, &node_name(1)));
        let verified =
            peer_svid(Some(&identity.chain), &self.own.bundles(), UnixTime::now()).expect("its own");
        let own = OwnCa {
            signer: verified.signer().cloned(),
            view: self.view.clone(),
            kept: self.kept.clone().into(),
        };
        let bundles = Arc::new(FixedBundles::new(self.own.bundles()));
        let addresses = CaAddresses::new(at, 0);
        let channel = channel(
            &addresses,
            Some(&identity),
            bundles,
            &self.own.domain,
            Some(Arc::new(own)),
        );
        let mut client = NodeServiceClient::new(channel.expect("a channel"));
        let failed = client.renew_node_svid(RenewNodeSvidRequest::default()).await;
        match failed {
            Ok(_) => panic!("nobody answers here"),
            Err(status) => format!("{status:?}"),
        }
    }

    async fn takes(&self, ca: &mut Answering) -> bool {
        self.call(&[ca.address]).await;
        ca.was_taken().await
    }
}

fn key(of: &Authority) -> KeyId {
    of.signer().parse().expect("an identifier")
}

const ANOTHER: &str = "signed by another CA of the trust domain than ours";

#[tokio::test]
async fn a_ca_below_ours_is_not_taken_for_it_and_ours_is_found_behind_it() {
    let upper = Authority::new("t.example");
    let lower = upper.below();
    let mut hostile = Answering::start(&lower).await;
    let mut good = Answering::start(&upper).await;
    for node in [
        Node::new(&upper).told(&[&upper]),
        Node::new(&upper).keeping(&[&upper]),
    ] {
        let why = node.call(&[hostile.address]).await;
        assert!(why.contains(ANOTHER), "{why}");
        assert!(!why.contains("OtherError"), "words for people: {why}");
        assert!(!hostile.was_taken().await);
        node.call(&[hostile.address, good.address]).await;
        assert!(!hostile.was_taken().await);
        assert!(good.was_taken().await);
    }
    // And no more the other way about.
    assert!(!Node::new(&lower).told(&[&lower]).takes(&mut good).await);
    assert!(Node::new(&lower).told(&[&lower]).takes(&mut hostile).await);
}

/// Before the CA has said anything, and where it is too old to say.
#[tokio::test]
async fn while_our_ca_has_named_nobody_it_is_who_signed_our_own_svid() {
    let upper = Authority::new("t.example");
    let lower = upper.below();
    let mut impostor = Answering::start(&lower).await;
    let mut good = Answering::start(&upper).await;
    for node in [Node::new(&upper), Node::new(&upper).told(&[])] {
        let why = node.call(&[impostor.address]).await;
        assert!(why.contains(ANOTHER), "{why}");
        assert!(!impostor.was_taken().await);
        assert!(node.takes(&mut good).await);
    }
}

#[tokio::test]
async fn the_own_ca_s_next_authority_is_known_before_it_signs() {
    let root = Authority::new("t.example");
    let (first, second, other) = (root.below(), root.below(), root.below());
    let mut rotated = Answering::start(&second).await;
    assert!(
        Node::new(&first)
            .told(&[&first, &second])
            .takes(&mut rotated)
            .await
    );
    assert!(
        Node::new(&first)
            .keeping(&[&first, &second])
            .takes(&mut rotated)
            .await
    );
    // What is told counts beside what was kept of an earlier day.
    let node = Node::new(&first).keeping(&[&first]).told(&[&first, &second]);
    assert!(node.takes(&mut rotated).await);
    assert!(!Node::new(&first).told(&[&first]).takes(&mut rotated).await);
    assert!(
        !Node::new(&first)
            .told(&[&first, &other])
            .takes(&mut rotated)
            .await
    );
}

/// As where it was down while the authority that signed its SVID was replaced and retired.
#[tokio::test]
async fn a_node_whose_signer_was_retired_finds_the_authority_that_its_ca_named() {
    let root = Authority::new("t.example");
    let (retired, second, other) = (root.below(), root.below(), root.below());
    let mut rotated = Answering::start(&second).await;
    let mut impostor = Answering::start(&other).await;
    for node in [
        Node::new(&retired).told(&[&second]),
        Node::new(&retired).keeping(&[&second]),
    ] {
        assert!(node.takes(&mut rotated).await);
        assert!(!node.takes(&mut impostor).await);
    }
}

/// As where it was down from before the next authority was published until after it signed.
#[tokio::test]
async fn a_node_that_was_never_told_of_the_present_authority_is_shown_the_one_that_signed_its_own_svid() {
    let root = Authority::new("t.example");
    let (former, present, tainted) = (root.below(), root.below(), root.below());
    let mut ca = Answering::showing(&present, &[(key(&former), &former)]).await;
    for away in [
        Node::new(&former),
        Node::new(&former).told(&[&former]),
        Node::new(&former).keeping(&[&former]),
    ] {
        assert!(away.takes(&mut ca).await);
    }
    assert!(Node::new(&present).takes(&mut ca).await);
    // Of one whose key may be somebody else's it shows nothing.
    assert!(!Node::new(&tainted).told(&[&tainted]).takes(&mut ca).await);
}

#[tokio::test]
async fn another_ca_that_is_asked_for_the_authority_of_ours_cannot_show_it() {
    let upper = Authority::new("t.example");
    let (former, lower) = (upper.below(), upper.below());
    // It says yes to every name, and has its own signature alone.
    let names = [(key(&former), &lower), (key(&upper), &lower)];
    let mut impostor = Answering::showing(&lower, &names).await;
    for node in [
        Node::new(&former),
        Node::new(&former).told(&[&former]),
        Node::new(&upper),
    ] {
        let why = node.call(&[impostor.address]).await;
        assert!(why.contains(ANOTHER), "{why}");
        assert!(!impostor.was_taken().await);
    }
}

#[tokio::test]
async fn who_has_moved_to_another_ca_takes_its_word_and_forgets_the_ca_before() {
    let root = Authority::new("t.example");
    let (before, now) = (root.below(), root.below());
    let mut ca = Answering::start(&now).await;
    assert!(Node::new(&now).takes(&mut ca).await, "it signed our SVID");
    assert!(
        Node::new(&now).told(&[]).takes(&mut ca).await,
        "its CA is too old to say"
    );
    let moved = Node::new(&now).keeping(&[&before]).told(&[&before]);
    assert!(moved.takes(&mut ca).await, "it belongs to another one now");
    let settled = Node::new(&now).keeping(&[&before]).told(&[&now]);
    assert!(settled.takes(&mut ca).await);
    let mut old = Answering::start(&before).await;
    assert!(
        !settled.takes(&mut old).await,
        "what an earlier CA named says nothing any more"
    );
    // Long enough for a second handshake that nobody asked for.
    assert!(
        timeout(Duration::from_millis(50), old.taken.recv())
            .await
            .is_err()
    );
}
