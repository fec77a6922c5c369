//! A real signet-ca and a real signet-agent, as processes that can be killed, on loopback.

#![expect(dead_code, reason = "each binary of tests uses its part")]

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use signet_interop::Running;

/// Longer than any step may take: only a test that fails waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// Name of the trust domain.
pub(crate) const DOMAIN: &str = "daemons.test";

/// A daemon, killed when dropped.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The two daemons, and where they keep their things.
pub(crate) struct Daemons {
    domain: &'static str,
    dir: tempfile::TempDir,
    ca_port: u16,
    agent_port: u16,
    pub(crate) bundle_port: u16,
    ca_options: Vec<String>,
    pub(crate) agent_options: Vec<String>,
    ca: Option<Daemon>,
    agent: Option<Daemon>,
}

/// A program that was built beside this one.
fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join(name);
    assert!(path.exists(), "{} is not built", path.display());
    path
}

/// A port that nobody has at this moment.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Until it is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "not yet: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

impl Daemons {
    /// Nothing runs yet.
    pub(crate) fn new(ca_options: &[&str]) -> Self {
        Self::of(DOMAIN, ca_options)
    }

    /// Those of another trust domain.
    pub(crate) fn of(domain: &'static str, ca_options: &[&str]) -> Self {
        Self {
            domain,
            dir: tempfile::tempdir().unwrap(),
            ca_port: free_port(),
            agent_port: free_port(),
            bundle_port: free_port(),
            ca_options: ca_options.iter().map(ToString::to_string).collect(),
            agent_options: Vec::new(),
            ca: None,
            agent: None,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn start(&self, program: &str, arguments: &[String]) -> Daemon {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.path(&format!("{program}.log")))
            .unwrap();
        let mut command = Command::new(built(program));
        command
            .arg("run")
            .args(arguments)
            .env("SIGNET_RUN_DIR", self.path("run"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        Daemon(command.spawn().unwrap())
    }

    pub(crate) fn start_ca(&mut self) {
        drop(fs::remove_file(self.path("run/ca.sock")));
        let mut arguments = vec![
            format!("--trust-domain={}", self.domain),
            format!("--data-dir={}", self.text("ca")),
            format!("--listen=127.0.0.1:{}", self.ca_port),
            format!("--bundle-endpoint=127.0.0.1:{}", self.bundle_port),
        ];
        arguments.extend(self.ca_options.clone());
        self.ca = Some(self.start("signet-ca", &arguments));
        until("the CA answers", || self.try_signet(&["ca", "status"]).is_some());
    }

    pub(crate) fn start_agent(&mut self) {
        if !self.path("token").exists() {
            fs::write(self.path("bundle.pem"), self.signet(&["ca", "bundle"])).unwrap();
            fs::write(self.path("token"), self.signet(&["ca", "token", "n1"])).unwrap();
        }
        let mut arguments = vec![
            "--node=n1".to_owned(),
            format!("--ca=127.0.0.1:{}", self.ca_port),
            format!("--trust-bundle={}", self.text("bundle.pem")),
            format!("--join-token-file={}", self.text("token")),
            format!("--data-dir={}", self.text("agent")),
            format!("--listen=127.0.0.1:{}", self.agent_port),
            format!("--bpffs={}", self.text("none")),
        ];
        arguments.extend(self.agent_options.clone());
        self.agent = Some(self.start("signet-agent", &arguments));
    }

    /// SIGKILL.
    pub(crate) fn kill_ca(&mut self) {
        self.ca = None;
    }

    /// SIGKILL.
    pub(crate) fn kill_agent(&mut self) {
        self.agent = None;
    }

    pub(crate) fn try_signet(&self, arguments: &[&str]) -> Option<String> {
        let output = Command::new(built("signet"))
            .args(arguments)
            .env("SIGNET_RUN_DIR", self.path("run"))
            .env("SIGNET_CA_SOCKET", self.path("run/ca.sock"))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        output.status.success().then_some(text)
    }

    /// What the operator's command says.
    pub(crate) fn signet(&self, arguments: &[&str]) -> String {
        let said = self.try_signet(arguments);
        said.unwrap_or_else(|| panic!("signet {arguments:?} failed"))
    }

    /// Registers the processes of a group.
    pub(crate) fn register(&self, path: &str, gid: u32) {
        let id = format!("spiffe://{}{path}", self.domain);
        self.register_with(&id, gid, &[]);
    }

    /// The same with more options.
    pub(crate) fn register_with(&self, id: &str, gid: u32, options: &[&str]) {
        let selector = format!("unix:gid:{gid}");
        let mut arguments = vec!["ca", "register", "--on", "n1", "--selector", &selector];
        arguments.extend(options);
        arguments.push(id);
        self.signet(&arguments);
    }

    /// Starts a client as a process of a group.
    pub(crate) fn client(&self, gid: u32, program: &[String], arguments: &[&str]) -> Running {
        let [program, first @ ..] = program else {
            panic!("no program");
        };
        let socket = format!("unix://{}", self.text("run/workload.sock"));
        let mut command = Command::new(program);
        command
            .args(first)
            .args(arguments)
            .gid(gid)
            .env("SPIFFE_ENDPOINT_SOCKET", socket);
        Running::start(&mut command, PATIENCE).unwrap()
    }

    /// A folder for files of the test.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }
}
