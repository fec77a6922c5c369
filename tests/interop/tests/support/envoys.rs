//! Two Envoys with the configurations of docs/examples/envoy, on a loopback address of their own.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use signet_interop::{Running, ask, envoy_example, tell_who_calls};

use crate::served::{PATIENCE, Served, Workload};

/// Who serves Envoys: an agent of the test's own, or a real one.
pub(crate) trait Host {
    /// Of the Workload API and secret discovery.
    fn socket(&self) -> PathBuf;
    /// A folder for files of the test.
    fn folder(&self) -> &Path;
    /// Starts a program as a process of a workload.
    fn run(&self, workload: Workload, program: &[String], arguments: &[&str]) -> Running;
}

impl Host for Served {
    fn socket(&self) -> PathBuf {
        self.socket()
    }

    fn folder(&self) -> &Path {
        self.dir()
    }

    fn run(&self, workload: Workload, program: &[String], arguments: &[&str]) -> Running {
        self.start(workload, program, arguments)
    }
}

/// An address that no other test has: by process, and by test within it.
fn address() -> Ipv4Addr {
    static TESTS: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 64 | (high & 63), low, TESTS.fetch_add(1, Ordering::Relaxed))
}

/// What differs from the examples.
pub(crate) struct Changes<'a> {
    /// From this text to that one.
    pub(crate) server: &'a [(&'a str, &'a str)],
    /// From this text to that one.
    pub(crate) client: &'a [(&'a str, &'a str)],
}

/// Each request has a connection of its own, so that each shows certificates.
const ONE_EACH: (&str, &str) = ("max_connection_duration: 60s", "max_requests_per_connection: 1");
const DELTA: (&str, &str) = ("api_type: GRPC", "api_type: DELTA_GRPC");
const ALL: (&str, &str) = ("name: ROOTCA", "name: ALL");

/// None but places and names.
pub(crate) const EXAMPLES: Changes<'static> = Changes {
    server: &[],
    client: &[ONE_EACH],
};

/// The other variant of the protocol.
pub(crate) const BY_DELTA: Changes<'static> = Changes {
    server: &[DELTA],
    client: &[ONE_EACH, DELTA],
};

/// Peers of all trust domains that are known.
pub(crate) const OF_ALL: Changes<'static> = Changes {
    server: &[ALL],
    client: &[ONE_EACH, ALL],
};

/// A service, the Envoy before it, and the Envoy of its client.
pub(crate) struct Envoys {
    address: Ipv4Addr,
    admin: [PathBuf; 2],
    server: Running,
    client: Running,
}

impl Envoys {
    pub(crate) fn start(
        envoy: &[String],
        (server_agent, server): (&dyn Host, Workload),
        (client_agent, client): (&dyn Host, Workload),
        changes: &Changes<'_>,
    ) -> Self {
        let address = address();
        tell_who_calls(TcpListener::bind((address, 8080)).unwrap());
        let start = |file: &str, agent: &dyn Host, workload, peer: Workload, changes| {
            let configuration = configuration(file, agent, address, peer, changes);
            let path = agent.folder().join(file);
            let admin = admin(&path);
            let admin = format!("admin: {{address: {{pipe: {{path: {}}}}}}}\n", admin.display());
            fs::write(&path, admin + &configuration).unwrap();
            agent.run(workload, envoy, &["--config-path", path.to_str().unwrap()])
        };
        Self {
            address,
            admin: [
                server_agent.folder().join("server.yaml"),
                client_agent.folder().join("client.yaml"),
            ]
            .map(|path| admin(&path)),
            server: start("server.yaml", server_agent, server, client, changes.server),
            client: start("client.yaml", client_agent, client, server, changes.client),
        }
    }

    /// Where the server's Envoy takes TLS.
    pub(crate) fn tls(&self) -> SocketAddr {
        (self.address, 8443).into()
    }

    /// How many secrets the server's and the client's Envoy have taken up.
    pub(crate) fn updates(&self) -> [u64; 2] {
        let [server, client] = &self.admin;
        [
            statistic(server, "listener.*.ssl_context_update_by_sds"),
            statistic(client, "cluster.server.*.ssl_context_update_by_sds"),
        ]
    }

    /// What the service says that it sees, by way of both Envoys.
    pub(crate) fn ask(&self) -> Result<String, String> {
        ask((self.address, 8081).into(), PATIENCE)
    }

    /// Asks until the answer is so.
    pub(crate) fn until(&self, what: &str, is_so: impl Fn(&Result<String, String>) -> bool) {
        let until = Instant::now() + PATIENCE;
        loop {
            let answer = self.ask();
            if is_so(&answer) {
                return;
            }
            assert!(
                Instant::now() < until,
                "{what}: {answer:?}; server: {}; client: {}",
                self.server.complaints(),
                self.client.complaints()
            );
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Asks all the time from now on.
    pub(crate) fn traffic(&self) -> Traffic {
        let (stop, address) = (Arc::new(AtomicBool::new(false)), self.address);
        let (stopped, done) = (Arc::clone(&stop), Arc::new(AtomicUsize::new(0)));
        let counter = Arc::clone(&done);
        let asking = std::thread::spawn(move || {
            let (mut good, mut bad) = (0, Vec::new());
            while !stopped.load(Ordering::Relaxed) {
                match ask((address, 8081).into(), PATIENCE) {
                    Ok(_) => good += 1,
                    Err(error) => bad.push(error),
                }
                counter.fetch_add(1, Ordering::Relaxed);
            }
            (good, bad)
        });
        Traffic { stop, done, asking }
    }
}

/// Requests without a pause.
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    asking: JoinHandle<(usize, Vec<String>)>,
}

impl Traffic {
    /// Waits until what is under way now is done.
    pub(crate) fn passes(&self) {
        let (before, until) = (self.done.load(Ordering::Relaxed), Instant::now() + PATIENCE);
        while self.done.load(Ordering::Relaxed) < before + 2 {
            assert!(Instant::now() < until, "the traffic has stopped");
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }

    /// How many were answered, and what became of the others.
    pub(crate) fn end(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        self.asking.join().unwrap()
    }
}

/// Where the Envoy of a configuration tells of itself.
fn admin(configuration: &Path) -> PathBuf {
    configuration.with_extension("admin")
}

fn statistic(admin: &Path, filter: &str) -> u64 {
    let mut stream = UnixStream::connect(admin).unwrap();
    let request = format!("GET /stats?filter={filter} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let values = answer.lines().filter_map(|line| line.rsplit_once("by_sds: "));
    values
        .map(|(_, value)| value.trim().parse::<u64>().unwrap())
        .sum()
}

fn configuration(
    file: &str,
    agent: &dyn Host,
    address: Ipv4Addr,
    peer: Workload,
    changes: &[(&str, &str)],
) -> String {
    let (socket, address) = (agent.socket().display().to_string(), address.to_string());
    let example_peer = match file {
        "server.yaml" => "spiffe://cluster.local/ns/shop/sa/client",
        _ => "spiffe://cluster.local/ns/shop/sa/server",
    };
    let places = [
        ("/run/signet/workload.sock", socket.as_str()),
        ("127.0.0.1", &address),
        (example_peer, peer.id),
    ];
    let changes: Vec<_> = places.iter().chain(changes).copied().collect();
    envoy_example(file, &changes).unwrap()
}
