//! A cluster on one simulated clock: runs what is due, and looks after each step whether all is as it must be.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use signet_abi::{AuthKey, NodeId};
use signet_session::NodeNumber;

use crate::agenda::{Agenda, Event, nanos};
use crate::agent::{Agent, Estate, boot_of};
use crate::authority::Authority;
use crate::context::{Clocks, Context};
use crate::dice::Dice;
use crate::fault::Planned;
use crate::host::Host;
use crate::kernel::{Packet, Verdict};
use crate::names::{identity, node, workload};
use crate::network::{Latency, Network, NodeSvid, Side};
use crate::pairs::Signal;
use crate::truth::{Passed, Truth};
use crate::view::View;

/// The simulation begins so long after the present, so that the certificates in it are good by every clock.
const AHEAD: Duration = Duration::from_hours(24);

/// What a cluster is like.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// How many nodes there are.
    pub nodes: u32,
    /// How many workload identities.
    pub workloads: u32,
    /// Lives of SVIDs.
    pub life: Duration,
    /// The network.
    pub latency: Latency,
    /// Between two packets of workloads, in the whole cluster; nothing: they are silent.
    pub talk: Option<Duration>,
    /// Whether each node is looked at after each step.
    pub checks: bool,
}

/// A cluster.
pub struct World {
    pub(crate) setup: Setup,
    pub(crate) agenda: Agenda,
    pub(crate) network: Network,
    pub(crate) dice: Dice,
    pub(crate) hosts: BTreeMap<NodeNumber, Host>,
    pub(crate) view: Arc<View>,
    pub(crate) authorities: Vec<Authority>,
    pub(crate) truth: Truth,
    pub(crate) plan: Vec<Planned>,
    pub(crate) passed: BTreeMap<(IpAddr, IpAddr), u64>,
    /// Addresses that changed hands last.
    pub(crate) hot: VecDeque<IpAddr>,
    pub(crate) counts: Counts,
    pub(crate) clocks: Clocks,
}

/// What became of packets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Passed at once.
    pub passed: u64,
    /// Passed after they had waited for a proof.
    pub released: u64,
    /// Had to wait, or were dropped for the want of a proof.
    pub unproven: u64,
    /// Dropped for the want of a lease.
    pub unleased: u64,
    /// Events.
    pub events: u64,
}

impl World {
    /// A cluster whose agents start at once. Workloads are registered where `is_on` says.
    pub fn new(setup: Setup, seed: u64, is_on: impl Fn(u32, u32) -> bool) -> Self {
        let unix = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            + AHEAD;
        let clocks = Clocks {
            origin: Instant::now(),
            unix: unix.as_secs(),
            booted: 0,
        };
        let mut view = View {
            version: 1,
            ..View::default()
        };
        for number in 0..setup.workloads {
            view.identities.insert(workload(number), identity(number));
            view.ids.insert(identity(number), workload(number));
        }
        for on in 1..=setup.nodes {
            view.nodes.insert(node(on));
            let here = (0..setup.workloads).filter(|number| is_on(on, *number));
            view.registered
                .extend(here.map(|number| (node(on), workload(number))));
        }
        let mut world = Self {
            setup,
            agenda: Agenda::default(),
            network: Network::new(setup.latency),
            dice: Dice::new(seed),
            hosts: BTreeMap::new(),
            view: Arc::new(view),
            authorities: vec![Authority::new(0)],
            truth: Truth::default(),
            plan: Vec::new(),
            passed: BTreeMap::new(),
            hot: VecDeque::new(),
            counts: Counts::default(),
            clocks,
        };
        world.publish(|_| {});
        for on in 1..=setup.nodes {
            let estate = Estate {
                view: world.view.clone(),
                svid: world.node_svid(node(on)),
                svids: BTreeMap::new(),
                settled: 0,
            };
            world.hosts.insert(node(on), Host::new(node(on), estate, clocks));
            world.start(node(on));
        }
        if setup.talk.is_some() {
            world.agenda.after(Duration::from_secs(1), Event::Talk);
        }
        world
    }

