//! The maps as they are now, read-only.

use std::net::IpAddr;
use std::path::Path;

use signet_abi::{
    AuthKey, AuthValue, Direction, IpcacheValue, Lease, LeaseEndKey, LeaseKey, Metric, NodeId, NodeState,
    SecurityIdentity, maps,
};
use signet_maps::{
    AuthMap, CounterName, CtMaps, EndpointsMap, IpcacheMap, IpcachePrefix, LeaseEndsMap, LeasesMap, MapError,
    MapFill as Fill, MetricsMap, NodesMap, PolicyMap, boottime_now,
};
use signet_proto::mesh::v1::{Counter, MapFill};

use crate::attach::chain;
use crate::explain::Maps;

/// Open maps.
#[derive(Debug)]
pub(crate) struct Lookups {
    ipcache: IpcacheMap,
    endpoints: EndpointsMap,
    policy: PolicyMap,
    auth: AuthMap,
    leases: LeasesMap,
    lease_ends: LeaseEndsMap,
    nodes: NodesMap,
    connections: CtMaps,
    metrics: MetricsMap,
}

impl Lookups {
    pub(crate) fn open(pins: &Path) -> Result<Self, MapError> {
        Ok(Self {
            ipcache: IpcacheMap::open(pins)?,
            endpoints: EndpointsMap::open(pins)?,
            policy: PolicyMap::open(pins)?,
            auth: AuthMap::open(pins)?,
            leases: LeasesMap::open(pins)?,
            lease_ends: LeaseEndsMap::open(pins)?,
            nodes: NodesMap::open(pins)?,
            connections: CtMaps::open(pins)?,
            metrics: MetricsMap::open(pins)?,
        })
    }

    /// Fill of every map, counters that are not zero, and what could not be read.
    pub(crate) fn status(&self) -> (Vec<MapFill>, Vec<Counter>, Vec<String>) {
        let fills = [
            (maps::IPCACHE, self.ipcache.fill()),
            (maps::ENDPOINTS, self.endpoints.fill()),
            (maps::POLICY, self.policy.fill()),
            (maps::AUTH, self.auth.fill()),
            (maps::LEASES, self.leases.fill()),
            (maps::NODES, self.nodes.fill()),
            (maps::CT4, self.connections.v4.fill()),
            (maps::CT6, self.connections.v6.fill()),
        ];
        let mut errors = Vec::new();
        let mut read = Vec::new();
        for (name, fill) in fills {
            match fill {
                Ok(Fill { entries, capacity }) => {
                    read.push(MapFill {
                        name: name.to_owned(),
                        entries: entries.into(),
                        capacity: capacity.into(),
                    });
                }
                Err(error) => errors.push(chain(&error)),
            }
        }
        let counters = self.metrics.entries().unwrap_or_else(|error| {
            errors.push(chain(&error));
            Vec::new()
        });
        (read, counters.iter().map(counter).collect(), errors)
    }
}

fn counter(counter: &signet_maps::Counter) -> Counter {
    let (reason, text) = match counter.name {
        CounterName::Reason(reason) => (reason as u8, reason.name()),
        CounterName::Metric(metric) => (metric as u8, metric_name(metric)),
    };
    let direction = match counter.direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    };
    Counter {
        reason: reason.into(),
        text: text.to_owned(),
        direction: direction.to_owned(),
        packets: counter.packets,
        bytes: counter.bytes,
    }
}

const fn metric_name(metric: Metric) -> &'static str {
    match metric {
        Metric::SignalSent => "signals sent",
        Metric::SignalSuppressed => "signals suppressed",
        Metric::SignalLost => "signals lost",
        Metric::FlowLost => "flow events lost",
    }
}

impl Maps for Lookups {
    fn place(&self, address: IpAddr) -> Option<IpcacheValue> {
        logged(self.ipcache.get(&IpcachePrefix::host(address)))
    }

    fn proof(&self, pair: &AuthKey) -> Option<AuthValue> {
        logged(self.auth.get(pair))
    }

    fn lease(&self, address: IpAddr) -> Option<Lease> {
        logged(self.leases.get(&LeaseKey(address.into())))
    }

    fn lease_end(&self, node: NodeId) -> u64 {
        logged(self.lease_ends.get(&LeaseEndKey(node))).map_or(0, |end| end.not_after)
    }

    fn endpoint(&self, address: IpAddr) -> Option<SecurityIdentity> {
        logged(self.endpoints.get(&address.into())).map(|endpoint| endpoint.identity)
    }

    fn node(&self, id: NodeId) -> Option<NodeState> {
        logged(self.nodes.get(&id))
    }

    fn now(&self) -> u64 {
        boottime_now()
    }
}

fn logged<T>(read: Result<Option<T>, MapError>) -> Option<T> {
    read.unwrap_or_else(|error| {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "failed to read a kernel map"
        );
        None
    })
}
