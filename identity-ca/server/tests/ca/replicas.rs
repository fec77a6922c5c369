//! Several CAs on one PostgreSQL.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use signet_ca::{Config, Database, Server, Storage};
use signet_proto::ca::v1::operator_service_client::OperatorServiceClient;
use signet_proto::ca::v1::{
    BanNodeRequest, ListRegistrationsRequest, RegisterRequest, RenewNodeSvidRequest, StatusRequest,
};
use signet_test_postgres::{Error, shared};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use tonic::Code;
use tonic::transport::Channel;

use crate::running::{Running, TestNode, domain, request};

/// For what should be there at once, on a machine that is busy.
const SOON: Duration = Duration::from_secs(30);

/// A new database; none, loudly, where there is no PostgreSQL.
pub(crate) fn database(test: &str) -> Option<Database> {
    match shared() {
        Ok(server) => Some(Database::Postgres(server.database().unwrap())),
        Err(missing @ Error::Missing) => {
            signet_skip::skip(&format!("replicas::{test}"), &missing.to_string());
            None
        }
        Err(broken @ Error::Broken(_)) => panic!("{broken}"),
    }
}

/// A directory with what another CA's keys are sealed under, and nothing else of it.
pub(crate) fn with_keys_of(other: &Path) -> TempDir {
    use std::os::unix::fs::DirBuilderExt as _;
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    fs::DirBuilder::new().mode(0o700).create(&data).unwrap();
    for file in fs::read_dir(other.join("data")).unwrap() {
        let file = file.unwrap();
        let path = file.path();
        if path.extension().is_some_and(|extension| extension == "key") {
            // With its mode.
            fs::copy(file.path(), data.join(file.file_name())).unwrap();
        }
    }
    directory
}

pub(crate) async fn two(database: &Database) -> (Running, Running) {
    let one = Running::on_database(tempfile::tempdir().unwrap(), database.clone()).await;
    let directory = with_keys_of(one.directory.path());
    let two = Running::on_database(directory, database.clone()).await;
    (one, two)
}

