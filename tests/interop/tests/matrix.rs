//! All clients that others wrote at once, against two trust domains of real CAs and agents: what happens to authorities, federation,
//! identities, the CA and the agent, and what each client makes of it. Needs root: clients run under groups of their own.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]

#[path = "support/daemons.rs"]
mod daemons;
#[path = "support/envoys.rs"]
#[expect(dead_code, reason = "the other suite uses the rest")]
mod envoys;
#[path = "support/served.rs"]
mod served;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use daemons::{DOMAIN, Daemons, until};
use envoys::{Envoys, Host, OF_ALL};
use served::Workload;
use signet_interop::{Event, Language, Running, Toolbox, envoy_or_skip};

const ELSEWHERE: &str = "abroad.test";

const fn workload(id: &'static str, gid: u32) -> Workload {
    Workload { id, gid }
}

/// Whoever dials, here and from the other trust domain.
const CLIENT: Workload = workload("spiffe://daemons.test/client", 61201);
const ABROAD: Workload = workload("spiffe://abroad.test/client", 61202);
/// The Envoys before a service here, and before its client there.
const PROXY: Workload = workload("spiffe://daemons.test/proxy", 61203);
const PROXY_ABROAD: Workload = workload("spiffe://abroad.test/proxy", 61204);
const SERVERS: [(Language, Workload); 3] = [
    (Language::Rust, workload("spiffe://daemons.test/rust", 61205)),
    (Language::Python, workload("spiffe://daemons.test/python", 61206)),
    (Language::Go, workload("spiffe://daemons.test/go", 61207)),
];

impl Host for Daemons {
    fn socket(&self) -> PathBuf {
        self.path("run/workload.sock")
    }

    fn folder(&self) -> &Path {
        self.dir()
    }

    fn run(&self, workload: Workload, program: &[String], arguments: &[&str]) -> Running {
        self.client(workload.gid, program, arguments)
    }
}

/// A client of some language as a server for one peer.
struct Serving {
    running: Running,
    address: String,
}

/// A client of some language: a server for a peer here, and one for a peer abroad, both one workload.
struct Server {
    language: Language,
    program: Vec<String>,
    who: Workload,
    here: Serving,
    abroad: Serving,
}

struct World {
    home: Daemons,
    abroad: Daemons,
    dialer: Vec<String>,
}

fn client(language: Language, test: &str) -> Option<Vec<String>> {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop");
    let toolbox = Toolbox::new(Path::new(env!("CARGO_BIN_EXE_interop-rust")), &cache);
    toolbox
        .prepare_or_skip(language, test)
        .unwrap_or_else(|missing| panic!("{missing}"))
}

impl World {
    fn start(dialer: Vec<String>) -> Self {
        let (mut home, mut abroad) = (Daemons::new(&[]), Daemons::of(ELSEWHERE, &[]));
        for daemons in [&mut home, &mut abroad] {
            daemons.start_ca();
            daemons.start_agent();
        }
        let world = Self { home, abroad, dialer };
        follow(&world.home, &world.abroad, ELSEWHERE);
        follow(&world.abroad, &world.home, DOMAIN);
        world.home.register_with(CLIENT.id, CLIENT.gid, &[]);
        for (_, Workload { id, gid }) in SERVERS.into_iter().chain([(Language::Rust, PROXY)]) {
            world
                .home
                .register_with(id, gid, &["--federates-with", ELSEWHERE]);
        }
        for Workload { id, gid } in [ABROAD, PROXY_ABROAD] {
            world.abroad.register_with(id, gid, &["--federates-with", DOMAIN]);
        }
        for (daemons, who) in [(&world.home, CLIENT), (&world.abroad, ABROAD)] {
            until("the dialer has an SVID", || {
                Self::fetches(daemons, &world.dialer, who)
            });
        }
        world
    }

    fn fetches(daemons: &Daemons, program: &[String], who: Workload) -> bool {
        let mut fetch = daemons.client(who.gid, program, &["fetch"]);
        fetch.end().unwrap().success()
    }

    fn serve(&self, program: &[String], who: Workload, peer: Workload) -> Serving {
        let serve = ["serve", "--port", "0", "--peer-id", peer.id];
        let mut running = self.home.client(who.gid, program, &serve);
        let address = format!("127.0.0.1:{}", running.port().unwrap());
        Serving { running, address }
    }

    fn server(&self, language: Language, program: Vec<String>, who: Workload) -> Server {
        until("the server has an SVID", || {
            Self::fetches(&self.home, &program, who)
        });
        Server {
            here: self.serve(&program, who, CLIENT),
            abroad: self.serve(&program, who, ABROAD),
            language,
            program,
            who,
        }
    }

