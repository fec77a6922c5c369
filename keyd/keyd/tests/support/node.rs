//! One node's signet-keyd and a client of it.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use signet_proto::keyd::v1::key_service_client::KeyServiceClient;
use signet_proto::keyd::v1::{
    InstallPeerRequest, PeerRequest, SetModeRequest, SetModeResponse, StatusRequest, StatusResponse,
};
use signet_proto::view::v1::EncryptionMode;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use tonic::Status;
use tonic::transport::Channel;

use super::{Family, Wire};

/// A daemon answers within this time, in an emulated machine too.
const START: Duration = Duration::from_secs(30);

/// A node.
#[derive(Debug)]
pub(crate) struct Node {
    /// 1 or 2.
    number: u32,
    netns: PathBuf,
    setting: String,
    dir: TempDir,
    daemon: Child,
    client: KeyServiceClient<Channel>,
}

impl Node {
    /// Which WireGuard the tests use: `SIGNET_WG`, by default whichever the machine has.
    pub(crate) fn setting() -> String {
        std::env::var("SIGNET_WG").unwrap_or_else(|_| "auto".to_owned())
    }

    /// Starts the daemon of side `a` or `b`.
    pub(crate) async fn start(wire: &Wire, side: &str) -> Self {
        let setting = Self::setting();
        let dir = tempfile::tempdir().expect("a directory");
        let netns = wire.path(side);
        let daemon = spawn(&netns, &dir, &setting);
        let channel = signet_uds::connect(&dir.path().join("keyd.sock")).expect("a path that fits");
        let number = if side == "a" { 1 } else { 2 };
        let mut node = Self {
            number,
            netns,
            setting,
            dir,
            daemon,
            client: KeyServiceClient::new(channel),
        };
        node.wait().await;
        node
    }

    /// SIGKILL, without a new start.
    pub(crate) fn kill(&mut self) {
        self.daemon.kill().expect("it can be killed");
        self.daemon.wait().expect("it can be waited for");
    }

    /// The next start after [`Node::kill`].
    pub(crate) async fn start_again(&mut self) {
        self.daemon = spawn(&self.netns, &self.dir, &self.setting);
        self.wait().await;
    }

    pub(crate) fn pid(&self) -> u32 {
        self.daemon.id()
    }

    pub(crate) fn run_dir(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    pub(crate) async fn on(&mut self) -> SetModeResponse {
        self.mode(EncryptionMode::Wireguard)
            .await
            .expect("encryption can be switched on")
    }

    pub(crate) async fn mode(&mut self, mode: EncryptionMode) -> Result<SetModeResponse, Status> {
        let request = SetModeRequest { mode: mode.into() };
        Ok(self.client.set_mode(request).await?.into_inner())
    }

    /// Installs the other node.
    pub(crate) async fn install(
        &mut self,
        offer: &SetModeResponse,
        preshared_key: u8,
        family: Family,
    ) -> Result<(), Status> {
        let peer = 3 - self.number;
        let endpoint = match family {
            Family::V4 => format!("192.0.2.{peer}:{}", offer.port),
            Family::V6 => format!("[2001:db8::{peer}]:{}", offer.port),
        };
        let request = InstallPeerRequest {
            node_id: peer,
            node: format!("n{peer}"),
            public_key: offer.public_key.clone(),
            endpoint,
            preshared_key: vec![preshared_key; 32],
            allowed_ips: vec![format!("10.244.{peer}.0/24"), format!("fd00:244:{peer}::/64")],
        };
        self.client.install_peer(request).await.map(drop)
    }

    fn peer(&self) -> PeerRequest {
        PeerRequest {
            node_id: 3 - self.number,
        }
    }

    pub(crate) async fn start_sending(&mut self) -> Result<(), Status> {
        self.client.start_sending(self.peer()).await.map(drop)
    }

    pub(crate) async fn stop_sending(&mut self) -> Result<(), Status> {
        self.client.stop_sending(self.peer()).await.map(drop)
    }

    pub(crate) async fn remove(&mut self) -> Result<(), Status> {
        self.client.remove_peer(self.peer()).await.map(drop)
    }

    pub(crate) async fn status(&mut self) -> StatusResponse {
        self.client
            .status(StatusRequest {})
            .await
            .expect("a status")
            .into_inner()
    }

    async fn wait(&mut self) {
        let deadline = Instant::now() + START;
        while let Err(status) = self.client.status(StatusRequest {}).await {
            let exited = self.daemon.try_wait().expect("it can be asked");
            assert!(exited.is_none(), "signet-keyd ended: {exited:?}");
            assert!(Instant::now() < deadline, "signet-keyd does not answer: {status}");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

fn spawn(netns: &std::path::Path, dir: &TempDir, setting: &str) -> Child {
    // Beside the directory of the test's own executable: target/debug/deps, or wherever both were copied to.
    let test = std::env::current_exe().expect("the test's own path");
    let daemon = test
        .ancestors()
        .nth(2)
        .expect("it has a directory")
        .join("signet-keyd");
    Command::new("nsenter")
        .arg(format!("--net={}", netns.display()))
        .arg("--")
        .arg(daemon)
        .args(["run", "--implementation", setting, "--run-dir"])
        .arg(dir.path())
        .arg("--bpffs")
        .arg(dir.path().join("no-pins"))
        .stdin(Stdio::null())
        .spawn()
        .expect("nsenter and signet-keyd are there")
}
