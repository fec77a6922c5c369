//! One node: its datapath, its maps, and what a packet meets there.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use signet_abi::{
    ABI_VERSION, Address, AuthKey, AuthValue, Authentication, CtValue, Direction, Endpoint, Flow,
    IpcacheValue, Lease, LeaseEnd, LeaseEndKey, LeaseKey, MARK_LOCAL, MeshConfig, Metric, NodeId, NodeState,
    PolicyId, PolicyKey, PolicyValue, Reason, SecurityIdentity, Signal, Verdict, endpoint_flags,
};
use signet_datapath::{Capacities, Datapath, Hook, RunInput};
use signet_maps::{
    AuthMap, ConfigMap, Connection, CounterName, CtMaps, EndpointsMap, FlowRing, FragmentsMap, IpcacheMap,
    IpcachePrefix, LeaseEndsMap, LeasesMap, MetricsMap, NodesMap, PolicyMap, PolicyPrefix, SignalRing,
    boottime_now,
};

use super::packet;

/// `TC_ACT_UNSPEC`: go on.
pub(crate) const PASS: i32 = -1;
/// `TC_ACT_SHOT`: drop.
pub(crate) const DROP: i32 = 2;
/// `TC_ACT_REDIRECT`
pub(crate) const REDIRECT: i32 = 7;

/// The loopback device: the one interface that every namespace has, here standing for the workload's.
pub(crate) const INTERFACE: u32 = 1;
/// An interface that is not the workload's.
pub(crate) const OTHER_INTERFACE: u32 = 9_999;

pub(crate) const OWN_NODE: NodeId = NodeId(1);
pub(crate) const PEER_NODE: NodeId = NodeId(2);
pub(crate) const LOCAL: SecurityIdentity = SecurityIdentity(300);
pub(crate) const REMOTE: SecurityIdentity = SecurityIdentity(400);
pub(crate) const POLICY: PolicyId = PolicyId(7);
pub(crate) const BOTH_ENFORCED: u32 = endpoint_flags::INGRESS_ENFORCED | endpoint_flags::EGRESS_ENFORCED;

/// A minute, ns.
pub(crate) const MINUTE: u64 = 60_000_000_000;

/// Address family of a test's packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    fn pick(self, v4: &str, v6: &str) -> IpAddr {
        match self {
            Self::V4 => v4.parse().unwrap(),
            Self::V6 => v6.parse().unwrap(),
        }
    }

    /// The local endpoint.
    pub(crate) fn local(self) -> IpAddr {
        self.pick("10.244.1.10", "fd00:244:1::10")
    }

    /// A workload on another node.
    pub(crate) fn remote(self) -> IpAddr {
        self.pick("10.244.2.10", "fd00:244:2::10")
    }

    /// An address that nobody knows.
    pub(crate) fn stranger(self) -> IpAddr {
        self.pick("198.51.100.7", "2001:db8::7")
    }
}

/// The hook of a direction.
pub(crate) fn hook(direction: Direction) -> Hook {
    match direction {
        Direction::Ingress => Hook::ToContainer,
        Direction::Egress => Hook::FromContainer,
    }
}

/// What a packet has on it of its way so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub mark: u32,
    pub received_by: u32,
}

impl Origin {
    /// The host itself, or an interface that nobody watches.
    pub(crate) const NOWHERE: Self = Self {
        mark: 0,
        received_by: 0,
    };

    /// Out of a workload's interface.
    pub(crate) const fn interface(index: u32) -> Self {
        Self {
            mark: MARK_LOCAL,
            received_by: index,
        }
    }

    /// Where packets come from that a hook sees.
    pub(crate) const fn usual(hook: Hook) -> Self {
        match hook {
            Hook::ToNetdev => Self::interface(INTERFACE),
            Hook::FromContainer
            | Hook::ToContainer
            | Hook::FromNetdev
            | Hook::FromTunnel
            | Hook::FromParking => Self::NOWHERE,
        }
    }
}

/// The ends of a packet going `direction`, seen from the local endpoint.
pub(crate) fn ends(family: Family, direction: Direction) -> (IpAddr, IpAddr) {
    match direction {
        Direction::Ingress => (family.remote(), family.local()),
        Direction::Egress => (family.local(), family.remote()),
    }
}

/// A connection's packets for tests that go through all transports.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Transport {
    Tcp,
    Udp,
    Sctp,
    Echo,
    Gre,
}

