//! A run: a small cluster, generated faults under traffic, then peace. After every step all must be as the reference model says, and
//! in the end everything that is permitted must work again.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use signet_session::NodeNumber;

use crate::agent::Tuning;
use crate::dice::Dice;
use crate::fault::{Planned, plan};
use crate::names::{node, own_address, shared_address, workload};
use crate::network::Latency;
use crate::rules::Rule;
use crate::world::{Counts, Setup, World};

/// For so long after the last fault something that is permitted may not work yet: a peer is found dead after 15 s, and tried again
/// after 10 s at most; a pair that failed is tried again after 30 s at most.
pub const RECOVERY: Duration = Duration::from_mins(1);
/// And then it works within this time, if need be with a new proof.
const CONTACT: Duration = Duration::from_secs(3);

/// How large a run is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Nodes.
    pub nodes: u32,
    /// Workload identities.
    pub workloads: u32,
    /// Faults.
    pub faults: usize,
    /// Within which simulated time.
    pub time: Duration,
}

impl Default for Size {
    fn default() -> Self {
        Self {
            nodes: 5,
            workloads: 4,
            faults: 24,
            time: Duration::from_secs(90),
        }
    }
}

/// What a good run has seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Packets.
    pub counts: Counts,
    /// Proofs that were made.
    pub proofs: u64,
    /// Sessions that were opened, counted at both ends.
    pub sessions: u64,
    /// Handshakes that nobody had asked for.
    pub ahead: u64,
    /// Pairs of addresses that worked in the end.
    pub permitted: usize,
}

/// A run that is not as it must be.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Of which seed.
    pub seed: u64,
    /// The least faults that show it.
    pub plan: Vec<Planned>,
    /// What is wrong.
    pub what: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {} fails (SIGNET_MODEL_SEED={} runs it alone), with no more than these faults:",
            self.seed, self.seed
        )?;
        for planned in &self.plan {
            let seconds = |at| Duration::from_nanos(at).as_secs_f64();
            let (from, to) = (seconds(planned.at), seconds(planned.until));
            writeln!(f, "  {from:.3} to {to:.3} s: {:?}", planned.fault)?;
        }
        self.what.iter().try_for_each(|what| writeln!(f, "{what}"))
    }
}

/// Runs a seed. One that fails is made smaller: faults are left out as long as it still fails.
pub fn run(seed: u64, size: Size) -> Result<Report, Failure> {
    let mut dice = Dice::new(seed);
    let faults = plan(&mut dice, size.faults, size.time, size.nodes, size.workloads);
    let mut what = match attempt(seed, size, faults.clone()) {
        Ok(report) => return Ok(report),
        Err(what) => what,
    };
    let mut least = faults;
    let mut step = least.len() / 2;
    while step > 0 {
        let mut from = 0;
        while from < least.len() {
            let mut fewer = least.clone();
            fewer.drain(from..(from + step).min(fewer.len()));
            match attempt(seed, size, fewer.clone()) {
                Ok(_) => from += step,
                Err(still) => (least, what) = (fewer, still),
            }
        }
        step /= 2;
    }
    Err(Failure {
        seed,
        plan: least,
        what,
    })
}

fn attempt(seed: u64, size: Size, plan: Vec<Planned>) -> Result<Report, Vec<String>> {
    let setup = Setup {
        nodes: size.nodes,
        workloads: size.workloads,
        life: Duration::from_mins(1),
        latency: Latency {
            least: Duration::from_micros(200),
            // A rack, a country, a bad line.
            most: Duration::from_millis([2, 20, 120][usize::try_from(seed % 3).unwrap_or(0)]),
            late: 2,
        },
        talk: Some(Duration::from_millis(25)),
        checks: true,
        tuning: tuning(),
    };
    let mut world = World::new(setup, seed, |on, number| !(on + number).is_multiple_of(3));
    for on in 1..=size.nodes {
        for slot in 0..2_u8 {
            let owner = (node(on), workload((on + u32::from(slot)) % size.workloads));
            world.own(own_address(node(on), slot), Some(owner));
        }
        if on.is_multiple_of(2) {
            world.own(
                shared_address(node(on), 0),
                Some((node(on), workload(on % size.workloads))),
            );
        }
    }
    let mut rules = Dice::new(!seed);
    for from in 0..size.workloads {
        for to in 0..size.workloads {
            let rule = [
                Rule::Required,
                Rule::Required,
                Rule::Rejecting,
                Rule::Rejecting,
                Rule::Open,
            ];
            world.rule(from, to, rules.pick(&rule).copied().unwrap_or_default());
        }
    }
    world.plan(plan);
    // Every fault is over some time after the last has begun.
    world.run(size.time + Duration::from_secs(25));
    world.run(RECOVERY);
    stop_if_wrong(&world)?;
    let permitted = world.permitted();
    let since = world.now();
    for (source, destination) in &permitted {
        world.send(*source, *destination);
    }
    world.run(CONTACT);
    for (source, destination) in &permitted {
        if !world.has_passed(*source, *destination, since) {
            let what = format!("{source} cannot reach {destination}, and may");
            world.truth.violated(what);
        }
    }
    world.look_at_sessions();
    stop_if_wrong(&world)?;
    let traffic = world.traffic();
    Ok(Report {
        counts: world.counts(),
        proofs: traffic.proofs,
        ahead: world.truth.foresight().count(),
        sessions: traffic.sessions,
        permitted: permitted.len(),
    })
}

