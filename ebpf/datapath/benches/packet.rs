//! Nanoseconds per packet, by program, by what is known of the packet, and by how full the maps are; and what loading
//! the programs costs. Needs root.
//!
//! The kernel measures (`BPF_PROG_TEST_RUN`): the mean of many runs on one packet, without the rest of the network
//! stack. The least that it can measure is the program that does least, `from_netdev`: subtract it for a program's own
//! cost.

#![expect(clippy::print_stdout, reason = "the result of a bench is its output")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a bench that cannot go on has nothing to measure"
)]

#[path = "../tests/support/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod support;

use std::fs;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::{Duration, Instant};

use aya::maps::MapInfo;
use signet_abi::{
    AuthKey, AuthValue, Authentication, Direction, PolicyId, PolicyValue, Reason, SecurityIdentity, Verdict,
    maps, node_flags,
};
use signet_datapath::{Capacities, Hook, RunInput};
use signet_maps::{PolicyPrefix, boottime_now};
use support::node::Node;
use support::packet;
use support::scene::{
    BOTH_ENFORCED, Family, INTERFACE, LOCAL, MINUTE, Origin, PEER_NODE, REMOTE, Transport, hook,
};

/// Runs of which the mean is taken; few enough that the events of all of them fit into the ring.
const REPEAT: u32 = 10_000;
/// Means of which the median is taken.
const ROUNDS: usize = 9;
/// Packets of the measurements that take another connection each time.
const SPREAD: u32 = 2_000;
const HOUR: u64 = 60 * MINUTE;
const SIZES: [u32; 3] = [1 << 10, 1 << 14, 1 << 17];
/// How many pairs are proven where the cost of their number is measured.
const PAIRS: [u32; 3] = [1, 1 << 16, 1 << 19];

fn main() {
    loading();
    programs();
    sizes();
    pairs();
}

/// Room for the greatest size and for what the measurements add.
fn roomy() -> Capacities {
    let most = 2 * SIZES[SIZES.len() - 1];
    Capacities {
        ipcache: most,
        policy: most,
        auth: most,
        connections: most,
        ..Capacities::default()
    }
}

fn loading() {
    let mut whole = Vec::new();
    let mut node = None;
    for _ in 0..ROUNDS {
        drop(node.take());
        let began = Instant::now();
        node = Some(Node::with(&Capacities::default()));
        whole.push(began.elapsed());
    }
    let mut node = node.expect("there was a round");
    println!("                 verified instructions   bytes native   load");
    for report in node.datapath.programs().unwrap() {
        println!(
            "{:<16} {:>21}   {:>12}   {:>4} ms",
            report.hook.program(),
            report.verified,
            report.native_bytes,
            report.load_time.as_millis()
        );
    }
    println!(
        "all, with maps                                        {:>5} ms",
        median(whole).as_millis()
    );
}

/// A packet that every run judges alike.
struct Case {
    what: &'static str,
    hook: Hook,
    packet: Vec<u8>,
}

fn programs() {
    println!("\nns per packet                                       IPv4   IPv6");
    let mut node = Node::with(&Capacities::default());
    let tables = Family::BOTH.map(|family| table(&mut node, family));
    for (v4, v6) in tables[0].iter().zip(&tables[1]) {
        println!("{:<50} {:>5}  {:>5}", v4.0, v4.1.as_nanos(), v6.1.as_nanos());
    }
}

type Row = (String, Duration);