impl Transport {
    pub(crate) const ALL: [Self; 5] = [Self::Tcp, Self::Udp, Self::Sctp, Self::Echo, Self::Gre];

    pub(crate) const CLIENT_PORT: u16 = 40_000;
    pub(crate) const SERVER_PORT: u16 = 8_080;

    pub(crate) fn protocol(self, family: Family) -> u8 {
        match self {
            Self::Tcp => packet::TCP,
            Self::Udp => packet::UDP,
            Self::Sctp => packet::SCTP,
            Self::Gre => packet::GRE,
            Self::Echo if family == Family::V4 => packet::ICMP,
            Self::Echo => packet::ICMPV6,
        }
    }

    /// A rule of the remote workload for this kind of connection alone.
    pub(crate) fn rule(self, family: Family, direction: Direction) -> PolicyPrefix {
        exact(REMOTE, direction, self.protocol(family), self.rule_port())
    }

    /// The port that rules are looked up with.
    pub(crate) fn rule_port(self) -> u16 {
        match self {
            Self::Tcp | Self::Udp | Self::Sctp => Self::SERVER_PORT,
            Self::Echo | Self::Gre => 0,
        }
    }

    /// The first packet of a connection opened in `direction`.
    pub(crate) fn opening(self, family: Family, direction: Direction) -> Vec<u8> {
        let (source, destination) = ends(family, direction);
        self.between(source, destination, true)
    }

    /// The answer to it: it goes the other way.
    pub(crate) fn answer(self, family: Family, direction: Direction) -> Vec<u8> {
        let (source, destination) = ends(family, direction);
        self.between(destination, source, false)
    }

    pub(crate) fn between(self, source: IpAddr, destination: IpAddr, forward: bool) -> Vec<u8> {
        let (from, to) = if forward {
            (Self::CLIENT_PORT, Self::SERVER_PORT)
        } else {
            (Self::SERVER_PORT, Self::CLIENT_PORT)
        };
        let flags = if forward {
            packet::SYN
        } else {
            packet::SYN | packet::ACK
        };
        match self {
            Self::Tcp => packet::ip(source, destination, packet::TCP, &packet::tcp(from, to, flags)),
            Self::Udp => packet::ip(source, destination, packet::UDP, &packet::udp(from, to)),
            Self::Sctp => packet::ip(source, destination, packet::SCTP, &packet::udp(from, to)),
            Self::Echo => packet::echo(source, destination, 77, forward),
            Self::Gre => packet::ip(source, destination, packet::GRE, &[0; 8]),
        }
    }
}

/// A node under test.
pub(crate) struct Node {
    pub directory: PathBuf,
    pub datapath: Datapath,
    pub ipcache: IpcacheMap,
    pub endpoints: EndpointsMap,
    pub policy: PolicyMap,
    pub auth: AuthMap,
    pub leases: LeasesMap,
    pub lease_ends: LeaseEndsMap,
    pub nodes: NodesMap,
    pub config: ConfigMap,
    pub connections: CtMaps,
    pub fragments: FragmentsMap,
    pub metrics: MetricsMap,
    signals: SignalRing,
    flows: FlowRing,
    // Last, so that the rings are closed before their runtime.
    _runtime: tokio::runtime::Runtime,
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Err(error) = Datapath::remove(&self.directory) {
            eprintln!("{} was left behind: {error}", self.directory.display());
        }
    }
}

/// Small maps: tests run side by side.
pub(crate) fn capacities() -> Capacities {
    Capacities {
        ipcache: 256,
        endpoints: 64,
        policy: 256,
        auth: 64,
        leases: 64,
        connections: 1_024,
        nodes: 64,
        signals_bytes: 65_536,
        flows_bytes: 65_536,
    }
}

/// A pin directory that no other test has.
pub(crate) fn directory() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    PathBuf::from(format!("/sys/fs/bpf/signet-test-{}-{number}", std::process::id()))
}

impl Node {
    /// A node in its first state, see [`Node::reset`].
    pub(crate) fn new() -> Self {
        Self::with(&capacities())
    }

    pub(crate) fn with(capacities: &Capacities) -> Self {
        let directory = directory();
        let datapath = Datapath::load(&directory, capacities).unwrap_or_else(|error| {
            let _ = Datapath::remove(&directory);
            panic!("{error:?}")
        });
        Self::over(directory, datapath)
    }

