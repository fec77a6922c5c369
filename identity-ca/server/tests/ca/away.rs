//! Nodes that were away while the authority of their CA changed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use signet_ca::Storage;
use signet_proto::ca::v1::node_service_client::NodeServiceClient;
use signet_proto::ca::v1::{ActivateAuthorityRequest, RenewNodeSvidRequest};
use signet_spiffe::{BundleSet, KeyId, SpiffeId, verify_x509_svid};
use signet_tls::{Expect, FixedBundles, FixedSigners, SvidKeyPair, client_config_for, signer_name};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

use crate::rotation::X509;
use crate::running::{Running, TestNode, domain, request};
use crate::upstream::{Root, activate, prepare, start};

/// A node as it was when it went away.
struct Away {
    node: TestNode,
    /// What it trusts.
    bundles: BundleSet,
    /// Who signed its SVID.
    signer: KeyId,
}

impl Away {
    fn of(node: TestNode, ca: &Running) -> Self {
        let bundles = ca.bundles();
        let own = verify_x509_svid(&node.identity.chain, &bundles, ca.now()).unwrap();
        Self {
            signer: own.signer().unwrap().clone(),
            node,
            bundles,
        }
    }

    /// Comes back, as an agent does: it knows the authority that signed its own SVID, and no other.
    async fn comes_back(&self, ca: &Running) -> Result<NodeServiceClient<Channel>, String> {
        let name = ServerName::DnsName(signer_name(&self.signer).unwrap());
        self.dial(ca.server.address(), name).await
    }

    async fn dial(
        &self,
        address: SocketAddr,
        name: ServerName<'static>,
    ) -> Result<NodeServiceClient<Channel>, String> {
        let config = client_config_for(
            Some(&self.node.identity),
            Arc::new(FixedBundles::new(self.bundles.clone())),
            Expect::Exactly(SpiffeId::ca(&domain())),
            Arc::new(FixedSigners::new([self.signer.clone()])),
        );
        let mut config = config.unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let tcp = TcpStream::connect(address).await.unwrap();
        let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await;
        let mut only = Some(tls.map_err(|error| error.to_string())?);
        let connect = tower::service_fn(move |_| {
            let tls = only.take().map(TokioIo::new);
            std::future::ready(tls.ok_or_else(|| std::io::Error::other("there was one connection")))
        });
        let channel = Endpoint::from_static("http://ca.invalid")
            .connect_with_connector(connect)
            .await;
        Ok(NodeServiceClient::new(
            channel.map_err(|error| error.to_string())?,
        ))
    }

    /// The same until it is so: the CA's own SVIDs follow a step of its authorities, and do not come with it.
    async fn until_it_comes_back(&self, ca: &Running, comes: bool) -> Option<NodeServiceClient<Channel>> {
        let begun = Instant::now();
        loop {
            let back = self.comes_back(ca).await;
            if back.is_ok() == comes {
                return back.ok();
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", back.map(drop));
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Why it does not know the CA as that shows itself to who asks for nothing, once it does not.
    async fn until_strange(&self, ca: &Running) -> String {
        let begun = Instant::now();
        loop {
            let name = "ca.invalid".try_into().unwrap();
            if let Err(why) = self.dial(ca.server.address(), name).await {
                return why;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "it shows the former one"
            );
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Comes back, hears of the present authority, and is its node from then on.
    async fn goes_on(&self, ca: &Running) -> SvidKeyPair {
        let client = self.until_it_comes_back(ca, true).await.unwrap();
        let (key, csr) = request();
        let renewed = client
            .clone()
            .renew_node_svid(RenewNodeSvidRequest { csr })
            .await
            .unwrap();
        let renewed = crate::running::pair(&key, &renewed.into_inner());
        let own = verify_x509_svid(&renewed.chain, &ca.bundles(), ca.now()).unwrap();
        assert_ne!(own.signer(), Some(&self.signer), "by the present one");
        renewed
    }
}

/// Where a step is taken as soon as somebody says so: clients go by the clock of this host.
async fn begin() -> (Running, Away) {
    let directory = tempfile::tempdir().unwrap();
    let ca = Running::configured(Storage::Memory, directory, |config| {
        config.rotation.publish_interval = Duration::ZERO;
        config.rotation.automatic = false;
    });
    let ca = ca.await.unwrap();
    let away = Away::of(ca.node("n1", &[]).await, &ca);
    (ca, away)
}

async fn rotate(ca: &Running) {
    ca.prepare(X509).await.unwrap();
    ca.activate(X509, false).await.unwrap();
}

#[tokio::test]
async fn a_node_that_was_away_while_the_root_changed_finds_its_ca_and_goes_on() {
    let (ca, away) = begin().await;
    rotate(&ca).await;
    // What the CA shows to others is by a root that this one has not.
    assert!(away.until_strange(&ca).await.contains("UnknownIssuer"));
    away.goes_on(&ca).await;
    // And once more: the authority before the last one is one that did sign as well.
    rotate(&ca).await;
    away.until_it_comes_back(&ca, true).await.unwrap();
}

#[tokio::test]
async fn below_one_root_a_node_that_was_away_finds_its_ca_and_so_after_a_restart_of_that() {
    let home = tempfile::tempdir().unwrap();
    let root = Root::new(home.path(), |_| {});
    let ca = start(home.path(), root.upstream()).await.unwrap();
    let away = Away::of(ca.node("n1", &[]).await, &ca);
    prepare(&ca).await.unwrap();
    activate(&ca).await;
    let why = away.until_strange(&ca).await;
    assert!(why.contains("Signer"), "{why}");
    away.until_it_comes_back(&ca, true).await.unwrap();
    ca.stop().await;
    let ca = start(home.path(), root.upstream()).await.unwrap();
    away.comes_back(&ca).await.unwrap();
    assert!(away.until_strange(&ca).await.contains("Signer"));
    ca.stop().await;
}

#[tokio::test]
async fn a_tainted_or_revoked_authority_shows_the_ca_to_nobody() {
    for revoked in [false, true] {
        let (ca, away) = begin().await;
        rotate(&ca).await;
        away.until_strange(&ca).await;
        away.until_it_comes_back(&ca, true).await.unwrap();
        let former = away.signer.to_string();
        if revoked {
            ca.revoke_authority(&former, true).await.unwrap();
        } else {
            ca.taint(&former).await.unwrap();
        }
        away.until_it_comes_back(&ca, false).await;
        sleep(Duration::from_millis(50)).await;
        away.comes_back(&ca).await.map(drop).unwrap_err();
    }
}

#[tokio::test]
async fn a_prepared_authority_shows_the_ca_to_nobody_and_one_that_signs_again_to_all() {
    let (ca, away) = begin().await;
    let prepared = ca.prepare(X509).await.unwrap();
    let early = Away {
        signer: prepared.id.parse().unwrap(),
        bundles: ca.bundles(),
        ..away
    };
    early.comes_back(&ca).await.map(drop).unwrap_err();
    ca.activate(X509, false).await.unwrap();
    early.until_it_comes_back(&ca, true).await;
    let first = ca.authorities_of(X509).await.remove(0).id;
    let back = ActivateAuthorityRequest {
        kind: X509.to_owned(),
        id: first,
        ..ActivateAuthorityRequest::default()
    };
    ca.authorities.clone().activate_authority(back).await.unwrap();
    early.until_strange(&ca).await;
    early.until_it_comes_back(&ca, true).await;
}