    /// One connection; the serial number that the server showed, if both took one another.
    fn dial(&self, server: Workload, at: &mut Serving, from: &Daemons, who: Workload) -> Option<String> {
        let dial = ["dial", "--addr", &at.address, "--peer-id", server.id];
        let mut dial = from.client(who.gid, &self.dialer, &dial);
        let shown = dial.peer().map(|peer| peer.serial);
        // With TLS 1.3 a client hears only behind the handshake that the server has refused it.
        let answered = matches!(dial.event(), Ok(Event::Reply(_)));
        // Whatever the server says of it, so that its output never fills up.
        drop(at.running.event());
        shown.ok().filter(|_| answered)
    }

    fn dial_here(&self, server: &mut Server) -> Option<String> {
        self.dial(server.who, &mut server.here, &self.home, CLIENT)
    }

    fn dial_from_abroad(&self, server: &mut Server) -> Option<String> {
        self.dial(server.who, &mut server.abroad, &self.abroad, ABROAD)
    }

    /// Both peers get through to a server that shows another SVID than before; tells which.
    fn gets_through(&self, what: &str, server: &mut Server, before: Option<&str>) -> String {
        let new = |shown: Option<String>| shown.filter(|shown| Some(shown.as_str()) != before);
        let mut shown = None;
        let of = format!("{what}: {:?}, from here", server.language);
        until(&of, || {
            shown = new(self.dial_here(server));
            shown.is_some()
        });
        let of = format!("{what}: {:?}, from abroad", server.language);
        until(&of, || new(self.dial_from_abroad(server)).is_some());
        shown.unwrap()
    }
}

/// Begins to follow the bundle of another trust domain.
fn follow(one: &Daemons, other: &Daemons, name: &str) {
    let bundle = one.path("their-bundle.json");
    fs::write(&bundle, other.signet(&["ca", "bundle", "--format", "spiffe"])).unwrap();
    let url = format!("https://127.0.0.1:{}/", other.bundle_port);
    let id = format!("spiffe://{name}/signet/ca");
    let bundle = bundle.display().to_string();
    one.signet(&[
        "ca",
        "federation",
        "add",
        name,
        "--url",
        &url,
        "--profile",
        "https_spiffe",
        "--endpoint-spiffe-id",
        &id,
        "--bundle",
        &bundle,
    ]);
}

/// Another authority signs, as after a leak: published to its own agents and, by federation, to the other trust domain before it does;
/// and in the end nobody knows the old one any more.
fn replace_authority(of: &Daemons, name: &str, other: &Daemons) {
    let tell = || drop(other.signet(&["ca", "federation", "refresh", name]));
    let id = active_x509(&of.signet(&["-o", "json", "ca", "authority", "list"]));
    of.signet(&["ca", "authority", "prepare", "x509"]);
    tell();
    let activate = ["ca", "authority", "activate", "x509", "--now-that-nodes-know"];
    until("the nodes know the new authority", || {
        of.try_signet(&activate).is_some()
    });
    // Serial numbers count in seconds: what was renewed in the second of the turn cannot be told from what was signed before.
    let second = Instant::now() + Duration::from_millis(1100);
    until("the second of the turn is over", || Instant::now() > second);
    of.signet(&["ca", "authority", "taint", "x509", &id, "--yes"]);
    let revoke = [
        "ca",
        "authority",
        "revoke",
        "x509",
        &id,
        "--reason",
        "key-compromise",
        "--yes",
    ];
    until("no node has an SVID of the old one", || {
        of.try_signet(&revoke).is_some()
    });
    tell();
}

/// Of the JSON that lists authorities; there is one X.509 authority that signs.
fn active_x509(list: &str) -> String {
    let one = list
        .split('{')
        .find(|one| one.contains("\"x509\"") && one.contains("\"active\""));
    let (_, rest) = one
        .and_then(|one| one.split_once("\"id\""))
        .unwrap_or_else(|| panic!("{list}"));
    rest.split('"').nth(1).unwrap().to_owned()
}