/// Bounds that a small cluster comes to.
pub fn tuning() -> Tuning {
    Tuning {
        parking: signet_parking::Bounds {
            pair_packets: 6,
            packets: 24,
            ..signet_parking::Bounds::default()
        },
        ahead: Some(signet_preauth::Bounds {
            pairs: 24,
            in_flight: 3,
            per_node: 2,
            beside_contacts: 1,
            burst: 4,
            interval: 50_000_000,
        }),
    }
}

fn stop_if_wrong(world: &World) -> Result<(), Vec<String>> {
    let what = world.violations();
    if what.is_empty() {
        return Ok(());
    }
    let at = Duration::from_nanos(world.now()).as_secs_f64();
    let mut what = what.to_vec();
    what.insert(0, format!("at {at:.3} s:"));
    Err(what)
}

impl World {
    /// Who may reach whom: both are what they claim, registered where they are, and the nodes have not been banned.
    fn permitted(&self) -> Vec<(IpAddr, IpAddr)> {
        let may = |address: &IpAddr| {
            self.truth
                .owner(*address)
                .is_some_and(|(on, id)| self.view.is_on(*on, id) && self.view.nodes.contains(on))
        };
        let addresses: Vec<IpAddr> = self.truth.addresses().map(|(address, _)| address).collect();
        let good: Vec<IpAddr> = addresses.into_iter().filter(may).collect();
        let pairs = good
            .iter()
            .flat_map(|source| good.iter().map(move |destination| (*source, *destination)));
        pairs
            .filter(|(source, destination)| source != destination && self.may_pass(*source, *destination))
            .collect()
    }

    /// Whether its rule lets the one reach the other, with a proof or without.
    fn may_pass(&self, source: IpAddr, destination: IpAddr) -> bool {
        let identity = |address| {
            let (_, id) = self.truth.owner(address)?;
            self.view.identities.get(id).copied()
        };
        let ends = identity(source).zip(identity(destination));
        ends.is_some_and(|(sender, receiver)| self.rules.of(sender, receiver) != Rule::Denied)
    }

    fn has_passed(&self, source: IpAddr, destination: IpAddr, since: u64) -> bool {
        self.passed
            .get(&(source, destination))
            .is_some_and(|at| *at >= since)
    }

    /// Between two nodes there is one session, and both have it; and nothing else is open.
    fn look_at_sessions(&mut self) {
        let mut wrong = Vec::new();
        let mut open = std::collections::BTreeSet::new();
        let at_peer = |of: NodeNumber, peer: NodeNumber| {
            let agent = self.hosts.get(&of)?.agent.as_ref()?;
            agent.sessions().find(|(with, _)| *with == peer).map(|(_, id)| id)
        };
        for (on, host) in &self.hosts {
            let Some(agent) = host.agent.as_ref().filter(|_| !host.banned) else {
                continue;
            };
            if agent.half_open() > 0 {
                wrong.push(format!("node {on} has connections without a session"));
            }
            for (peer, id) in agent.sessions() {
                open.insert(id);
                if at_peer(peer, *on) != Some(id) {
                    wrong.push(format!(
                        "node {on} has a session with node {peer} that the other has not"
                    ));
                }
            }
        }
        let banned = self.hosts.values().any(|host| host.banned);
        if !banned && self.network.len() != open.len() {
            wrong.push(format!(
                "{} connections for {} sessions",
                self.network.len(),
                open.len()
            ));
        }
        for what in wrong {
            self.truth.violated(what);
        }
    }
}