    /// Faults to come.
    pub fn plan(&mut self, plan: Vec<Planned>) {
        for (number, planned) in plan.iter().enumerate() {
            self.agenda.at(planned.at, Event::Fault(number));
            self.agenda.at(planned.until, Event::Over(number));
        }
        self.plan = plan;
    }

    /// Runs for this time; stops early where something is as it must not be.
    pub fn run(&mut self, time: Duration) {
        let until = self.agenda.now() + nanos(time);
        while self.truth.violations().is_empty() {
            let Some(event) = self.agenda.next(until) else {
                return;
            };
            self.counts.events += 1;
            self.happen(event);
        }
    }

    /// Simulated time, ns.
    pub fn now(&self) -> u64 {
        self.agenda.now()
    }

    /// What became of packets.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// What was as it must not be.
    pub fn violations(&self) -> &[String] {
        self.truth.violations()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Wake(on) => self.wake(on),
            Event::Syn(id) => self.syn(id),
            Event::Connected(id, side) => {
                if let Some(on) = self.network.node(id, side) {
                    self.with(on, |agent, context| agent.on_connected(id, side, context));
                }
            }
            Event::Arrive(id, side) => self.arrive(id, side),
            Event::View(on) => {
                let view = self.view.clone();
                if self.is_served(on) {
                    self.with(on, |agent, context| agent.on_view(&view, context));
                    self.look_at(on);
                }
            }
            Event::Issue(on) => self.issue(on),
            Event::Endpoints(on) => self.tell_endpoints(on),
            Event::Ipcache(on, address) => self.tell_address(on, address),
            Event::Talk => self.talk(),
            Event::Packet(packet, on) => self.judge(on, packet, false),
            Event::Fault(number) => self.begin(number),
            Event::Over(number) => self.over(number),
        }
    }

    fn wake(&mut self, on: NodeNumber) {
        let now = self.now();
        let Some(host) = self.hosts.get_mut(&on).filter(|host| host.wake_at <= now) else {
            return;
        };
        host.wake_at = u64::MAX;
        if host.meshless == 0 {
            self.with(on, Agent::on_beat);
        }
        self.with(on, Agent::on_wake);
        self.look_at(on);
        self.request_svids(on);
    }

    fn syn(&mut self, id: u64) {
        let ends = (
            self.network.node(id, Side::Dialer),
            self.network.node(id, Side::Listener),
        );
        let (Some(from), Some(to)) = ends else { return };
        let host = self.hosts.get(&to);
        if self.network.is_cut(from, to) || host.is_none_or(|host| host.dark > 0) {
            return;
        }
        let svid = host
            .and_then(|host| host.agent.as_ref())
            .map(|agent| agent.estate.svid);
        match svid {
            Some(svid) => self.network.accept(id, svid, &mut self.agenda, &mut self.dice),
            None => self.network.refuse(id, &mut self.agenda, &mut self.dice),
        }
    }

    fn arrive(&mut self, id: u64, side: Side) {
        let Some(on) = self.network.node(id, side) else {
            return;
        };
        let is_up = self.hosts.get(&on).is_some_and(|host| host.dark == 0);
        let arrivals = self
            .network
            .arrivals(id, side, is_up, &mut self.agenda, &mut self.dice);
        for arrival in arrivals {
            self.with(on, |agent, context| agent.on_arrival(id, arrival, context));
        }
    }

    /// Lets an agent do something; what it gives back to the kernel is judged after.
    pub(crate) fn with<R>(
        &mut self,
        on: NodeNumber,
        act: impl FnOnce(&mut Agent, &mut Context<'_>) -> R,
    ) -> Option<R> {
        let host = self.hosts.get_mut(&on)?;
        let agent = host.agent.as_mut()?;
        let mut context = Context {
            agenda: &mut self.agenda,
            network: &mut self.network,
            dice: &mut self.dice,
            kernel: &mut host.kernel,
            truth: &mut self.truth,
            traffic: &mut host.traffic,
            clocks: host.clocks,
            returned: Vec::new(),
        };
        let result = act(agent, &mut context);
        let returned = std::mem::take(&mut context.returned);
        let due = agent.deadline(&context).max(context.at() + 1);
        if due < host.wake_at {
            host.wake_at = due;
            self.agenda.at(due, Event::Wake(on));
        }
        for frame in returned {
            if let Some(packet) = read(&frame) {
                self.judge(on, packet, true);
            }
        }
        Some(result)
    }

    /// An agent starts, if it may.
    pub(crate) fn start(&mut self, on: NodeNumber) {
        let Some(host) = self.hosts.get_mut(&on).filter(|host| host.may_run()) else {
            return;
        };
        let Some(estate) = host.estate.take() else { return };
        let mut context = Context {
            agenda: &mut self.agenda,
            network: &mut self.network,
            dice: &mut self.dice,
            kernel: &mut host.kernel,
            truth: &mut self.truth,
            traffic: &mut host.traffic,
            clocks: host.clocks,
            returned: Vec::new(),
        };
        host.agent = Some(Agent::start(on, estate, &mut context));
        host.wake_at = u64::MAX;
        self.with(on, |_, _| {});
        let soon = self.dice.between(1, nanos(Duration::from_millis(200)));
        let now = self.now();
        self.agenda.at(now + soon, Event::View(on));
        self.agenda.at(now + soon, Event::Endpoints(on));
        self.request_svids(on);
    }

    /// The agent's process ends.
    pub(crate) fn stop(&mut self, on: NodeNumber) {
        let Some(host) = self.hosts.get_mut(&on) else {
            return;
        };
        let Some(agent) = host.agent.take() else { return };
        let mut context = Context {
            agenda: &mut self.agenda,
            network: &mut self.network,
            dice: &mut self.dice,
            kernel: &mut host.kernel,
            truth: &mut self.truth,
            traffic: &mut host.traffic,
            clocks: host.clocks,
            returned: Vec::new(),
        };
        host.estate = Some(agent.stop(&mut context));
        host.wake_at = u64::MAX;
    }

    /// A workload sends a packet to another one.
    pub fn send(&mut self, source: IpAddr, destination: IpAddr) {
        let owner = |address| self.truth.owner(address).map(|(on, _)| *on);
        let (Some(from), Some(to)) = (owner(source), owner(destination)) else {
            return;
        };
        let is_dark = |on: &NodeNumber| self.hosts.get(on).is_none_or(|host| host.dark > 0);
        if is_dark(&from) || is_dark(&to) || from != to && self.network.is_cut(from, to) {
            return;
        }
        let at = self.now() + self.network.delay(&mut self.dice);
        let packet = Packet {
            source,
            destination,
            from,
            interface: self.truth.interface(source),
        };
        self.agenda.at(at, Event::Packet(packet, to));
    }

    fn talk(&mut self) {
        let Some(pause) = self.setup.talk else { return };
        self.agenda.after(pause, Event::Talk);
        let addresses: Vec<IpAddr> = self.truth.addresses().map(|(address, _)| address).collect();
        let hot: Vec<IpAddr> = self.hot.iter().copied().collect();
        let sources = if self.dice.chance(30) { &hot } else { &addresses };
        let source = self.dice.pick(sources).copied();
        let destination = self.dice.pick(&addresses).copied();
        if let (Some(source), Some(destination)) = (source, destination)
            && source != destination
        {
            self.send(source, destination);
        }
    }

    /// What a packet meets at its destination's node. `waited`: it was parked there before.
    fn judge(&mut self, on: NodeNumber, packet: Packet, waited: bool) {
        let at = self.now();
        let Packet {
            source, destination, ..
        } = packet;
        let Some(host) = self.hosts.get_mut(&on).filter(|host| host.dark == 0) else {
            return;
        };
        let (own, boot) = (NodeId(on.get()), host.clocks.boot(at));
        let (key, verdict) = host.kernel.judge(&packet, own, boot);
        match verdict {
            Verdict::Passes => {
                if waited {
                    self.counts.released += 1;
                } else {
                    self.counts.passed += 1;
                }
                self.passed.insert((source, destination), at);
                if !host.banned && !host.lies {
                    self.truth.passed(&Passed {
                        at,
                        node: on,
                        unix: host.clocks.now(at).unix,
                        view: host.agent.as_ref().map(|agent| &*agent.estate.view),
                        key,
                        source,
                    });
                }
            }
            Verdict::LacksProof => {
                self.counts.unproven += 1;
                let signal = host.kernel.signals(key, boot).then_some(Signal::Proof);
                let parked = (!waited).then(|| (key.remote, write(&packet)));
                self.with(on, |agent, context| agent.on_packet(key, parked, signal, context));
            }
            Verdict::LacksLease => {
                self.counts.unleased += 1;
                let signal = host.kernel.signals(key, boot).then_some(Signal::Lease);
                self.with(on, |agent, context| agent.on_packet(key, None, signal, context));
            }
            Verdict::Unknown => {}
        }
    }

    /// Whether what a node believes is what it may.
    fn look_at(&mut self, on: NodeNumber) {
        let at = self.agenda.now();
        let is_looked_at = |host: &&Host| self.setup.checks && !host.banned && !host.lies;
        let Some(host) = self.hosts.get(&on).filter(is_looked_at) else {
            return;
        };
        let Some(agent) = &host.agent else { return };
        let (boot, unix) = (host.clocks.boot(at), host.clocks.now(at).unix);
        let mut wrong = Vec::new();
        let is_wrong = |key: &AuthKey| {
            self.truth
                .is_proven(on, key, unix, Some(&agent.estate.view))
                .err()
        };
        for (key, value) in &host.kernel.auth {
            if value.is_live(boot)
                && let Some(reason) = is_wrong(key)
            {
                wrong.push(format!("node {on} has a proof of {key:?}: {reason}"));
            }
        }
        // Who has met a node in another life of its kernel has nothing left of the last one.
        for key in host.kernel.auth.keys() {
            let Some((peer, other)) =
                NodeNumber::new(key.node.0).and_then(|node| Some((node, self.hosts.get(&node)?)))
            else {
                continue;
            };
            let booted = other.clocks.booted;
            let is_met = agent.met.get(&peer) == Some(&boot_of(peer, booted));
            let at = self.truth.proven_at(on, key);
            if is_met && at.is_some_and(|at| at < booted && at >= agent.since) {
                wrong.push(format!(
                    "node {on} has a proof of {key:?} of another life of that node's kernel"
                ));
            }
        }
        for node in host.kernel.ends.keys() {
            if !agent
                .estate
                .view
                .nodes
                .iter()
                .any(|member| member.get() == node.0.0)
            {
                wrong.push(format!("node {on} believes node {}, which is none", node.0.0));
            }
        }
        wrong.extend(
            agent
                .is_bounded()
                .err()
                .map(|reason| format!("node {on}: {reason}")),
        );
        for what in wrong {
            self.truth.violated(what);
        }
    }

    /// A node's own SVID, from now on.
    pub(crate) fn node_svid(&self, on: NodeNumber) -> NodeSvid {
        NodeSvid {
            node: on,
            not_after: self.clocks.now(self.now()).unix.as_secs() + 2 * self.setup.life.as_secs(),
        }
    }
}

/// A packet as the parking lot has it.
fn write(packet: &Packet) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(20);
    for address in [packet.source, packet.destination] {
        if let IpAddr::V4(address) = address {
            bytes.extend(address.octets());
        }
    }
    bytes.extend(packet.from.get().to_be_bytes());
    bytes.extend(packet.interface.to_be_bytes());
    bytes
}

fn read(bytes: &[u8]) -> Option<Packet> {
    let (source, rest) = bytes.split_first_chunk::<4>()?;
    let (destination, rest) = rest.split_first_chunk::<4>()?;
    let (from, rest) = rest.split_first_chunk::<4>()?;
    Some(Packet {
        source: Ipv4Addr::from(*source).into(),
        destination: Ipv4Addr::from(*destination).into(),
        from: NodeNumber::new(u32::from_be_bytes(*from))?,
        interface: u64::from_be_bytes(*rest.first_chunk::<8>()?),
    })
}
