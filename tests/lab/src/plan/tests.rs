use super::*;

const GOOD: &str = "\
name: demo
nodes:
- name: n1
- name: n2
workloads:
- name: web
  namespace: shop
  labels: {app: web}
  node: n2
  serve: {tcp: [8080], udp: [8081]}
- name: client
  node: n1
  serviceAccount: buyer
- name: second
  node: n2
  command: [sleep, '60']
";

fn plan(text: &str) -> Result<Plan, SpecError> {
    Plan::new(&LabFile::parse(text, "demo.yaml")?)
}

fn refused(text: &str) -> String {
    plan(text).expect_err("must be refused").to_string()
}

#[test]
fn addresses_are_assigned_in_file_order_and_look_alike_in_both_families() {
    let plan = plan(GOOD).unwrap();
    assert_eq!(plan.nodes[1].ipv4, Ipv4Addr::new(172, 30, 0, 12));
    assert_eq!(plan.nodes[1].ipv6.to_string(), "fd00:30::12");
    assert_eq!(plan.nodes[1].pod_cidrs, ["10.244.2.0/24", "fd00:244:2::/64"]);
    let web = plan.workload("shop/web").unwrap();
    assert_eq!(
        (web.ipv4.to_string().as_str(), web.ipv6.to_string().as_str()),
        ("10.244.2.10", "fd00:244:2::10")
    );
    assert_eq!(
        plan.workload("second").unwrap().ipv4,
        Ipv4Addr::new(10, 244, 2, 11)
    );
    assert_eq!(
        web.spiffe_id(&plan.trust_domain),
        "spiffe://cluster.local/ns/shop/sa/web"
    );
    assert_eq!(plan.workload("client").unwrap().service_account, "buyer");
    assert!(plan.workload("other/web").is_none());
}

#[test]
fn serve_becomes_the_labs_own_server() {
    let plan = plan(GOOD).unwrap();
    let expected = "signet lab serve --name web --tcp 8080 --udp 8081";
    assert_eq!(plan.workload("web").unwrap().command.join(" "), expected);
    assert_eq!(plan.workload("second").unwrap().command, ["sleep", "60"]);
    assert!(plan.workload("client").unwrap().command.is_empty());
}

#[test]
fn a_plan_survives_the_state_file() {
    let plan = plan(GOOD).unwrap();
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
}

#[test]
fn an_unknown_field_is_named_with_its_line() {
    let text = GOOD.replace("  serviceAccount: buyer", "  serviceAcount: buyer");
    let message = refused(&text);
    assert!(message.starts_with("demo.yaml:13:"), "{message}");
    assert!(message.contains("serviceAcount"), "{message}");
}

#[test]
fn a_workload_on_an_unknown_node_is_told_the_known_ones() {
    let message = refused(&GOOD.replace("node: n1", "node: n9"));
    assert_eq!(
        message,
        "demo.yaml:12: workloads[1].node: no node `n9`; there are n1, n2"
    );
}

#[test]
fn names_are_unique_across_nodes_and_workloads() {
    let message = refused(&GOOD.replace("name: second", "name: n1"));
    assert!(
        message.starts_with("demo.yaml:14: workloads[2].name: `n1` is taken"),
        "{message}"
    );
}

#[test]
fn underlay_addresses_are_checked() {
    let taken = GOOD.replace("- name: n1\n", "- name: n1\n  ipv4: 172.30.0.12\n");
    assert!(refused(&taken).contains("172.30.0.12 is another node's"));
    let ca = GOOD.replace("- name: n1\n", "- name: n1\n  ipv4: 172.30.0.2\n");
    assert!(refused(&ca).starts_with("demo.yaml:4: nodes[0].ipv4: 172.30.0.2 is not free"));
}

#[test]
fn command_and_serve_exclude_each_other() {
    let both = GOOD.replace("  serve: {tcp", "  command: [x]\n  serve: {tcp");
    assert!(refused(&both).contains("workloads[0].command: a workload has `command` or `serve`"));
}

#[test]
fn a_policy_that_is_not_a_whole_document_is_refused() {
    let text = format!("{GOOD}policies:\n- kind: Policy\n  spec: {{}}\n");
    assert!(refused(&text).contains("policies[0]: must be a whole document"));
}

#[test]
fn a_lab_without_nodes_or_with_a_tiny_mtu_is_refused() {
    assert!(refused("name: x\nnodes: []\n").contains("nodes: a lab has 1 to 64 nodes"));
    let tiny = "name: x\nmtu: 576\nnodes: [{name: n1}]\n";
    assert_eq!(
        refused(tiny),
        "demo.yaml:2: mtu: must be 1280 (the least that IPv6 allows) to 9000"
    );
}

#[test]
fn the_schema_names_every_field_and_refuses_others() {
    let schema = crate::spec::json_schema();
    assert_eq!(schema["additionalProperties"], false);
    assert!(schema["properties"]["trustDomain"].is_object());
    assert_eq!(schema["properties"]["name"]["type"], "string");
}

#[test]
fn all_mistakes_of_a_file_are_told_at_once_each_with_its_line() {
    let text = "\
name: Demo!
svidTtl: 3s
mtu: 9
nodes:
- name: n1
- name: n1
workloads:
- name: web
  node: n7
- name: Client
  node: n1
  command: []
";
    let refused = refused(text);
    let lines: Vec<_> = refused.lines().collect();
    assert_eq!(lines.len(), 7, "{refused}");
    for (place, field) in [
        ("demo.yaml:1", "name"),
        ("demo.yaml:2", "svidTtl"),
        ("demo.yaml:3", "mtu"),
        ("demo.yaml:6", "nodes[1].name"),
        ("demo.yaml:9", "workloads[0].node"),
        ("demo.yaml:10", "workloads[1].name"),
        ("demo.yaml:12", "workloads[1].command"),
    ] {
        let start = format!("{place}: {field}: ");
        assert!(
            lines.iter().any(|line| line.starts_with(&start)),
            "{start} in {refused}"
        );
    }
}
