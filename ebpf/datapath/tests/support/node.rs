//! One node: its datapath and its maps, and the state that each test begins in.

mod facts;
mod judging;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use signet_abi::Direction;
use signet_datapath::{Capacities, Datapath};
use signet_maps::{
    AuthMap, ConfigMap, CtMaps, EndpointsMap, FlowRing, FragmentsMap, IpcacheMap, LeaseEndsMap, LeasesMap,
    MetricsMap, NodesMap, PolicyMap, SignalRing,
};

use super::scene::{Family, LOCAL, MINUTE, OWN_NODE, PEER_NODE, REMOTE, Transport};

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
