//! One CA and one agent, as processes on this machine, without a network of their own.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use signet_proto::ca::v1::operator_service_client::OperatorServiceClient;
use signet_proto::ca::v1::{BundleRequest, CreateJoinTokenRequest, StatusRequest};
use signet_proto::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use tempfile::TempDir;
use tokio::time::sleep;
use tonic::transport::Channel;

/// Until a daemon answers.
const PATIENCE: Duration = Duration::from_mins(1);

/// Ends with its owner.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The CA, and an agent on the node `n1`.
pub(super) struct Site {
    pub(super) operator: OperatorServiceClient<Channel>,
    pub(super) workload: SpiffeWorkloadApiClient<Channel>,
    agent: Option<Daemon>,
    _ca: Daemon,
    home: TempDir,
    address: String,
}

impl Site {
    /// Starts both. With the URL of a PostgreSQL database the CA keeps its registry there.
    pub(super) async fn start(database: Option<&str>) -> anyhow::Result<Self> {
        let home = tempfile::tempdir()?;
        let at = |name: &str| home.path().join(name);
        let address = free_address()?;
        let mut ca = program("signet-ca", home.path().join("ca.log"))?;
        ca.args(["run", "--trust-domain", "td", "--listen", &address])
            .arg("--data-dir")
            .arg(at("data"))
            .arg("--socket")
            .arg(at("ca.sock"));
        if let Some(url) = database {
            ca.env("SIGNET_CA_DATABASE", url);
        }
        let ca = Daemon(ca.spawn().context("signet-ca was not started; build it first")?);
        let site = Self {
            operator: OperatorServiceClient::new(signet_uds::connect(&at("ca.sock"))?),
            workload: SpiffeWorkloadApiClient::new(signet_uds::connect(&at("run/workload.sock"))?),
            agent: None,
            _ca: ca,
            home,
            address,
        };
        site.until_the_ca_answers().await?;
        site.with_agent().await
    }

    async fn until_the_ca_answers(&self) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        while self.operator.clone().status(StatusRequest {}).await.is_err() {
            if Instant::now() > until {
                bail!("signet-ca does not answer");
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    async fn with_agent(mut self) -> anyhow::Result<Self> {
        let at = |name: &str| self.home.path().join(name);
        let mut operator = self.operator.clone();
        let token = CreateJoinTokenRequest {
            node: "n1".to_owned(),
            ..CreateJoinTokenRequest::default()
        };
        let token = operator.create_join_token(token).await?.into_inner().token;
        fs::write(at("token"), token)?;
        let bundle = operator.bundle(BundleRequest {}).await?.into_inner().pem;
        fs::write(at("bundle.pem"), bundle)?;
        let mut agent = program("signet-agent", at("agent.log"))?;
        agent
            .args([
                "run",
                "--node",
                "n1",
                "--ca",
                &self.address,
                "--listen",
                "127.0.0.1:0",
            ])
            .arg("--trust-bundle")
            .arg(at("bundle.pem"))
            .arg("--join-token-file")
            .arg(at("token"))
            .arg("--data-dir")
            .arg(at("agent"))
            .arg("--run-dir")
            .arg(at("run"))
            .arg("--bpffs")
            .arg(at("none"));
        let agent = agent
            .spawn()
            .context("signet-agent was not started; build it first")?;
        self.agent = Some(Daemon(agent));
        Ok(self)
    }
}

/// A daemon that lies beside this program: of the same build.
fn program(name: &str, log: PathBuf) -> anyhow::Result<Command> {
    let own = std::env::current_exe()?;
    let mut directory = own.parent().context("this program is in no directory")?;
    // Tests lie one further down.
    if directory.ends_with("deps") {
        directory = directory.parent().unwrap_or(directory);
    }
    let log = File::create(log)?;
    let mut command = Command::new(directory.join(name));
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    Ok(command)
}

fn free_address() -> anyhow::Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}
