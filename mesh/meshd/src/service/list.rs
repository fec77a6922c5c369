//! What is known, as messages. Pure.

use signet_endpoints::{EndpointReport, PairGroup, Pairs, Worth};
use signet_policy::{Authentication, Direction, PolicyName};
use signet_proto::mesh::v1 as wire;
use signet_proto::mesh::v1::{
    EndpointEntry, Endpoints, ListEndpointsResponse, ListPoliciesResponse, LocalEndpoint, PolicyEntry,
    StatusResponse,
};

use crate::known::Known;

/// The endpoints of this node that are set up; `None` while that is not known for sure.
pub(crate) fn local_endpoints(known: &Known) -> Option<Endpoints> {
    known.complete.then(|| {
        let ready = known
            .desired
            .reports
            .iter()
            .filter(|report| report.local && report.ifindex.is_some() && !report.addresses.is_empty());
        Endpoints {
            endpoints: ready.map(|report| endpoint(report, known)).collect(),
            contested: contested(known),
            ..Endpoints::default()
        }
    })
}

fn contested(known: &Known) -> Vec<wire::ContestedIdentity> {
    let local = known.desired.reports.iter().filter(|report| report.local);
    let nowhere = local.filter(|report| report.addresses.is_empty());
    let entry = |report: &EndpointReport| {
        let addresses = known.workload(&report.workload)?.addresses();
        let why = addresses
            .iter()
            .find_map(|address| known.desired.contest(address.abi()))?;
        Some(wire::ContestedIdentity {
            spiffe_id: report.spiffe_id.as_ref()?.to_string(),
            why: why.to_string(),
        })
    };
    nowhere.filter_map(entry).collect()
}

fn endpoint(report: &EndpointReport, known: &Known) -> LocalEndpoint {
    let workload = known.workload(&report.workload);
    LocalEndpoint {
        namespace: report.workload.namespace.to_string(),
        name: report.workload.name.to_string(),
        service_account: workload
            .map(|workload| workload.service_account.to_string())
            .unwrap_or_default(),
        spiffe_id: report
            .spiffe_id
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        identity: report.identity.0,
        addresses: report.addresses.iter().map(ToString::to_string).collect(),
        interface: workload
            .map(|workload| workload.interface.to_string())
            .unwrap_or_default(),
        ifindex: report.ifindex.map_or(0, signet_endpoints::Ifindex::get),
        netns_inode: known.netns.get(&report.workload).copied().unwrap_or(0),
    }
}

/// The pairs that are worth a proof.
pub(crate) fn pairs(known: &Known, worth: Worth) -> wire::Pairs {
    let pairs = Pairs::of(&known.desired, worth);
    let group = |group: &PairGroup| wire::PairGroup {
        locals: group.locals.iter().map(|identity| identity.0).collect(),
        remotes: group.remotes.iter().map(|place| place.identity.0).collect(),
        nodes: group.remotes.iter().map(|place| place.node.0).collect(),
    };
    wire::Pairs {
        groups: pairs.groups.iter().map(group).collect(),
        cut: pairs.cut,
    }
}

/// The endpoints of the cluster.
pub(crate) fn endpoints(known: &Known) -> ListEndpointsResponse {
    let entry = |report: &EndpointReport| EndpointEntry {
        endpoint: Some(endpoint(report, known)),
        node: known
            .workload(&report.workload)
            .map(|workload| workload.node.to_string())
            .unwrap_or_default(),
        local: report.local,
        ingress_enforced: report.ingress_enforced,
        egress_enforced: report.egress_enforced,
        state: report.state.to_string(),
    };
    ListEndpointsResponse {
        endpoints: known.desired.reports.iter().map(entry).collect(),
    }
}

/// The policies in force, and what is wrong with the source now.
pub(crate) fn policies(known: &Known) -> ListPoliciesResponse {
    let selects = |name: &PolicyName| {
        let local = known
            .desired
            .reports
            .iter()
            .filter(|report| report.local && report.policies.contains(name));
        local.map(|report| report.workload.to_string()).collect()
    };
    let policies = known.set().map_or(&[][..], |set| set.policies());
    let entry = |policy: &signet_policy::Policy| PolicyEntry {
        namespace: policy.name.namespace.to_string(),
        name: policy.name.name.to_string(),
        file: known
            .set()
            .and_then(|set| set.policy_file(&policy.name))
            .unwrap_or_default()
            .to_owned(),
        selects: selects(&policy.name),
        ingress_rules: count(policy.rules(Direction::Ingress).unwrap_or_default()),
        egress_rules: count(policy.rules(Direction::Egress).unwrap_or_default()),
        authentication: mode(policy.strictest_authentication()).to_owned(),
        unproven: policy.unproven().collect(),
    };
    ListPoliciesResponse {
        policies: policies.iter().map(entry).collect(),
        errors: known.snapshot.errors.lines(),
    }
}

