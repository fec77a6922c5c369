//! A large cluster: what its agents say to each other at rest, and how long they take to converge after what happens to all of them.

use std::net::IpAddr;
use std::time::Duration;

use signet_abi::NodeId;
use signet_session::NodeNumber;
use signet_spiffe::Subject;

use crate::agenda::{Event, nanos};
use crate::agent::Tuning;
use crate::authority::Authority;
use crate::context::Traffic;
use crate::kernel::{Packet, Verdict};
use crate::names::{identity, node, own_address, workload};
use crate::network::Latency;
use crate::world::{Setup, World};

/// Time is looked at in such steps.
const STEP: Duration = Duration::from_millis(50);
/// Whoever cannot be reached is sent a packet this often, in steps.
const AGAIN: u32 = 4;
/// How far it has come is told this often, in steps.
const TELL: u32 = 40;
/// All must have converged by then.
const MOST: Duration = Duration::from_mins(5);
/// After so many agents of a rolling restart it is looked at what passes.
const LOOK: usize = 20;
/// What a TLS record adds to a message that has one of its own.
const RECORD: u64 = 22;

/// How large it is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Nodes.
    pub nodes: u32,
    /// Sessions of each.
    pub sessions: u32,
}

/// What was measured. Times are simulated.
#[derive(Clone, Copy, Debug, Default)]
pub struct Measured {
    /// From nothing until every pair is proven.
    pub start: Option<Duration>,
    /// Connections for each pair of nodes in that time, of those that were dialed from both ends at once too.
    pub connections: f64,
    /// Messages that a node sends in a second, at rest.
    pub messages: f64,
    /// Their bytes, with TLS records, without TCP and IP.
    pub bytes: f64,
    /// Most directions, of all, in which nothing passed at some moment of a rolling restart.
    pub disturbed: f64,
    /// From the start of the last agent of a rolling restart until everything passes, and every pair has its session.
    pub restart: Option<Duration>,
    /// From the revocation of the old authority until everything passes under the new one.
    pub rotation: Option<Duration>,
    /// From the end of a partition of a third of the nodes until everything passes, and every pair has its session.
    pub partition: Option<Duration>,
    /// Pair handshakes of a node in all of it.
    pub proofs: f64,
}

/// A cluster in which each node's workload talks to those of as many other nodes as it is to have sessions.
pub struct Cluster {
    world: World,
    pairs: Vec<(NodeNumber, NodeNumber)>,
}

impl Cluster {
    /// It starts at once.
    pub fn new(size: Size, seed: u64) -> Self {
        let setup = Setup {
            nodes: size.nodes,
            workloads: size.nodes,
            life: Duration::from_hours(1),
            latency: Latency {
                least: Duration::from_micros(100),
                most: Duration::from_millis(1),
                late: 0,
            },
            talk: None,
            checks: false,
            tuning: Tuning::default(),
        };
        let mut cluster = Self {
            world: World::new(setup, seed, |on, number| on == number + 1),
            pairs: pairs(size),
        };
        for on in 1..=size.nodes {
            let owner = (node(on), workload(on - 1));
            cluster.world.settle(address(node(on)), owner);
        }
        for (from, to) in cluster.pairs.clone() {
            cluster.introduce(from, to);
            cluster.introduce(to, from);
        }
        cluster
    }

    fn introduce(&mut self, of: NodeNumber, to: NodeNumber) {
        let entry = (identity(of.get() - 1), NodeId(of.get()));
        if let Some(host) = self.world.hosts.get_mut(&to) {
            host.kernel.ipcache.insert(address(of), entry);
        }
    }

    /// All of it, one after the other. `tell` hears what comes next, and how far it has come.
    pub fn measure(&mut self, mut tell: impl FnMut(&str)) -> Measured {
        let tell: &mut dyn FnMut(&str) = &mut tell;
        let mut measured = Measured::default();
        tell("start");
        measured.start = self.converge(tell);
        measured.connections = float(self.world.traffic().sessions) / 2.0 / count(self.pairs.len());
        tell("rest");
        (measured.messages, measured.bytes) = self.rest(Duration::from_mins(1), tell);
        tell("rolling restart");
        measured.disturbed = self.restart_all(tell);
        measured.restart = self.converge(tell);
        tell("CA rotation");
        self.rotate();
        measured.rotation = self.converge(tell);
        tell("partition of a third");
        self.partition(Duration::from_mins(1), tell);
        measured.partition = self.converge(tell);
        let nodes = count(self.world.hosts.len());
        measured.proofs = float(self.world.traffic().proofs) / nodes;
        measured
    }

