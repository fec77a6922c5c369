//! Two real CAs on one PostgreSQL, of which one can lose it, and real agents of both, in this process.

use std::fs::{self, DirBuilder};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use clap::Parser as _;
use signet_agent::cli::{Cli, Command};
use signet_ca::{Config, Database, Server, Storage};
use signet_proto::ca::v1::operator_service_client::OperatorServiceClient;
use signet_proto::ca::v1::{CreateJoinTokenRequest, RegisterRequest, StatusRequest};
use signet_test_postgres::{Error, shared};
use spiffe::WorkloadApiClient;
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

/// Longer than any step may take: only a test that fails waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// The URL of a new database; none, loudly, where there is no PostgreSQL.
pub(crate) fn database(test: &str) -> Option<String> {
    match shared() {
        Ok(server) => Some(server.database().unwrap()),
        Err(missing @ Error::Missing) => {
            signet_skip::skip(test, &missing.to_string());
            None
        }
        Err(broken @ Error::Broken(_)) => panic!("{broken}"),
    }
}

/// A way to a database's socket that can be cut.
pub(crate) struct Wire {
    directory: TempDir,
    behind: PathBuf,
    open: Option<JoinHandle<()>>,
}

impl Wire {
    /// To the database of this URL.
    pub(crate) fn new(url: &str) -> Self {
        let (_, host) = url.split_once("host=").unwrap();
        let mut wire = Self {
            directory: tempfile::tempdir().unwrap(),
            behind: Path::new(host).join(".s.PGSQL.5432"),
            open: None,
        };
        wire.mend();
        wire
    }

    /// The URL of the same database at this end.
    pub(crate) fn url(&self, url: &str) -> String {
        let (before, _) = url.split_once("host=").unwrap();
        format!("{before}host={}", self.directory.path().display())
    }

    /// All connections are lost, and there are no new ones.
    pub(crate) fn cut(&mut self) {
        if let Some(open) = self.open.take() {
            open.abort();
        }
        drop(fs::remove_file(self.path()));
    }

    pub(crate) fn mend(&mut self) {
        let (listener, behind) = (UnixListener::bind(self.path()).unwrap(), self.behind.clone());
        self.open = Some(tokio::spawn(async move {
            // They end with this task.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let behind = behind.clone();
                connections.spawn(async move {
                    let mut far = UnixStream::connect(&behind).await.unwrap();
                    drop(copy_bidirectional(&mut near, &mut far).await);
                });
            }
        }));
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join(".s.PGSQL.5432")
    }
}

/// A CA, and where it keeps its things.
pub(crate) struct Replica {
    pub(crate) directory: TempDir,
    pub(crate) server: Server,
    pub(crate) operator: OperatorServiceClient<Channel>,
}

impl Replica {
    /// On a database; with what the keys of another one are sealed under.
    pub(crate) async fn start(url: &str, like: Option<&Self>, change: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        if let Some(like) = like {
            like.share_keys(directory.path());
        }
        let storage = Storage::Database {
            directory: directory.path().join("data"),
            database: Database::Postgres(url.to_owned()),
        };
        let socket = directory.path().join("ca.sock");
        let mut config = Config::new("td".parse().unwrap(), storage, &socket);
        change(&mut config);
        let server = Server::start(config).await.unwrap();
        Self {
            operator: OperatorServiceClient::new(signet_uds::connect(&socket).unwrap()),
            directory,
            server,
        }
    }

    /// Puts what the keys are sealed under into another data directory, and nothing else.
    pub(crate) fn share_keys(&self, with: &Path) {
        let data = with.join("data");
        DirBuilder::new().mode(0o700).create(&data).unwrap();
        let key = "key-encryption.key";
        fs::copy(self.directory.path().join("data").join(key), data.join(key)).unwrap();
    }

    pub(crate) async fn token(&self, node: &str) -> String {
        let token = CreateJoinTokenRequest {
            node: node.to_owned(),
            ..CreateJoinTokenRequest::default()
        };
        let token = self.operator.clone().create_join_token(token).await.unwrap();
        token.into_inner().token
    }

    pub(crate) async fn register(&self, name: &str, node: &str) -> String {
        let register = RegisterRequest {
            spiffe_id: format!("spiffe://td/{name}"),
            node: node.to_owned(),
            selectors: vec![format!("unix:uid:{}", rustix::process::getuid().as_raw())],
            ..RegisterRequest::default()
        };
        self.operator
            .clone()
            .register(register)
            .await
            .unwrap()
            .into_inner()
            .id
    }

    /// How many nodes follow it.
    pub(crate) async fn connected(&self) -> u32 {
        let status = self.operator.clone().status(StatusRequest {}).await.unwrap();
        status.into_inner().connected
    }
}

/// Another one, as a process that can be killed.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
    _directory: TempDir,
}

impl Process {
    pub(crate) async fn start(url: &str, like: &Replica) -> Self {
        let directory = tempfile::tempdir().unwrap();
        like.share_keys(directory.path());
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let socket = directory.path().join("ca.sock");
        let test = std::env::current_exe().unwrap();
        let program = test.ancestors().nth(2).unwrap().join("signet-ca");
        let child = std::process::Command::new(program)
            .args(["run", "--trust-domain=td", &format!("--listen={address}")])
            .arg("--data-dir")
            .arg(directory.path().join("data"))
            .arg("--socket")
            .arg(&socket)
            .env("SIGNET_CA_DATABASE", url)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut operator = OperatorServiceClient::new(signet_uds::connect(&socket).unwrap());
        while operator.status(StatusRequest {}).await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
        Self {
            child,
            address,
            _directory: directory,
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        // It may be dead already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An agent of several CAs, with one workload: this process.
pub(crate) struct Agent {
    directory: TempDir,
}

impl Agent {
    pub(crate) async fn start(
        node: &str,
        home: &Replica,
        cas: &[SocketAddr],
        end: CancellationToken,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("token"), home.token(node).await).unwrap();
        fs::write(at("bundle.pem"), home.server.bundle().to_pem()).unwrap();
        home.register(&format!("of/{node}"), node).await;
        let cas: Vec<_> = cas.iter().map(ToString::to_string).collect();
        let arguments = [
            "signet-agent".to_owned(),
            "run".to_owned(),
            format!("--node={node}"),
            format!("--ca={}", cas.join(",")),
            format!("--trust-bundle={}", at("bundle.pem").display()),
            format!("--join-token-file={}", at("token").display()),
            format!("--data-dir={}", at("agent").display()),
            format!("--run-dir={}", at("run").display()),
            format!("--bpffs={}", at("none").display()),
            "--listen=127.0.0.1:0".to_owned(),
        ];
        let Command::Run(run) = Cli::parse_from(arguments).command;
        tokio::spawn(signet_agent::run::run(run, end));
        Self { directory }
    }

    /// The certificate that its workload has now.
    pub(crate) async fn svid(&self) -> Option<Vec<u8>> {
        let socket = self.directory.path().join("run/workload.sock");
        let client = WorkloadApiClient::connect_to(&format!("unix://{}", socket.display())).await;
        let context = client.ok()?.fetch_x509_context().await.ok()?;
        Some(context.default_svid()?.cert_chain()[0].as_bytes().to_vec())
    }

    /// Waits until its workload has another certificate than this one.
    pub(crate) async fn other_than(&self, known: Option<&[u8]>) -> Vec<u8> {
        loop {
            match self.svid().await {
                Some(svid) if known != Some(&svid) => return svid,
                Some(_) | None => sleep(Duration::from_millis(50)).await,
            }
        }
    }
}