const fn mode(authentication: Authentication) -> &'static str {
    match authentication {
        Authentication::Disabled => "disabled",
        Authentication::RequiredOrRejected | Authentication::Required => "required",
        Authentication::AlwaysFail => "always-fail",
    }
}

/// All of the status that needs no look at the maps.
pub(crate) fn status(known: &Known) -> StatusResponse {
    let local: Vec<_> = known
        .desired
        .reports
        .iter()
        .filter(|report| report.local)
        .collect();
    StatusResponse {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        node: known.node.to_string(),
        node_id: known.config.node.0,
        policy_epoch: known.config.policy_epoch,
        endpoints: count(&known.desired.reports),
        local_endpoints: count(&local),
        policies: count(known.set().map_or(&[][..], |set| set.policies())),
        maps: Vec::new(),
        counters: Vec::new(),
        errors: known.all_errors(),
        adopted: known.adopted,
        agent_connected: known.agent_connected,
        attached: known.attached.clone(),
    }
}

fn count<T>(items: &[T]) -> u32 {
    u32::try_from(items.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use signet_abi::MeshConfig;
    use signet_endpoints::{Desired, EndpointState, Ifindex, WorkloadAddress, WorkloadName};
    use signet_policy::{Name, Namespace};
    use signet_source::{Set, Snapshot};
    use signet_spiffe::NodeName;

    use super::*;

    const YAML: &str = "\
apiVersion: signet.io/v1alpha1
kind: Workload
metadata: {name: web, namespace: shop}
spec: {node: n1, serviceAccount: web-account, addresses: [10.0.0.1], interface: sgv-web, netns: /run/netns/web}
---
apiVersion: signet.io/v1alpha1
kind: Policy
metadata: {name: web, namespace: shop}
spec:
  ingress:
  - {from: [{entity: all}], authentication: required}
  - {from: [{entity: host}]}
  - {from: [{entity: world}], action: Deny}
  egress: [{to: [{entity: cluster}], authentication: disabled}]
";

    fn known() -> Known {
        let name = WorkloadName {
            namespace: Namespace::parse("shop").unwrap(),
            name: Name::parse("web").unwrap(),
        };
        let set = Set::parse([("f.yaml", YAML)]).unwrap();
        let report = EndpointReport {
            workload: name.clone(),
            local: true,
            spiffe_id: None,
            identity: signet_abi::SecurityIdentity(256),
            node: signet_abi::NodeId(1),
            addresses: vec![WorkloadAddress::parse("10.0.0.1").unwrap()],
            ifindex: Ifindex::new(7),
            ingress_enforced: true,
            egress_enforced: true,
            policies: vec![set.policies()[0].name.clone()],
            state: EndpointState::Ready,
        };
        Known {
            snapshot: Arc::new(Snapshot {
                set: Some(Arc::new(set)),
                ..Snapshot::default()
            }),
            desired: Arc::new(Desired {
                reports: vec![report],
                ..Desired::default()
            }),
            netns: [(name, 4026)].into_iter().collect(),
            complete: true,
            ..Known::nothing(NodeName::parse("n1").unwrap(), true, MeshConfig::default())
        }
    }

    #[test]
    fn a_local_endpoint_has_its_interface_and_namespace() {
        let endpoints = local_endpoints(&known()).unwrap().endpoints;
        assert_eq!(endpoints.len(), 1);
        let endpoint = &endpoints[0];
        assert_eq!(
            (
                endpoint.interface.as_str(),
                endpoint.ifindex,
                endpoint.netns_inode
            ),
            ("sgv-web", 7, 4026)
        );
        assert_eq!(
            (endpoint.service_account.as_str(), endpoint.identity),
            ("web-account", 256)
        );
    }

    #[test]
    fn endpoints_are_not_told_before_everything_is_known() {
        // Else whoever follows them would take every endpoint for gone.
        let incomplete = Known {
            complete: false,
            ..known()
        };
        assert_eq!(local_endpoints(&incomplete), None);
    }

    #[test]
    fn an_endpoint_without_its_interface_is_listed_but_not_live() {
        let mut known = known();
        let mut desired = Desired::clone(&known.desired);
        desired.reports[0].ifindex = None;
        known.desired = Arc::new(desired);
        assert_eq!(local_endpoints(&known).unwrap().endpoints, []);
        assert_eq!(endpoints(&known).endpoints.len(), 1);
    }

    #[test]
    fn a_policy_names_its_file_and_whom_it_selects() {
        let listed = policies(&known());
        let [policy] = &listed.policies[..] else {
            panic!("one policy expected")
        };
        assert_eq!(
            (policy.file.as_str(), &policy.selects[..]),
            ("f.yaml", &["shop/web".to_owned()][..])
        );
        assert_eq!((policy.ingress_rules, policy.egress_rules), (3, 1));
        assert_eq!(policy.authentication, "required");
        assert_eq!(policy.unproven, ["ingress[1]", "egress[0]"]);
    }
}