fn table(node: &mut Node, family: Family) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut measure = |node: &mut Node, case: Case, expected: Option<Reason>| {
        let direction = match case.hook {
            Hook::ToContainer | Hook::FromNetdev | Hook::FromTunnel | Hook::FromParking => Direction::Ingress,
            Hook::FromContainer | Hook::ToNetdev => Direction::Egress,
        };
        assert_eq!(
            node.run(case.hook, direction, &case.packet),
            expected,
            "{}",
            case.what
        );
        rows.push((
            format!("{:<16}{}", case.hook.program(), case.what),
            cost(node, case.hook, &case.packet),
        ));
    };
    let egress = Transport::Tcp.opening(family, Direction::Egress);
    let ingress = Transport::Tcp.opening(family, Direction::Ingress);
    let case = |what, hook, packet: &[u8]| Case {
        what,
        hook,
        packet: packet.to_vec(),
    };
    measure(node, case("the least there is", Hook::FromNetdev, &ingress), None);
    measure(
        node,
        case("", Hook::FromTunnel, &ingress),
        Some(Reason::Decrypted),
    );
    measure(node, case("not a workload's", Hook::ToNetdev, &ingress), None);
    measure(
        node,
        case("a workload's, in plaintext", Hook::ToNetdev, &egress),
        None,
    );
    node.tunnel(INTERFACE, node_flags::SEND_ENCRYPTED);
    measure(
        node,
        case("into the tunnel", Hook::ToNetdev, &egress),
        Some(Reason::Encrypted),
    );
    for direction in [Direction::Egress, Direction::Ingress] {
        let hook = hook(direction);
        let opening = Transport::Tcp.opening(family, direction);
        let further = established(&opening, family);
        let answer = Transport::Tcp.answer(family, direction.opposite());
        let forwarded = Some(Reason::Forwarded);
        node.reset();
        measure(node, case("new connection, no policy", hook, &opening), forwarded);
        node.enforce(BOTH_ENFORCED);
        node.forget();
        measure(
            node,
            case("no rule: dropped", hook, &opening),
            Some(Reason::PolicyDenied),
        );
        node.rule(direction, Verdict::Allow, Authentication::Disabled);
        measure(node, case("new connection, rule", hook, &opening), forwarded);
        measure(node, case("established, rule", hook, &further), forwarded);
        node.rule(direction, Verdict::Allow, Authentication::Required);
        node.next_epoch();
        let missing = Some(Reason::AuthenticationRequired);
        measure(node, case("no proof yet: dropped", hook, &opening), missing);
        node.prove(HOUR.cast_signed());
        measure(
            node,
            case("new connection, rule and proof", hook, &opening),
            forwarded,
        );
        measure(
            node,
            case("established, rule and proof", hook, &further),
            forwarded,
        );
        node.reset();
        node.enforce(BOTH_ENFORCED);
        node.rule(direction.opposite(), Verdict::Allow, Authentication::Required);
        node.prove(HOUR.cast_signed());
        let question = Transport::Tcp.opening(family, direction.opposite());
        assert_eq!(node.judge(direction.opposite(), &question), Reason::Forwarded);
        measure(
            node,
            case("established, answer, rule and proof", hook, &answer),
            forwarded,
        );
    }
    rows
}

/// The same packet in the middle of its connection.
fn established(opening: &[u8], family: Family) -> Vec<u8> {
    let mut packet = opening.to_vec();
    packet[packet::ETHERNET + if family == Family::V4 { 20 } else { 40 } + 13] = packet::ACK;
    packet
}

/// What one packet costs when it is the only one that ever comes.
fn cost(node: &mut Node, hook: Hook, packet: &[u8]) -> Duration {
    median(
        (0..ROUNDS)
            .map(|_| {
                let _ = (node.flows(), node.signals());
                run(node, hook, packet, REPEAT)
            })
            .collect(),
    )
}

fn run(node: &mut Node, hook: Hook, packet: &[u8], repeat: u32) -> Duration {
    let origin = Origin::usual(hook);
    let input = RunInput {
        packet,
        mark: origin.mark,
        received_by: origin.received_by,
        ifindex: INTERFACE,
        repeat,
    };
    node.datapath.run(hook, input).unwrap().duration
}

fn median(mut of: Vec<Duration>) -> Duration {
    of.sort_unstable();
    of[of.len() / 2]
}

/// What fills which map, and which packets look into it.
struct Filling {
    map: &'static str,
    fill: fn(&mut Node, u32),
    opening: bool,
}

const FILLINGS: [Filling; 4] = [
    Filling {
        map: "CT4, established",
        fill: fill_connections,
        opening: false,
    },
    Filling {
        map: "AUTH, established with proof",
        fill: fill_proofs,
        opening: false,
    },
    Filling {
        map: "IPCACHE, new connection",
        fill: fill_addresses,
        opening: true,
    },
    Filling {
        map: "POLICY, new connection",
        fill: fill_rules,
        opening: true,
    },
];

/// Of each map two numbers: one packet again and again, which finds everything in the processor's caches, and another
/// peer each time, which finds little there. The latter counts what a single run costs the kernel besides, so it is to
/// be compared with its own first line.
fn sizes() {
    print!("\nto_container, IPv4, ns: one packet / spread   ");
    for size in SIZES {
        print!("{size:>14}");
    }
    println!();
    let mut node = Node::with(&roomy());
    prepare(&mut node);
    let line = |what: &str, cells: Vec<(Duration, Duration)>| {
        print!("{what:<46}");
        for (hot, spread) in cells {
            print!("{:>14}", format!("{} / {}", hot.as_nanos(), spread.as_nanos()));
        }
        println!();
    };
    let least = SIZES
        .map(|_| both(&mut node, Hook::FromNetdev, SPREAD, true))
        .to_vec();
    line("from_netdev, the least there is", least);
    for filling in FILLINGS {
        let cells = SIZES.map(|size| {
            prepare(&mut node);
            (filling.fill)(&mut node, size);
            both(&mut node, Hook::ToContainer, size.min(SPREAD), filling.opening)
        });
        line(filling.map, cells.to_vec());
    }
}

