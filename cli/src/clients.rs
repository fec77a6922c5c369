//! gRPC clients that fail in words: which daemon, which socket, what to do.

use std::error::Error as _;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use signet_proto::agent::v1::agent_service_client::AgentServiceClient;
use signet_proto::agent::v1::{self as agent, WatchViewRequest};
use signet_proto::ca::v1::authority_service_client::AuthorityServiceClient;
use signet_proto::ca::v1::operator_service_client::OperatorServiceClient;
use signet_proto::ca::v1::upstream_service_client::UpstreamServiceClient;
use signet_proto::ca::v1::watch_service_client::WatchServiceClient;
use signet_proto::keyd::v1::key_service_client::KeyServiceClient;
use signet_proto::keyd::v1::{self as keyd};
use signet_proto::mesh::v1::mesh_service_client::MeshServiceClient;
use signet_proto::mesh::v1::{self as mesh};
use signet_proto::view::v1::Update;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

use crate::failure::Failure;
use crate::remote::Remote;
use crate::target;

/// How long a daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A daemon and where it is.
#[derive(Debug, Clone)]
pub(crate) struct Daemon {
    name: &'static str,
    /// A socket's path, or an address.
    socket: PathBuf,
    is_remote: bool,
}

impl Daemon {
    fn new(name: &'static str, socket: PathBuf) -> (Self, Result<Channel, Failure>) {
        let channel = signet_uds::connect(&socket)
            .map_err(|error| Failure::Usage(format!("{} cannot be a socket: {error}", socket.display())));
        let daemon = Self {
            name,
            socket,
            is_remote: false,
        };
        (daemon, channel)
    }

    /// Whether something has been made where its socket would be: it runs, or did.
    pub(crate) fn has_socket(&self) -> bool {
        self.socket.exists()
    }

    /// Waits for an answer.
    pub(crate) async fn answer<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Failure> {
        self.answer_within(PATIENCE, call).await
    }

    /// Waits for an answer that may take longer.
    pub(crate) async fn answer_within<T>(
        &self,
        patience: Duration,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Failure> {
        match timeout(patience, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(self.failure(&status)),
            Err(_) => Err(self.unreachable(format!("no answer within {} s", patience.as_secs()))),
        }
    }

    /// A daemon's refusal, or that it is not there.
    pub(crate) fn failure(&self, status: &Status) -> Failure {
        // A status of our own making has a source: the connection was never made, or broke.
        if let Some(source) = status.source() {
            if self.is_remote {
                return self.unreachable(innermost(source));
            }
            let denied = std::io::ErrorKind::PermissionDenied;
            let why = match self.socket.symlink_metadata() {
                Err(error) if error.kind() == denied => "this user may not look there; try again as root",
                Err(_) => "there is no such socket",
                Ok(_) if innermost(source).contains("Permission denied") => {
                    "this user may not use it; try again as root"
                }
                Ok(_) => "nobody answers on it",
            };
            return self.unreachable(why.to_owned());
        }
        if status.code() == Code::InvalidArgument {
            return Failure::Usage(format!("{}: {}", self.name, status.message()));
        }
        let advice = if status.code() == Code::PermissionDenied && !self.is_remote {
            " (try again as root)"
        } else {
            ""
        };
        Failure::Failed(format!("{}: {}{advice}", self.name, status.message()))
    }

    fn unreachable(&self, why: String) -> Failure {
        let hint = if self.is_remote {
            "is this what `signet-ca run --operator-listen` says, and has this process an identity with a role?".to_owned()
        } else {
            target::hint(self.name, &self.socket)
        };
        Failure::Unreachable {
            daemon: self.name,
            socket: self.socket.clone(),
            why,
            hint,
        }
    }
}

/// The daemons of one node.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Its name in a lab; on a real node the daemons tell it.
    pub(crate) name: Option<String>,
    pub(crate) agent_daemon: Daemon,
    pub(crate) mesh_daemon: Daemon,
    pub(crate) keyd_daemon: Daemon,
    pub(crate) agent: AgentServiceClient<Channel>,
    pub(crate) mesh: MeshServiceClient<Channel>,
    pub(crate) keyd: KeyServiceClient<Channel>,
}