    fn over(directory: PathBuf, datapath: Datapath) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .unwrap();
        let guard = runtime.enter();
        let signals = SignalRing::open(&directory).unwrap();
        let flows = FlowRing::open(&directory).unwrap();
        drop(guard);
        let mut node = Self {
            datapath,
            ipcache: IpcacheMap::open(&directory).unwrap(),
            endpoints: EndpointsMap::open(&directory).unwrap(),
            policy: PolicyMap::open(&directory).unwrap(),
            auth: AuthMap::open(&directory).unwrap(),
            leases: LeasesMap::open(&directory).unwrap(),
            lease_ends: LeaseEndsMap::open(&directory).unwrap(),
            nodes: NodesMap::open(&directory).unwrap(),
            config: ConfigMap::open(&directory).unwrap(),
            connections: CtMaps::open(&directory).unwrap(),
            fragments: FragmentsMap::open(&directory).unwrap(),
            metrics: MetricsMap::open(&directory).unwrap(),
            signals,
            flows,
            directory,
            _runtime: runtime,
        };
        node.reset();
        node
    }

    /// Puts the maps back into their first state: settings, one local endpoint that no policy selects, and a peer's
    /// workload, in both families, of which its node says that it is there; no rule, no proof, no connection.
    pub(crate) fn reset(&mut self) {
        for (prefix, _) in self.policy.entries().unwrap() {
            assert!(self.policy.remove(&prefix).unwrap());
        }
        for (pair, _) in self.auth.entries().unwrap() {
            assert!(self.auth.remove(&pair).unwrap());
        }
        for (address, _) in self.leases.entries().unwrap() {
            assert!(self.leases.remove(&address).unwrap());
        }
        for (node, _) in self.lease_ends.entries().unwrap() {
            assert!(self.lease_ends.remove(&node).unwrap());
        }
        for (prefix, _) in self.ipcache.entries().unwrap() {
            assert!(self.ipcache.remove(&prefix).unwrap());
        }
        for (address, _) in self.endpoints.entries().unwrap() {
            assert!(self.endpoints.remove(&address).unwrap());
        }
        for (node, _) in self.nodes.entries().unwrap() {
            assert!(self.nodes.remove(&node).unwrap());
        }
        self.forget();
        self.configure(|_| {});
        for family in Family::BOTH {
            self.endpoint(family.local(), |_| {});
            self.know(family.local(), LOCAL, OWN_NODE);
            self.know(family.remote(), REMOTE, PEER_NODE);
            self.lease(family.remote(), REMOTE, PEER_NODE);
        }
        self.grant(PEER_NODE, MINUTE.cast_signed());
    }

    /// Takes away what is remembered of every connection and datagram.
    pub(crate) fn forget(&mut self) {
        for (key, _) in self.fragments.entries().unwrap() {
            let _ = self.fragments.remove(&key).unwrap();
        }
        for (key, _) in self.connections.v4.entries().unwrap() {
            let _ = self.connections.v4.remove(&key).unwrap();
        }
        for (key, _) in self.connections.v6.entries().unwrap() {
            let _ = self.connections.v6.remove(&key).unwrap();
        }
    }

    /// Loads the programs once more over the same pins, as a restarted daemon does.
    pub(crate) fn reload(&mut self) {
        self.datapath = Datapath::load(&self.directory, &capacities()).unwrap();
    }

    /// Writes the settings: this version's, node 1, epoch 1, and what `change` makes of them.
    pub(crate) fn configure(&mut self, change: impl FnOnce(&mut MeshConfig)) {
        let mut config = MeshConfig {
            abi_version: ABI_VERSION,
            node: OWN_NODE,
            policy_epoch: 1,
            ..MeshConfig::default()
        };
        change(&mut config);
        self.config.set(&config).unwrap();
    }

    /// Says that endpoints, addresses or rules have changed.
    pub(crate) fn next_epoch(&mut self) {
        let mut config = self.config.get().unwrap();
        config.policy_epoch += 1;
        self.config.set(&config).unwrap();
    }

    /// Writes a local endpoint: the workload's interface and identity, no policy, and what `change` makes of it.
    pub(crate) fn endpoint(&mut self, address: IpAddr, change: impl FnOnce(&mut Endpoint)) {
        let mut endpoint = Endpoint {
            ifindex: INTERFACE,
            identity: LOCAL,
            policy: POLICY,
            ..Endpoint::default()
        };
        change(&mut endpoint);
        self.endpoints.insert(&Address::from(address), &endpoint).unwrap();
    }

    /// Makes both directions of the local endpoint subject to rules.
    pub(crate) fn enforce(&mut self, flags: u32) {
        for family in Family::BOTH {
            self.endpoint(family.local(), |endpoint| endpoint.flags = flags);
        }
    }

    /// Says who an address is.
    pub(crate) fn know(&mut self, address: IpAddr, identity: SecurityIdentity, node: NodeId) {
        let value = IpcacheValue { identity, node };
        self.ipcache
            .insert(&IpcachePrefix::host(address), &value)
            .unwrap();
    }

    /// Writes that `node` says of an address that it is a workload with this identity.
    pub(crate) fn lease(&mut self, address: IpAddr, identity: SecurityIdentity, node: NodeId) {
        let lease = Lease { identity, node };
        self.leases
            .insert(&LeaseKey(Address::from(address)), &lease)
            .unwrap();
    }

    /// Lets the word of `node` count for `ns` from now (negative: no more since then).
    pub(crate) fn grant(&mut self, node: NodeId, ns: i64) {
        let not_after = boottime_now().checked_add_signed(ns).unwrap();
        self.lease_ends
            .insert(&LeaseEndKey(node), &LeaseEnd { not_after })
            .unwrap();
    }

    /// A rule for the remote workload, all traffic.
    pub(crate) fn rule(&mut self, direction: Direction, verdict: Verdict, authentication: Authentication) {
        let prefix = PolicyPrefix::everything(POLICY, REMOTE, direction);
        self.rule_at(&prefix, verdict as u8, authentication as u8);
    }

    /// A rule with number 5 at any prefix, known values or not.
    pub(crate) fn rule_at(&mut self, prefix: &PolicyPrefix, verdict: u8, authentication: u8) {
        let value = PolicyValue {
            verdict,
            authentication,
            rule: 5,
            ..PolicyValue::default()
        };
        self.policy.insert(prefix, &value).unwrap();
    }

    /// Takes away the rule that [`Node::rule`] wrote.
    pub(crate) fn no_rule(&mut self, direction: Direction) {
        assert!(
            self.policy
                .remove(&PolicyPrefix::everything(POLICY, REMOTE, direction))
                .unwrap()
        );
    }

    /// Writes the proof of the pair with the peer's node, good for `ns` from now (negative: void since then).
    pub(crate) fn prove(&mut self, ns: i64) {
        self.prove_pair(
            AuthKey {
                local: LOCAL,
                remote: REMOTE,
                node: PEER_NODE,
            },
            ns,
        );
    }

    pub(crate) fn prove_pair(&mut self, pair: AuthKey, ns: i64) {
        let not_after = boottime_now().checked_add_signed(ns).unwrap();
        self.auth
            .insert(
                &pair,
                &AuthValue {
                    not_after,
                    epoch: 1,
                    made: 0,
                },
            )
            .unwrap();
    }

    pub(crate) fn tunnel(&mut self, tunnel_ifindex: u32, flags: u32) {
        self.nodes
            .insert(
                &PEER_NODE,
                &NodeState {
                    tunnel_ifindex,
                    flags,
                    ..NodeState::default()
                },
            )
            .unwrap();
    }

    /// Judges a packet of the workload going `direction`: what became of it, and why. The counter and the action must
    /// agree.
    pub(crate) fn judge(&mut self, direction: Direction, packet: &[u8]) -> Reason {
        self.judge_from(Origin::NOWHERE, direction, packet)
    }

    /// The same for a packet of which more is known.
    pub(crate) fn judge_from(&mut self, origin: Origin, direction: Direction, packet: &[u8]) -> Reason {
        self.run_from(origin, hook(direction), direction, packet)
            .expect("the packet was counted")
    }

    /// Runs any hook, the uplink's on what has left the workload's interface; none if the packet was not counted.
    pub(crate) fn run(&mut self, hook: Hook, direction: Direction, packet: &[u8]) -> Option<Reason> {
        self.run_from(Origin::usual(hook), hook, direction, packet)
    }

    /// The same for a packet from elsewhere.
    pub(crate) fn run_from(
        &mut self,
        origin: Origin,
        hook: Hook,
        direction: Direction,
        packet: &[u8],
    ) -> Option<Reason> {
        let before = self.reasons(direction);
        let action = self.act_from(origin, hook, packet).0;
        let after = self.reasons(direction);
        let mut counted = after
            .iter()
            .zip(&before)
            .filter(|(after, before)| after.1 != before.1)
            .map(|(after, before)| {
                assert_eq!(after.1 - before.1, 1, "{:?} was counted more than once", after.0);
                after.0
            });
        let reason = counted.next();
        assert_eq!(counted.next(), None, "one packet, two reasons");
        let expected = match reason {
            Some(Reason::Parked | Reason::Encrypted) => REDIRECT,
            Some(reason) if !reason.passed() => DROP,
            Some(_) | None => PASS,
        };
        assert_eq!(action, expected, "{reason:?}");
        reason
    }

    fn reasons(&self, direction: Direction) -> Vec<(Reason, u64)> {
        Reason::ALL
            .into_iter()
            .map(|reason| {
                (
                    reason,
                    self.metrics
                        .get(CounterName::Reason(reason), direction)
                        .unwrap()
                        .packets,
                )
            })
            .collect()
    }

    pub(crate) fn counter(&self, metric: Metric, direction: Direction) -> u64 {
        self.metrics
            .get(CounterName::Metric(metric), direction)
            .unwrap()
            .packets
    }

    /// Action and mark.
    pub(crate) fn act(&mut self, hook: Hook, packet: &[u8], mark: u32) -> (i32, u32) {
        let origin = Origin {
            mark,
            ..Origin::NOWHERE
        };
        self.act_from(origin, hook, packet)
    }

    /// The packet as the hook leaves it.
    pub(crate) fn output(&mut self, hook: Hook, packet: &[u8]) -> Vec<u8> {
        let input = RunInput {
            packet,
            mark: 0,
            received_by: 0,
            ifindex: INTERFACE,
            repeat: 1,
        };
        self.datapath.transform(hook, input).unwrap().1
    }

    fn act_from(&mut self, origin: Origin, hook: Hook, packet: &[u8]) -> (i32, u32) {
        let run = self
            .datapath
            .run(
                hook,
                RunInput {
                    packet,
                    mark: origin.mark,
                    received_by: origin.received_by,
                    ifindex: INTERFACE,
                    repeat: 1,
                },
            )
            .unwrap();
        (run.action, run.mark)
    }

    pub(crate) fn signals(&mut self) -> Vec<Signal> {
        drain(|| self.signals.take_ready())
    }

    pub(crate) fn flows(&mut self) -> Vec<Flow> {
        drain(|| self.flows.take_ready())
    }

    /// The one connection that is tracked.
    pub(crate) fn connection(&self) -> Connection {
        let connections = self.connections.entries().unwrap();
        assert_eq!(connections.len(), 1, "{connections:?}");
        connections[0]
    }

    /// Changes what is remembered of every connection.
    pub(crate) fn rewrite_connections(&mut self, change: impl Fn(&mut CtValue)) {
        for (key, mut value) in self.connections.v4.entries().unwrap() {
            change(&mut value);
            self.connections.v4.insert(&key, &value).unwrap();
        }
        for (key, mut value) in self.connections.v6.entries().unwrap() {
            change(&mut value);
            self.connections.v6.insert(&key, &value).unwrap();
        }
    }
}

