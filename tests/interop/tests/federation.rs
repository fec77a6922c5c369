//! Two trust domains of real CAs and agents, and a SPIFFE client that others wrote as the workload of both.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test whose set-up fails has failed"
)]

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use clap::Parser as _;
use futures::StreamExt as _;
use rustls_pki_types::{CertificateDer, UnixTime};
use signet_agent::cli::{Cli, Command};
use signet_ca::{BundleEndpoint, Config, EndpointIdentity, Server, Storage};
use signet_proto::ca::v1::authority_service_client::AuthorityServiceClient;
use signet_proto::ca::v1::operator_service_client::OperatorServiceClient;
use signet_proto::ca::v1::{
    ActivateAuthorityRequest, BundleRequest, CreateJoinTokenRequest, DefederateRequest, FederateRequest,
    ListAuthoritiesRequest, PrepareAuthorityRequest, RefreshFederationRequest, RegisterRequest,
    RevokeAuthorityRequest,
};
use signet_spiffe::{BundleSet, X509Bundle, verify_x509_svid};
use spiffe::{TrustDomain, WorkloadApiClient, X509Context};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::Channel;

/// Longer than any step may take: only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_mins(1);

fn nowhere_else() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// A CA with a bundle endpoint that shows its SVID.
async fn ca(name: &str, directory: &Path, endpoint: SocketAddr) -> Server {
    let storage = Storage::Directory(directory.join("data"));
    let config = Config {
        bundle_endpoint: Some(BundleEndpoint {
            listen: endpoint,
            identity: EndpointIdentity::Spiffe,
        }),
        ..Config::new(name.parse().unwrap(), storage, directory.join("ca.sock"))
    };
    Server::start(config).await.unwrap()
}

/// A trust domain with one node.
struct Domain {
    name: &'static str,
    server: Server,
    directory: TempDir,
    agent: CancellationToken,
    /// Ends the agent.
    _end: DropGuard,
}

impl Domain {
    async fn start(name: &'static str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let server = ca(name, directory.path(), nowhere_else()).await;
        let agent = CancellationToken::new();
        Self {
            name,
            server,
            directory,
            _end: agent.clone().drop_guard(),
            agent,
        }
    }