    /// Until every pair has its session, and passes in both directions; nothing if that takes too long.
    fn converge(&mut self, tell: &mut dyn FnMut(&str)) -> Option<Duration> {
        let since = self.world.now();
        for step in 0_u32.. {
            let missing = self.missing();
            let apart = self.apart();
            let took = Duration::from_nanos(self.world.now() - since);
            if missing.is_empty() && apart == 0 {
                return Some(took);
            }
            if took >= MOST {
                break;
            }
            if step.is_multiple_of(TELL) {
                tell(&format!(
                    "{:.1} s: {} directions refused, {apart} pairs without a session",
                    took.as_secs_f64(),
                    missing.len()
                ));
            }
            if step.is_multiple_of(AGAIN) {
                for (from, to) in missing {
                    self.world.send(address(from), address(to));
                }
            }
            self.world.run(STEP);
        }
        None
    }

    /// Time passes.
    fn pass(&mut self, time: Duration, tell: &mut dyn FnMut(&str)) {
        let part = time / 4;
        for passed in 1..=4 {
            self.world.run(part);
            tell(&format!("{} of {} s", (part * passed).as_secs(), time.as_secs()));
        }
    }

    /// How many pairs have no session that both know of.
    fn apart(&self) -> usize {
        let session = |on: NodeNumber, with: NodeNumber| {
            let agent = self.world.hosts.get(&on)?.agent.as_ref()?;
            agent.session(with)
        };
        let is_apart = |(a, b): &&(NodeNumber, NodeNumber)| {
            let id = session(*a, *b);
            id.is_none() || id != session(*b, *a)
        };
        self.pairs.iter().filter(is_apart).count()
    }

    /// Which way nothing passes.
    fn missing(&self) -> Vec<(NodeNumber, NodeNumber)> {
        let ways = self.pairs.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]);
        ways.filter(|(from, to)| !self.passes(*from, *to)).collect()
    }

    fn passes(&self, from: NodeNumber, to: NodeNumber) -> bool {
        self.world.hosts.get(&to).is_some_and(|host| {
            let boot = host.clocks.boot(self.world.now());
            let own = NodeId(to.get());
            let packet = Packet {
                source: address(from),
                destination: address(to),
                from,
                interface: self.world.truth.interface(address(from)),
                number: 0,
            };
            let (_, verdict) = host.kernel.judge(&packet, own, boot);
            verdict == Verdict::Passes
        })
    }

    /// Messages and bytes of a node in a second.
    fn rest(&mut self, time: Duration, tell: &mut dyn FnMut(&str)) -> (f64, f64) {
        let before = self.world.traffic();
        self.pass(time, tell);
        let after = self.world.traffic();
        let messages = after.messages - before.messages;
        let bytes = after.bytes - before.bytes + RECORD * messages;
        let seconds = time.as_secs_f64() * count(self.world.hosts.len());
        (float(messages) / seconds, float(bytes) / seconds)
    }

    /// One agent after the other is away for a second; ten begin in each second, or all in half a minute. Says how many of a hundred
    /// directions were refused at the worst moment.
    fn restart_all(&mut self, tell: &mut dyn FnMut(&str)) -> f64 {
        let nodes: Vec<NodeNumber> = self.world.hosts.keys().copied().collect();
        let pause =
            Duration::from_millis(100).min(Duration::from_secs(30) / u32::try_from(nodes.len()).unwrap_or(1));
        let mut down = std::collections::VecDeque::new();
        let mut worst = 0;
        for (number, on) in nodes.into_iter().enumerate() {
            if number.is_multiple_of(LOOK) {
                worst = worst.max(self.missing().len());
                tell(&format!("{number} stopped, {worst} directions refused at most"));
            }
            self.world.stop(on);
            down.push_back((self.world.now() + nanos(Duration::from_secs(1)), on));
            self.world.run(pause);
            while let Some((_, on)) = down.pop_front_if(|(at, _)| *at <= self.world.now()) {
                self.world.start(on);
            }
        }
        for (at, on) in down {
            let left = Duration::from_nanos(at.saturating_sub(self.world.now()));
            self.world.run(left);
            self.world.start(on);
        }
        worst = worst.max(self.missing().len());
        100.0 * count(worst) / count(2 * self.pairs.len())
    }

    /// The CA signs with a new key, everybody gets new SVIDs within ten seconds, and what the old key signed is revoked.
    fn rotate(&mut self) {
        let number = u32::try_from(self.world.authorities.len()).unwrap_or(0);
        self.world.authorities.push(Authority::new(number + 1));
        self.world.publish(|_| {});
        self.world.run(Duration::from_secs(1));
        let nodes: Vec<NodeNumber> = self.world.hosts.keys().copied().collect();
        let pause = Duration::from_secs(10) / u32::try_from(nodes.len()).unwrap_or(1);
        for on in nodes {
            self.world.reissue(on);
            self.world.run(pause);
        }
        let newest = self.world.authorities.pop();
        let old = std::mem::replace(&mut self.world.authorities, newest.into_iter().collect());
        let subjects = old
            .iter()
            .map(|authority| Subject::Authority(authority.key_id()))
            .collect();
        self.world.revoke(subjects, None);
        // The last node has heard of it.
        self.world.run(Duration::from_millis(100));
    }

    /// Every third node hears nothing of the others.
    fn partition(&mut self, time: Duration, tell: &mut dyn FnMut(&str)) {
        let is_apart = |on: NodeNumber| on.get().is_multiple_of(3);
        let across: Vec<_> = self
            .pairs
            .iter()
            .copied()
            .filter(|(a, b)| is_apart(*a) != is_apart(*b))
            .collect();
        for (a, b) in &across {
            self.world.network.cut(*a, *b);
        }
        self.pass(time, tell);
        for (a, b) in across {
            self.world
                .network
                .mend(a, b, &mut self.world.agenda, &mut self.world.dice);
        }
    }
}

