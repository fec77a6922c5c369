//! A cluster on one simulated clock: runs what is due, and looks after each step whether all is as it must be.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use signet_session::NodeNumber;

use crate::agenda::{Agenda, Event, nanos};
use crate::agent::{Agent, Estate, Tuning};
use crate::authority::Authority;
use crate::context::Clocks;
use crate::dice::Dice;
use crate::fault::Planned;
use crate::host::Host;
use crate::names::{identity, node, workload};
use crate::network::{Latency, Network, NodeSvid, Side};
use crate::rules::Rules;
use crate::truth::Truth;
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
    /// How agents are set up.
    pub tuning: Tuning,
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
    pub(crate) rules: Arc<Rules>,
    /// Packets so far.
    pub(crate) packets: u64,
    pub(crate) clocks: Clocks,
}

/// What became of packets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Passed at once.
    pub passed: u64,
    /// Passed after they had waited for a proof.
    pub released: u64,
    /// Passed where no proof was asked for.
    pub open: u64,
    /// Had to wait, or were dropped for the want of a proof.
    pub unproven: u64,
    /// Were given to the agent, to wait.
    pub parked: u64,
    /// Were refused, and their senders told.
    pub told: u64,
    /// Dropped because their rule says so.
    pub denied: u64,
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
            skew: 0,
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
            rules: Arc::default(),
            packets: 0,
            clocks,
        };
        world.publish(|_| {});
        for on in 1..=setup.nodes {
            let estate = Estate {
                view: world.view.clone(),
                svid: world.node_svid(node(on)),
                svids: BTreeMap::new(),
                settled: 0,
                used: Vec::new(),
            };
            let secret = world.dice.roll() | 1;
            world
                .hosts
                .insert(node(on), Host::new(node(on), estate, clocks, secret));
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
            Event::Packet(packet, on) => {
                self.judge(on, packet, false);
            }
            Event::Signal(on, key, signal) => {
                self.with(on, |agent, context| agent.on_signal(key, signal, context));
            }
            Event::Parked(on, packet, key, tell) => self.park(on, packet, key, tell),
            Event::Rules(on) => self.tell_rules(on),
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

    /// A node's own SVID, from now on.
    pub(crate) fn node_svid(&self, on: NodeNumber) -> NodeSvid {
        NodeSvid {
            node: on,
            not_after: self.clocks.now(self.now()).unix.as_secs() + 2 * self.setup.life.as_secs(),
        }
    }
}