/// What the number of proven pairs costs, in a map that they fill: per packet of an established connection, and in memory of the
/// kernel.
fn pairs() {
    println!("\nto_container, IPv4, established with proof, AUTH full");
    println!("proven pairs   one packet, ns   spread, ns   kernel memory of AUTH, kB   bytes per pair");
    for pairs in PAIRS {
        let mut node = Node::with(&Capacities {
            auth: pairs,
            ..roomy()
        });
        node.enforce(BOTH_ENFORCED);
        fill_proofs(&mut node, pairs);
        let one_more = node.auth.insert(&AuthKey::default(), &AuthValue::default());
        assert!(one_more.is_err_and(|error| error.is_full()));
        let first = Transport::Tcp.between(peer(0), Family::V4.local(), true);
        let judged = node.run(Hook::ToContainer, Direction::Ingress, &first);
        assert_eq!(judged, Some(Reason::Forwarded));
        let (hot, spread) = both(&mut node, Hook::ToContainer, pairs.min(SPREAD), false);
        let memory = memory(&node, maps::AUTH);
        println!(
            "{pairs:>12}   {:>14}   {:>10}   {:>25}   {:>14}",
            hot.as_nanos(),
            spread.as_nanos(),
            memory / 1_000,
            memory / u64::from(pairs),
        );
    }
}

/// Bytes that the kernel has set aside for a map (proc(5), `fdinfo`).
fn memory(node: &Node, map: &str) -> u64 {
    let info = MapInfo::from_pin(node.directory.join(map)).unwrap();
    let map = info.fd().unwrap();
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", map.as_fd().as_raw_fd())).unwrap();
    let bytes = text.lines().find_map(|line| line.strip_prefix("memlock:"));
    bytes.expect("the kernel says so").trim().parse().unwrap()
}

/// The rule of [`REMOTE`] asks for a proof, which is there.
fn prepare(node: &mut Node) {
    node.reset();
    node.enforce(BOTH_ENFORCED);
    node.rule(Direction::Ingress, Verdict::Allow, Authentication::Required);
    node.prove(HOUR.cast_signed());
}

/// A peer by its number, spread over the addresses.
fn peer(number: u32) -> IpAddr {
    let [_, b, c, d] = number.wrapping_mul(0x9e37_79b1).to_be_bytes();
    IpAddr::from([20, b, c, d])
}

fn both(node: &mut Node, hook: Hook, peers: u32, opening: bool) -> (Duration, Duration) {
    let packets: Vec<_> = (0..peers)
        .map(|number| {
            let packet = Transport::Tcp.between(peer(number), Family::V4.local(), true);
            if opening {
                packet
            } else {
                established(&packet, Family::V4)
            }
        })
        .collect();
    let hot = cost(node, hook, &packets[0]);
    let _ = node.flows();
    let spread = packets.iter().map(|packet| run(node, hook, packet, 1)).collect();
    (hot, median(spread))
}

fn know(node: &mut Node, number: u32, identity: SecurityIdentity) {
    node.know(peer(number), identity, PEER_NODE);
}

/// Peers in excess of those that send anything are known all the same.
fn fill_addresses(node: &mut Node, size: u32) {
    for number in 0..size {
        know(node, number, REMOTE);
    }
}

/// A connection of each peer, by its own first packet.
fn fill_connections(node: &mut Node, size: u32) {
    for number in 0..size {
        know(node, number, REMOTE);
        let opening = Transport::Tcp.between(peer(number), Family::V4.local(), true);
        run(node, Hook::ToContainer, &opening, 1);
    }
}

/// Each peer another identity, with a proof, under the wildcard's rule, and a connection of those that send.
fn fill_proofs(node: &mut Node, size: u32) {
    let any = PolicyPrefix::everything(support::scene::POLICY, SecurityIdentity::ANY, Direction::Ingress);
    node.rule_at(&any, Verdict::Allow as u8, Authentication::Required as u8);
    let not_after = boottime_now() + HOUR;
    node.grant(PEER_NODE, HOUR.cast_signed());
    for number in 0..size {
        let pair = AuthKey {
            local: LOCAL,
            remote: SecurityIdentity(1_000 + number),
            node: PEER_NODE,
        };
        let proof = AuthValue {
            not_after,
            ..AuthValue::default()
        };
        node.auth.insert(&pair, &proof).unwrap();
        if number < SPREAD {
            know(node, number, pair.remote);
            node.lease(peer(number), pair.remote, PEER_NODE);
            let opening = Transport::Tcp.between(peer(number), Family::V4.local(), true);
            run(node, Hook::ToContainer, &opening, 1);
        }
    }
}

/// A rule for each peer's identity, and as many of other endpoints as it takes.
fn fill_rules(node: &mut Node, size: u32) {
    let value = PolicyValue {
        verdict: Verdict::Allow as u8,
        rule: 5,
        ..PolicyValue::default()
    };
    for number in 0..size {
        let identity = SecurityIdentity(1_000 + number);
        let policy = if number < SPREAD {
            know(node, number, identity);
            support::scene::POLICY
        } else {
            PolicyId(100 + number % 100)
        };
        let prefix = PolicyPrefix::protocol(policy, identity, Direction::Ingress, packet::TCP);
        node.policy.insert(&prefix, &value).unwrap();
    }
}
