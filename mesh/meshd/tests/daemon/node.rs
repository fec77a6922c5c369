//! A node: a network namespace with an uplink and one workload, and a daemon in it.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use signet_proto::mesh::v1::mesh_service_client::MeshServiceClient;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use tonic::transport::Channel;

/// Longer than any machine needs; only a failing test waits so long.
const LONG: Duration = Duration::from_secs(30);

/// Waits until there is a value.
pub(crate) async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let found = timeout(LONG, async {
        loop {
            if let Some(value) = probe().await {
                return value;
            }
            sleep(Duration::from_millis(20)).await;
        }
    });
    let came = found.await;
    assert!(came.is_ok(), "never came about: {what}");
    came.unwrap()
}

/// Namespaces, directories, pins and the daemon; all gone when it is dropped.
pub(crate) struct Node {
    name: String,
    directory: TempDir,
    daemon: Option<Child>,
}

impl Node {
    pub(crate) fn new(test: &str) -> Self {
        let node = Self {
            name: format!("sgmd-{test}-{}", std::process::id()),
            directory: tempfile::tempdir().unwrap(),
            daemon: None,
        };
        std::fs::create_dir_all(node.directory.path().join("config")).unwrap();
        std::fs::create_dir_all(node.run_dir()).unwrap();
        ip(&["netns", "add", &node.name]);
        ip(&["netns", "add", &node.workload_name()]);
        node.ip(&["link", "add", "eth0", "type", "veth", "peer", "name", "wire"]);
        node.ip(&["link", "set", "eth0", "up"]);
        node.ip(&["address", "add", "192.0.2.1/24", "dev", "eth0"]);
        node.ip(&["link", "set", "lo", "up"]);
        node.add_workload_interface();
        node
    }

    fn workload_name(&self) -> String {
        format!("{}-w", self.name)
    }

    pub(crate) fn add_workload_interface(&self) {
        let workload = self.workload_name();
        self.ip(&[
            "link", "add", "sgv-web", "type", "veth", "peer", "name", "eth0", "netns", &workload,
        ]);
        self.ip(&["address", "add", "10.244.1.1/24", "dev", "sgv-web"]);
        self.ip(&["link", "set", "sgv-web", "up"]);
        ip(&["-n", &workload, "address", "add", "10.244.1.10/24", "dev", "eth0"]);
        ip(&["-n", &workload, "link", "set", "eth0", "up"]);
    }

    pub(crate) fn remove_workload_interface(&self) {
        self.ip(&["link", "del", "sgv-web"]);
    }

    pub(crate) fn remove_workload_netns(&self) {
        ip(&["netns", "del", &self.workload_name()]);
    }

    /// A device of the tunnel's name; of which kind does not matter here.
    pub(crate) fn add_tunnel(&self) {
        self.ip(&["link", "add", "sgwg0", "type", "veth", "peer", "name", "beyond"]);
    }

    pub(crate) fn remove_tunnel(&self) {
        self.ip(&["link", "del", "sgwg0"]);
    }

    fn ip(&self, arguments: &[&str]) {
        ip(&[&["-n", &self.name], arguments].concat());
    }

    pub(crate) fn ifindex(&self, interface: &str) -> u32 {
        let shown = output(Command::new("ip").args(["-n", &self.name, "-o", "link", "show", interface]));
        String::from_utf8(shown.stdout)
            .unwrap()
            .split(':')
            .next()
            .unwrap()
            .parse()
            .unwrap()
    }

    pub(crate) fn run_dir(&self) -> PathBuf {
        self.directory.path().join("run")
    }

    pub(crate) fn pins(&self) -> PathBuf {
        Path::new("/sys/fs/bpf").join(&self.name)
    }

    pub(crate) fn workload_netns(&self) -> PathBuf {
        Path::new("/run/netns").join(self.workload_name())
    }