impl Node {
    /// The daemons with sockets in this folder.
    pub(crate) fn new(name: Option<&str>, run_dir: &Path) -> Result<Self, Failure> {
        let (agent_daemon, agent) = Daemon::new("signet-agent", run_dir.join("agent.sock"));
        let (mesh_daemon, mesh) = Daemon::new("signet-meshd", run_dir.join("meshd.sock"));
        let (keyd_daemon, keyd) = Daemon::new("signet-keyd", run_dir.join("keyd.sock"));
        Ok(Self {
            name: name.map(str::to_owned),
            agent_daemon,
            mesh_daemon,
            keyd_daemon,
            agent: AgentServiceClient::new(agent?),
            mesh: MeshServiceClient::new(mesh?),
            keyd: KeyServiceClient::new(keyd?),
        })
    }

    /// The node's name: as given, or as a daemon tells it.
    pub(crate) async fn name(&self) -> String {
        if let Some(name) = &self.name {
            return name.clone();
        }
        match self.agent_status().await {
            Ok(status) if !status.node.is_empty() => status.node,
            Ok(_) | Err(_) => self
                .mesh_status()
                .await
                .map_or_else(|_| "-".to_owned(), |status| status.node),
        }
    }

    pub(crate) async fn agent_status(&self) -> Result<agent::StatusResponse, Failure> {
        self.agent_daemon
            .answer(self.agent.clone().status(agent::StatusRequest {}))
            .await
    }

    pub(crate) async fn mesh_status(&self) -> Result<mesh::StatusResponse, Failure> {
        self.mesh_daemon
            .answer(self.mesh.clone().status(mesh::StatusRequest {}))
            .await
    }

    pub(crate) async fn keyd_status(&self) -> Result<keyd::StatusResponse, Failure> {
        self.keyd_daemon
            .answer(self.keyd.clone().status(keyd::StatusRequest {}))
            .await
    }

    pub(crate) async fn svids(&self) -> Result<Vec<agent::SvidEntry>, Failure> {
        let call = self
            .agent_daemon
            .answer(self.agent.clone().list_svids(agent::ListSvidsRequest {}))
            .await;
        Ok(call?.svids)
    }

    pub(crate) async fn endpoints(&self) -> Result<Vec<mesh::EndpointEntry>, Failure> {
        let request = mesh::ListEndpointsRequest {};
        Ok(self
            .mesh_daemon
            .answer(self.mesh.clone().list_endpoints(request))
            .await?
            .endpoints)
    }

    /// What the node knows of the trust domain now: the first message of the stream is a snapshot.
    pub(crate) async fn view(&self) -> Result<Update, Failure> {
        let mut stream = self
            .agent_daemon
            .answer(self.agent.clone().watch_view(WatchViewRequest {}))
            .await?;
        match timeout(PATIENCE, stream.message()).await {
            Ok(Ok(Some(update))) => Ok(update),
            Ok(Ok(None)) => Err(self.agent_daemon.unreachable("it ended the stream".to_owned())),
            Ok(Err(status)) => Err(self.agent_daemon.failure(&status)),
            Err(_) => Err(self
                .agent_daemon
                .unreachable("it has not heard from the CA yet".to_owned())),
        }
    }
}

/// The CA.
#[derive(Debug, Clone)]
pub(crate) struct Ca {
    pub(crate) daemon: Daemon,
    pub(crate) client: OperatorServiceClient<Channel>,
    pub(crate) authorities: AuthorityServiceClient<Channel>,
    /// For what is above those.
    pub(crate) upstream: UpstreamServiceClient<Channel>,
    /// For what happens.
    pub(crate) watch: WatchServiceClient<Channel>,
}

/// What went wrong at the bottom of it.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

impl Ca {
    /// The CA at an address, as an operator with an SVID.
    pub(crate) fn remote(remote: Remote) -> Self {
        let daemon = Daemon {
            name: "signet-ca",
            socket: remote.address.to_string().into(),
            is_remote: true,
        };
        let channel = remote.channel();
        Self {
            daemon,
            client: OperatorServiceClient::new(channel.clone()),
            authorities: AuthorityServiceClient::new(channel.clone()),
            upstream: UpstreamServiceClient::new(channel.clone()),
            watch: WatchServiceClient::new(channel),
        }
    }

    /// The CA behind an operator socket.
    pub(crate) fn new(socket: &Path) -> Result<Self, Failure> {
        let (daemon, channel) = Daemon::new("signet-ca", socket.to_owned());
        let channel = channel?;
        Ok(Self {
            daemon,
            client: OperatorServiceClient::new(channel.clone()),
            authorities: AuthorityServiceClient::new(channel.clone()),
            upstream: UpstreamServiceClient::new(channel.clone()),
            watch: WatchServiceClient::new(channel),
        })
    }
}