/// The node as a client of another CA.
pub(crate) async fn at(ca: &Running, node: TestNode) -> TestNode {
    let client = ca.client(Some(&node.identity)).await.unwrap();
    TestNode { client, ..node }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_done_at_one_ca_is_known_at_the_other_at_once() {
    let Some(database) = database("what_is_done_at_one_ca_is_known_at_the_other_at_once") else {
        return;
    };
    let (one, two) = two(&database).await;
    let token = one.token("n1", &["10.244.1.0/24"]).await.unwrap();
    two.attest_with(&token).await.unwrap();
    for ca in [&one, &two] {
        let again = ca.attest_with(&token).await.map(drop).unwrap_err();
        assert_eq!(again.code(), Code::Unauthenticated, "a token worked twice");
    }
    let node = at(&two, one.node("n1", &[]).await).await;
    let mut stream = node.follow(0).await;
    let mut seen = stream.next().await;
    let web = one
        .register("spiffe://td/ns/shop/sa/web", "n1", "unix:uid:1")
        .await
        .unwrap();
    let pushed = async {
        while seen.registrations.is_empty() {
            seen = stream.next().await;
        }
    };
    timeout(SOON, pushed).await.unwrap();
    assert_eq!(seen.registrations, [web]);
    // Where the stream was at one, it goes on at the other.
    let node = at(&one, node).await;
    let mut resumed = node.follow(&seen).await;
    two.register("spiffe://td/ns/shop/sa/api", "n1", "unix:uid:2")
        .await
        .unwrap();
    let delta = timeout(SOON, resumed.next()).await.unwrap();
    assert!(!delta.snapshot && delta.identities[0].number == 257);

    let node = at(&two, node).await;
    let mut stream = node.follow(&delta).await;
    let ban = BanNodeRequest {
        node: "n1".to_owned(),
        reason: "stolen".to_owned(),
        rehearse: false,
    };
    one.operator.clone().ban_node(ban).await.unwrap();
    let end = timeout(SOON, stream.end()).await.unwrap();
    assert_eq!(end.code(), Code::PermissionDenied, "{end}");
    let (_, csr) = request();
    node.client
        .clone()
        .renew_node_svid(RenewNodeSvidRequest { csr })
        .await
        .unwrap_err();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_cas_that_are_shown_one_token_at_once_one_admits() {
    let Some(database) = database("of_two_cas_that_are_shown_one_token_at_once_one_admits") else {
        return;
    };
    let (one, two) = two(&database).await;
    for round in 0..10 {
        let token = one.token(&format!("n{round}"), &[]).await.unwrap();
        let (first, second) = tokio::join!(one.attest_with(&token), two.attest_with(&token));
        let codes = [first, second].map(|outcome| outcome.map_or_else(|status| status.code(), |_| Code::Ok));
        let admitted = codes.iter().filter(|code| **code == Code::Ok).count();
        assert_eq!(admitted, 1, "{codes:?}");
        assert!(
            codes.contains(&Code::Unauthenticated),
            "the other one is refused, and not told to come back: {codes:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ca_without_what_the_keys_are_sealed_under_is_not_let_in() {
    let Some(database) = database("a_ca_without_what_the_keys_are_sealed_under_is_not_let_in") else {
        return;
    };
    let one = Running::on_database(tempfile::tempdir().unwrap(), database.clone()).await;
    let directory = tempfile::tempdir().unwrap();
    let storage = Storage::Database {
        directory: directory.path().join("data"),
        database,
    };
    let config = Config::new(domain(), storage, directory.path().join("ca.sock"));
    let refused = Server::start(config).await.unwrap_err();
    assert!(
        format!("{refused:#}").contains("key-encryption.key"),
        "{refused:#}"
    );
    drop(one);
}

/// `signet-ca` as a process.
struct Process {
    child: Child,
    operator: OperatorServiceClient<Channel>,
}

impl Process {
    async fn start(directory: &Path, database: &Database) -> Self {
        let Database::Postgres(url) = database else {
            panic!("not PostgreSQL");
        };
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let socket = directory.join("process.sock");
        let child = Command::new(env!("CARGO_BIN_EXE_signet-ca"))
            .args([
                "run",
                "--trust-domain",
                "td",
                "--listen",
                &format!("127.0.0.1:{port}"),
            ])
            .arg("--data-dir")
            .arg(directory.join("data"))
            .arg("--socket")
            .arg(&socket)
            .env("SIGNET_CA_DATABASE", url)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut operator = OperatorServiceClient::new(signet_uds::connect(&socket).unwrap());
        let ready = async {
            while operator.status(StatusRequest {}).await.is_err() {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(SOON, ready).await.unwrap();
        Self { child, operator }
    }

    /// SIGKILL.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn when_one_ca_is_killed_under_load_no_request_is_lost_after_a_retry() {
    const REQUESTS: u32 = 120;
    let Some(database) = database("when_one_ca_is_killed_under_load_no_request_is_lost_after_a_retry") else {
        return;
    };
    let other = Running::on_database(tempfile::tempdir().unwrap(), database.clone()).await;
    let directory = with_keys_of(other.directory.path());
    let mut killed = Process::start(directory.path(), &database).await;
    let node = other.node("n1", &[]).await;
    let mut running = tokio::task::JoinSet::new();
    for number in 0..REQUESTS {
        let clients = [killed.operator.clone(), other.operator.clone()];
        running.spawn(async move {
            let request = RegisterRequest {
                spiffe_id: format!("spiffe://td/ns/shop/sa/w{number}"),
                node: "n1".to_owned(),
                selectors: vec!["unix:uid:1000".to_owned()],
                ttl: 0,
                ..RegisterRequest::default()
            };
            for mut client in clients.into_iter().cycle().take(40) {
                match client.register(request.clone()).await {
                    Ok(_) => return true,
                    // The answer was lost, not what it was about.
                    Err(status) if status.code() == Code::AlreadyExists => return true,
                    Err(_) => sleep(Duration::from_millis(50)).await,
                }
            }
            false
        });
    }
    let mut done = 0;
    while let Some(registered) = running.join_next().await {
        assert!(registered.unwrap(), "a request was lost");
        done += 1;
        if done == REQUESTS / 4 {
            killed.kill();
        }
    }
    let list = other
        .operator
        .clone()
        .list_registrations(ListRegistrationsRequest {})
        .await
        .unwrap()
        .into_inner()
        .registrations;
    let numbers: BTreeSet<_> = list.iter().map(|registration| registration.identity).collect();
    let ids: BTreeSet<_> = list.iter().map(|registration| &registration.spiffe_id).collect();
    let wanted = usize::try_from(REQUESTS).unwrap();
    assert_eq!((list.len(), numbers.len(), ids.len()), (wanted, wanted, wanted));
    let snapshot = node.follow(0).await.next().await;
    assert_eq!(snapshot.registrations.len(), wanted);
}