impl World {
    /// What all nodes have sent.
    pub fn traffic(&self) -> Traffic {
        let mut sum = Traffic::default();
        for host in self.hosts.values() {
            sum.messages += host.traffic.messages;
            sum.bytes += host.traffic.bytes;
            sum.sessions += host.traffic.sessions;
            sum.proofs += host.traffic.proofs;
        }
        sum
    }

    /// An address has an owner, and his node knows.
    fn settle(&mut self, address: IpAddr, owner: (NodeNumber, signet_spiffe::SpiffeId)) {
        let (on, now) = (owner.0, self.now());
        self.truth.owned(now, address, Some(owner));
        self.agenda.at(now, Event::Endpoints(on));
    }

    /// A node gets new SVIDs in place of those that it has.
    fn reissue(&mut self, on: NodeNumber) {
        let unix = self.clocks.now(self.now()).unix;
        let (Some(host), Some(authority)) = (self.hosts.get_mut(&on), self.authorities.last()) else {
            return;
        };
        let Some(agent) = &mut host.agent else { return };
        let ids: Vec<_> = agent.estate.svids.keys().cloned().collect();
        let svids = ids
            .iter()
            .map(|id| authority.issue(id, &self.view.bundles, unix, self.setup.life))
            .map(std::sync::Arc::new)
            .inspect(|svid| self.truth.issued(on, svid))
            .collect();
        self.with(on, |agent, context| agent.on_svids(svids, context));
    }
}

/// The only workload of a node has this address.
fn address(of: NodeNumber) -> IpAddr {
    own_address(of, 0)
}

/// Each node with as many others as it is to have sessions, near and far alike.
fn pairs(size: Size) -> Vec<(NodeNumber, NodeNumber)> {
    let half = (size.sessions / 2).max(1);
    let stride = (size.nodes / 2 / half).max(1);
    let mut pairs = Vec::new();
    for from in 0..size.nodes {
        for step in 0..half {
            let to = (from + 1 + step * stride) % size.nodes;
            pairs.push((node(from + 1), node(to + 1)));
        }
    }
    pairs
}

#[expect(clippy::cast_precision_loss, reason = "counts of a bench, far below 2^52")]
fn float(number: u64) -> f64 {
    number as f64
}

fn count(number: usize) -> f64 {
    float(u64::try_from(number).unwrap_or(u64::MAX))
}