fn drain<R>(mut take: impl FnMut() -> Vec<R>) -> Vec<R> {
    let mut all = Vec::new();
    loop {
        let batch = take();
        if batch.is_empty() {
            return all;
        }
        all.extend(batch);
    }
}

/// The key of a rule for exactly one port of the remote workload.
pub(crate) fn exact(
    identity: SecurityIdentity,
    direction: Direction,
    protocol: u8,
    port: u16,
) -> PolicyPrefix {
    PolicyPrefix::exactly(PolicyKey {
        policy: POLICY,
        identity,
        direction: direction as u8,
        protocol,
        port: port.to_be_bytes(),
    })
}

/// Every combination that the two workload hooks have to treat alike, each on a node that knows nothing of the others.
pub(crate) fn everywhere(mut test: impl FnMut(&mut Node, Family, Direction)) {
    let mut node = Node::new();
    for family in Family::BOTH {
        for direction in [Direction::Ingress, Direction::Egress] {
            node.reset();
            test(&mut node, family, direction);
        }
    }
}

/// The same for every kind of connection.
pub(crate) fn every_transport(mut test: impl FnMut(&mut Node, Family, Direction, Transport)) {
    everywhere(|node, family, direction| {
        for transport in Transport::ALL {
            node.reset();
            test(node, family, direction, transport);
        }
    });
}