    pub(crate) fn workload_inode(&self) -> u64 {
        std::fs::metadata(self.workload_netns()).unwrap().ino()
    }

    /// Writes a file of the configuration, whole.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.directory.path().join("config").join(name);
        let beside = path.with_extension("tmp");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, path).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        std::fs::remove_file(self.directory.path().join("config").join(name)).unwrap();
    }

    fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{}", self.name))
            .arg(env!("CARGO_BIN_EXE_signet-meshd"))
            .arg(subcommand)
            .arg("--run-dir")
            .arg(self.run_dir())
            .arg("--bpffs")
            .arg(self.pins());
        command
    }

    fn run_command(&self) -> Command {
        let mut command = self.command("run");
        command.args([
            "--node",
            "n1",
            "--uplink",
            "eth0",
            "--log",
            "info,signet_meshd=debug",
            "--config-dir",
        ]);
        command.arg(self.directory.path().join("config"));
        command
    }

    pub(crate) fn start(&mut self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.directory.path().join("log"))
            .unwrap();
        self.daemon = Some(
            self.run_command()
                .stderr(log)
                .stdout(Stdio::null())
                .spawn()
                .unwrap(),
        );
    }

    /// Runs a second daemon to its end.
    pub(crate) fn run_to_end(&self) -> Output {
        self.run_command().output().unwrap()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().unwrap();
            daemon.wait().unwrap();
        }
    }

    /// SIGTERM.
    pub(crate) fn terminate(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            output(Command::new("kill").arg(daemon.id().to_string()));
            assert!(daemon.wait().unwrap().success());
        }
    }

    pub(crate) fn cleanup(&self) -> Output {
        self.command("cleanup").output().unwrap()
    }

    pub(crate) fn client(&self) -> MeshServiceClient<Channel> {
        MeshServiceClient::new(signet_uds::connect(&self.run_dir().join("meshd.sock")).unwrap())
    }

    /// Pings the workload from its node, once.
    pub(crate) fn workload_is_reachable(&self) -> bool {
        let mut ping = Command::new("nsenter");
        ping.arg(format!("--net=/run/netns/{}", self.name));
        ping.args(["ping", "-n", "-c", "1", "-W", "1", "10.244.1.10"]);
        ping.stdout(Stdio::null()).status().unwrap().success()
    }
}

/// Pings every 10 ms until it is told to stop.
pub(crate) struct Pings(Child);

impl Pings {
    /// The first answer has come when this returns.
    pub(crate) fn start(node: &Node) -> Self {
        assert!(node.workload_is_reachable());
        let mut ping = Command::new("nsenter");
        ping.arg(format!("--net=/run/netns/{}", node.name));
        ping.args(["ping", "-n", "-q", "-i", "0.01", "10.244.1.10"]);
        Self(ping.stdout(Stdio::piped()).spawn().unwrap())
    }

    /// How many were sent, and how many answered.
    pub(crate) fn stop(self) -> (u32, u32) {
        output(Command::new("kill").args(["-INT", &self.0.id().to_string()]));
        let said = String::from_utf8(self.0.wait_with_output().unwrap().stdout).unwrap();
        let summary = said
            .lines()
            .find(|line| line.contains("packets transmitted"))
            .unwrap();
        let mut numbers = summary
            .split(", ")
            .map(|part| part.split(' ').next().unwrap().parse().unwrap_or(0));
        (numbers.next().unwrap(), numbers.next().unwrap())
    }
}

impl Drop for Node {
    #[expect(clippy::print_stderr, reason = "a failed test shows what the daemon said")]
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            eprintln!("log of signet-meshd:\n{log}");
        }
        let _ = self.cleanup();
        for name in [self.workload_name(), self.name.clone()] {
            let _ = Command::new("ip").args(["netns", "del", &name]).status();
        }
    }
}

fn ip(arguments: &[&str]) {
    output(Command::new("ip").args(arguments));
}

fn output(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}