    /// Another key signs tokens, and the one that did is not published any more.
    async fn take_token_key_back(&self) {
        let socket = self.directory.path().join("ca.sock");
        let mut authorities = AuthorityServiceClient::new(signet_uds::connect(&socket).unwrap());
        let list = authorities
            .list_authorities(ListAuthoritiesRequest {})
            .await
            .unwrap();
        let mut keys = list.into_inner().authorities;
        keys.retain(|one| one.kind == "jwt");
        let kind = "jwt".to_owned();
        let prepare = PrepareAuthorityRequest { kind: kind.clone() };
        authorities.prepare_authority(prepare).await.unwrap();
        let activate = ActivateAuthorityRequest {
            kind: kind.clone(),
            acknowledged: true,
            ..ActivateAuthorityRequest::default()
        };
        timeout(PATIENCE, async {
            while authorities.activate_authority(activate.clone()).await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await
        .unwrap();
        let revoke = RevokeAuthorityRequest {
            kind,
            id: keys.remove(0).id,
            reason: "key-compromise".to_owned(),
            ..RevokeAuthorityRequest::default()
        };
        authorities.revoke_authority(revoke).await.unwrap();
    }

    fn operator(&self) -> OperatorServiceClient<Channel> {
        OperatorServiceClient::new(signet_uds::connect(&self.directory.path().join("ca.sock")).unwrap())
    }

    async fn bundle(&self) -> Vec<u8> {
        let bundle = self.operator().bundle(BundleRequest {}).await.unwrap();
        bundle.into_inner().spiffe.into_bytes()
    }

    /// Begins to follow another one.
    async fn follow(&self, other: &Self) {
        let request = FederateRequest {
            trust_domain: other.name.to_owned(),
            url: format!("https://{}/", other.server.bundle_endpoint().unwrap()),
            profile: "https_spiffe".to_owned(),
            endpoint_spiffe_id: format!("spiffe://{}/signet/ca", other.name),
            bundle: other.bundle().await,
            web_ca: String::new(),
        };
        self.operator().federate(request).await.unwrap();
    }

    /// Registers this process, and starts the agent that serves it.
    async fn serve_us(&self, path: &str, federates_with: &[&str]) -> WorkloadApiClient {
        let file = |name: &str| self.directory.path().join(name);
        let token = CreateJoinTokenRequest {
            node: "n1".to_owned(),
            ..CreateJoinTokenRequest::default()
        };
        let token = self.operator().create_join_token(token).await.unwrap();
        std::fs::write(file("token"), token.into_inner().token).unwrap();
        std::fs::write(file("bundle.pem"), self.server.bundle().to_pem()).unwrap();
        let register = RegisterRequest {
            spiffe_id: format!("spiffe://{}{path}", self.name),
            node: "n1".to_owned(),
            selectors: vec![format!("unix:uid:{}", rustix::process::getuid().as_raw())],
            ttl: 0,
            federates_with: federates_with.iter().map(ToString::to_string).collect(),
            ..RegisterRequest::default()
        };
        self.operator().register(register).await.unwrap();
        let address = self.server.address().to_string();
        let at = |name: &str| file(name).display().to_string();
        let arguments = [
            "signet-agent".to_owned(),
            "run".to_owned(),
            "--node=n1".to_owned(),
            format!("--ca={address}"),
            format!("--trust-bundle={}", at("bundle.pem")),
            format!("--join-token-file={}", at("token")),
            format!("--data-dir={}", at("agent")),
            format!("--run-dir={}", at("run")),
            format!("--bpffs={}", at("none")),
            "--listen=127.0.0.1:0".to_owned(),
        ];
        let Command::Run(run) = Cli::parse_from(arguments).command;
        tokio::spawn(signet_agent::run::run(run, self.agent.clone()));
        let socket = format!("unix://{}", at("run/workload.sock"));
        timeout(PATIENCE, async {
            loop {
                // Until the agent has an SVID for us, it asks us to try again.
                if let Ok(client) = WorkloadApiClient::connect_to(&socket).await
                    && client.fetch_x509_context().await.is_ok()
                {
                    return client;
                }
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("the agent of {} serves nothing", self.name))
    }
}

fn authorities(context: &X509Context, name: &str) -> Option<Vec<CertificateDer<'static>>> {
    let bundle = context.bundle_set().get(&TrustDomain::new(name).unwrap())?;
    let authorities = bundle.authorities().iter();
    Some(
        authorities
            .map(|authority| CertificateDer::from(authority.as_bytes().to_vec()))
            .collect(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_row_64_and_68_workloads_of_two_trust_domains_check_one_another() {
    let (a, b) = (Domain::start("a.example").await, Domain::start("b.example").await);
    a.follow(&b).await;
    b.follow(&a).await;
    let ours = a.serve_us("/client", &["b.example"]).await;
    let theirs = b.serve_us("/server", &[]).await;

    let contexts = ours.stream_x509_contexts().await.unwrap();
    let mut contexts = std::pin::pin!(contexts);
    let first = timeout(PATIENCE, contexts.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let shown = theirs.fetch_x509_svid().await.unwrap();
    let chain: Vec<_> = shown
        .cert_chain()
        .iter()
        .map(|certificate| CertificateDer::from(certificate.as_bytes().to_vec()))
        .collect();
    let bundle = X509Bundle::new(
        "b.example".parse().unwrap(),
        authorities(&first, "b.example").unwrap(),
    );
    let believed = verify_x509_svid(&chain, &BundleSet::single(bundle.unwrap()), UnixTime::now());
    assert_eq!(believed.unwrap().id().as_str(), "spiffe://b.example/server");
    // What stands for A in A's own bundle says nothing of B.
    let own = X509Bundle::new(
        "a.example".parse().unwrap(),
        authorities(&first, "a.example").unwrap(),
    );
    assert!(verify_x509_svid(&chain, &BundleSet::single(own.unwrap()), UnixTime::now()).is_err());
    // B follows A, but its workload is not registered for that.
    let there = theirs.fetch_x509_context().await.unwrap();
    assert!(authorities(&there, "a.example").is_none());

    // Tokens alike, the agent checks them for the workload; also after their key has changed over there.
    let token = theirs.fetch_jwt_token(["x"], None).await.unwrap();
    let valid = ours.validate_jwt_token("x", &token).await.unwrap();
    assert_eq!(valid.spiffe_id().to_string(), "spiffe://b.example/server");
    let foreign = ours.fetch_jwt_token(["x"], None).await.unwrap();
    assert!(theirs.validate_jwt_token("x", &foreign).await.is_err());
    b.take_token_key_back().await;
    let refresh = RefreshFederationRequest {
        trust_domain: "b.example".to_owned(),
    };
    let fetched = a
        .operator()
        .refresh_federation(refresh)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(fetched.sequence, Some(3));
    timeout(PATIENCE, async {
        while ours.validate_jwt_token("x", &token).await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("a token under a key that B publishes no more is still good here");

    // The end of the relationship ends it at the workload.
    let end = DefederateRequest {
        trust_domain: "b.example".to_owned(),
    };
    a.operator().defederate(end).await.unwrap();
    timeout(PATIENCE, async {
        loop {
            let context = contexts.next().await.unwrap().unwrap();
            if authorities(&context, "b.example").is_none() {
                break;
            }
        }
    })
    .await
    .expect("the bundle stays");
    drop(b);
}