#[test]
fn spiffe_row_44_46_62_and_64_real_daemons_change_under_every_client_and_each_follows() {
    let test = "spiffe_row_44_46_62_and_64_real_daemons_change_under_every_client_and_each_follows";
    let Some(dialer) = client(Language::Rust, test) else {
        return;
    };
    let Some(envoy) = envoy_or_skip(test).unwrap_or_else(|missing| panic!("{missing}")) else {
        return;
    };
    let mut world = World::start(dialer);
    let mut servers = Vec::new();
    for (language, who) in SERVERS {
        let Some(program) = client(language, test) else {
            return;
        };
        servers.push(world.server(language, program, who));
    }
    let envoys = Envoys::start(
        &envoy,
        (&world.home, PROXY),
        (&world.abroad, PROXY_ABROAD),
        &OF_ALL,
    );
    let mut shown: Vec<String> = Vec::new();
    for server in &mut servers {
        shown.push(world.gets_through("at first", server, None));
    }
    envoys.until("the proxies speak", |answer| {
        answer
            .as_ref()
            .is_ok_and(|answer| answer.ends_with(PROXY_ABROAD.id))
    });

    bundles_rotate(&world, &mut servers, &mut shown, &envoys);
    federation_ends_and_begins_again(&world, &mut servers, &envoys);
    identities_are_taken_back(&world, &mut servers, &mut shown, &envoys);

    // Without the CA nothing changes: whoever begins gets what the agent has.
    world.home.kill_ca();
    for (server, shown) in servers.iter_mut().zip(&shown) {
        assert!(
            World::fetches(&world.home, &server.program, server.who),
            "{:?}",
            server.language
        );
        assert_eq!(
            world.dial_here(server).as_ref(),
            Some(shown),
            "{:?}",
            server.language
        );
    }
    assert!(envoys.ask().is_ok());
    world.home.start_ca();

    // Clients go on with what they have while the agent is gone, and hear of what happens once it is back.
    world.home.kill_agent();
    assert!(envoys.ask().is_ok());
    world.home.start_agent();
    let dialer = world.dialer.clone();
    until("the dialer has an SVID again", || {
        World::fetches(&world.home, &dialer, CLIENT)
    });
    for server in &mut servers {
        world.gets_through("after the agent's end", server, None);
    }
    identities_are_taken_back(&world, &mut servers, &mut shown, &envoys);
}

/// Of the own trust domain and of the other one.
fn bundles_rotate(world: &World, servers: &mut [Server], shown: &mut [String], envoys: &Envoys) {
    let before = envoys.updates();
    replace_authority(&world.home, DOMAIN, &world.abroad);
    for (server, shown) in servers.iter_mut().zip(shown.iter_mut()) {
        *shown = world.gets_through("after our own authority's end", server, Some(shown));
    }
    envoys.until("the proxies speak after our own authority's end", |answer| {
        let after = envoys.updates();
        answer.is_ok() && after[0] > before[0] && after[1] > before[1]
    });
    let before = envoys.updates();
    replace_authority(&world.abroad, ELSEWHERE, &world.home);
    // Peers abroad have SVIDs that nothing verifies but the new authority.
    for server in servers.iter_mut() {
        world.gets_through("after the other authority's end", server, None);
    }
    envoys.until("the proxies speak after the other authority's end", |answer| {
        let after = envoys.updates();
        answer.is_ok() && after[0] > before[0] && after[1] > before[1]
    });
}

fn federation_ends_and_begins_again(world: &World, servers: &mut [Server], envoys: &Envoys) {
    world.home.signet(&["ca", "federation", "remove", ELSEWHERE]);
    for server in servers.iter_mut() {
        let what = format!(
            "without its bundle the other domain is refused: {:?}",
            server.language
        );
        until(&what, || world.dial_from_abroad(server).is_none());
        assert!(world.dial_here(server).is_some(), "{:?}", server.language);
    }
    envoys.until("without its bundle the other domain is refused", Result::is_err);
    follow(&world.home, &world.abroad, ELSEWHERE);
    for server in servers.iter_mut() {
        world.gets_through("after the bundle's return", server, None);
    }
    envoys.until("the proxies speak after the bundle's return", Result::is_ok);
}

/// Nobody who asks gets one; whoever runs takes the next one up when it comes.
fn identities_are_taken_back(world: &World, servers: &mut [Server], shown: &mut [String], envoys: &Envoys) {
    let ids = || SERVERS.into_iter().map(|(_, who)| who.id).chain([PROXY.id]);
    for id in ids() {
        world.home.signet(&[
            "ca",
            "revoke",
            "--spiffe-id",
            id,
            "--reason",
            "key-compromise",
            "--yes",
        ]);
    }
    for server in servers.iter_mut() {
        let what = format!("nothing is left of the identity: {:?}", server.language);
        until(&what, || {
            !World::fetches(&world.home, &server.program, server.who)
        });
    }
    envoys.until("nothing is left of the proxy's identity", Result::is_err);
    for id in ids() {
        world.home.signet(&["ca", "reopen", id]);
    }
    for (server, shown) in servers.iter_mut().zip(shown.iter_mut()) {
        *shown = world.gets_through("after the identity's return", server, Some(shown));
    }
    envoys.until("the proxies speak after the identity's return", Result::is_ok);
}
