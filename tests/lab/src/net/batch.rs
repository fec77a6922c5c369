//! What `ip` is told: pure functions from the plan to its command lines.

use super::namespace::ip_batch;
use crate::plan::{CA_IPV4, CA_IPV6, GATEWAY_IPV4, GATEWAY_IPV6, NodePlan};
use crate::{LabError, LabPaths, Plan, WorkloadPlan};

/// Makes all links, each end at once in its own namespace.
pub(crate) fn links(plan: &Plan, paths: &LabPaths) -> Result<(), LabError> {
    ip_batch(None, &link_lines(plan, paths))
}

/// Sets up addresses, neighbours and routes in every namespace.
pub(crate) fn configure(plan: &Plan, paths: &LabPaths) -> Result<(), LabError> {
    ip_batch(Some(&paths.netns_name("net")), &underlay_lines(plan))?;
    ip_batch(Some(&paths.netns_name("ca")), &ca_lines())?;
    for node in &plan.nodes {
        ip_batch(Some(&paths.netns_name(&node.name)), &node_lines(plan, node))?;
    }
    for workload in &plan.workloads {
        ip_batch(Some(&paths.netns_name(&workload.name)), &workload_lines(workload))?;
    }
    Ok(())
}

fn link_lines(plan: &Plan, paths: &LabPaths) -> Vec<String> {
    let net = paths.netns_name("net");
    let mut lines = vec![
        format!("link add br0 netns {net} type bridge stp_state 0 forward_delay 0 mcast_snooping 0"),
        format!(
            "link add eth0 netns {} type veth peer name p-ca netns {net}",
            paths.netns_name("ca")
        ),
    ];
    for NodePlan {
        name, bridge_port, ..
    } in &plan.nodes
    {
        let node = paths.netns_name(name);
        lines.push(format!(
            "link add eth0 netns {node} type veth peer name {bridge_port} netns {net}"
        ));
    }
    for WorkloadPlan {
        name,
        node,
        interface,
        mac,
        host_mac,
        ..
    } in &plan.workloads
    {
        let (workload, node) = (paths.netns_name(name), paths.netns_name(node));
        lines.push(format!(
            "link add {interface} netns {node} mtu {mtu} address {host_mac} type veth \
             peer name eth0 netns {workload} mtu {mtu} address {mac}",
            mtu = plan.mtu
        ));
    }
    lines
}

fn underlay_lines(plan: &Plan) -> Vec<String> {
    let ports = plan
        .nodes
        .iter()
        .map(|node| node.bridge_port.as_str())
        .chain(["p-ca"]);
    let ports = ports.map(|port| format!("link set {port} master br0 up"));
    ["link set lo up".to_owned(), "link set br0 up".to_owned()]
        .into_iter()
        .chain(ports)
        .collect()
}

fn ca_lines() -> Vec<String> {
    vec![
        "link set lo up".to_owned(),
        format!("addr add {CA_IPV4}/24 dev eth0"),
        format!("addr add {CA_IPV6}/64 dev eth0 nodad"),
        "link set eth0 up".to_owned(),
    ]
}

fn node_lines(plan: &Plan, node: &NodePlan) -> Vec<String> {
    let mut lines = vec![
        "link set lo up".to_owned(),
        format!("addr add {}/24 dev eth0", node.ipv4),
        format!("addr add {}/64 dev eth0 nodad", node.ipv6),
        "link set eth0 up".to_owned(),
    ];
    // An address of our range that no workload has must not travel back and forth to the default route.
    lines.extend(
        node.pod_cidrs
            .iter()
            .map(|cidr| format!("route add unreachable {cidr}")),
    );
    for other in plan.nodes.iter().filter(|other| other.name != node.name) {
        lines.push(format!("route add {} via {}", other.pod_cidrs[0], other.ipv4));
        lines.push(format!("route add {} via {}", other.pod_cidrs[1], other.ipv6));
    }
    for WorkloadPlan {
        interface,
        ipv4,
        ipv6,
        mac,
        ..
    } in plan.workloads_on(&node.name)
    {
        // No link-local address: nothing of the node's own (MLD, router solicitation) appears on the veth.
        lines.push(format!("link set {interface} addrgenmode none up"));
        for address in [ipv4.to_string(), ipv6.to_string()] {
            lines.push(format!(
                "neigh replace {address} lladdr {mac} dev {interface} nud permanent"
            ));
            lines.push(format!("route add {address} dev {interface}"));
        }
    }
    lines
}

fn workload_lines(workload: &WorkloadPlan) -> Vec<String> {
    let mac = &workload.host_mac;
    vec![
        "link set lo up".to_owned(),
        format!("addr add {}/32 dev eth0", workload.ipv4),
        format!("addr add {}/128 dev eth0 nodad", workload.ipv6),
        "link set eth0 up".to_owned(),
        format!("neigh replace {GATEWAY_IPV4} lladdr {mac} dev eth0 nud permanent"),
        format!("neigh replace {GATEWAY_IPV6} lladdr {mac} dev eth0 nud permanent"),
        format!("route add {GATEWAY_IPV4} dev eth0 scope link"),
        format!("route add default via {GATEWAY_IPV4} dev eth0"),
        format!("route add default via {GATEWAY_IPV6} dev eth0"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LabFile;

    fn plan() -> (Plan, LabPaths) {
        let text =
            "name: demo\nmtu: 1400\nnodes: [{name: n1}, {name: n2}]\nworkloads: [{name: web, node: n2}]\n";
        let plan = Plan::new(&LabFile::parse(text, "test").unwrap()).unwrap();
        let paths = LabPaths::new(&plan.lab);
        (plan, paths)
    }

    #[test]
    fn each_end_of_a_veth_is_born_in_its_namespace_with_the_labs_mtu() {
        let (plan, paths) = plan();
        let lines = link_lines(&plan, &paths);
        let web = lines.iter().find(|line| line.contains("sgv-web")).unwrap();
        assert!(
            web.starts_with("link add sgv-web netns sg-demo-n2 mtu 1400 "),
            "{web}"
        );
        assert!(
            web.contains("peer name eth0 netns sg-demo-web mtu 1400 "),
            "{web}"
        );
    }

    #[test]
    fn a_node_routes_the_other_nodes_ranges_to_them_and_its_own_workloads_to_their_veth() {
        let (plan, _) = plan();
        let n1 = node_lines(&plan, &plan.nodes[0]);
        assert!(n1.contains(&"route add 10.244.2.0/24 via 172.30.0.12".to_owned()));
        assert!(n1.contains(&"route add fd00:244:2::/64 via fd00:30::12".to_owned()));
        let n2 = node_lines(&plan, &plan.nodes[1]);
        assert!(n2.contains(&"route add 10.244.2.10 dev sgv-web".to_owned()));
        assert!(n2.contains(&"route add fd00:244:2::10 dev sgv-web".to_owned()));
    }
}
