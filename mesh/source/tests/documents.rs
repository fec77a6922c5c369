//! What is written becomes what is meant, and what is wrong is said with its place.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use signet_policy::{
    Authentication, Direction, Effect, Entity, Name, Namespace, Peer, PortRange, Protocol, Traffic,
};
use signet_source::{CheckError, Input, Set, check, json_schema};

const WORKLOAD: &str = "\
apiVersion: signet.io/v1alpha1
kind: Workload
metadata: {name: web, namespace: shop, labels: {app: web, version: 1.0}}
spec:
  node: n2
  serviceAccount: web
  addresses: [10.244.2.10, \"fd00:244:2::10\"]
  interface: sgv-web
  netns: /run/netns/web
";

const POLICY: &str = "\
apiVersion: signet.io/v1alpha1
kind: Policy
metadata: {name: web, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress:
  - from:
    - workload: {serviceAccount: client}
    - workload: {namespace: bank, serviceAccount: teller}
    - spiffeId: spiffe://cluster.local/ns/shop/sa/api
    - entity: remote-node
    ports: [{protocol: TCP, port: 8080, endPort: 8090}, {protocol: ANY, port: 53}, {protocol: ICMPv6}]
    authentication: required
  - from: [{entity: all}]
    action: Deny
  egress: []
";

fn parse(text: &str) -> Result<Set, Vec<String>> {
    Set::parse([("f.yaml", text)]).map_err(|errors| errors.lines())
}

fn errors(text: &str) -> Vec<String> {
    parse(text).unwrap_err()
}

/// The one error of a policy in which a line was replaced.
fn policy_error(line: &str, by: &str) -> String {
    assert!(POLICY.contains(line), "{line} is not in the policy");
    let errors = errors(&POLICY.replace(line, by));
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors[0].clone()
}

fn workload_error(line: &str, by: &str) -> String {
    assert!(WORKLOAD.contains(line), "{line} is not in the workload");
    let errors = errors(&WORKLOAD.replace(line, by));
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors[0].clone()
}

#[test]
fn a_workload_is_read_as_it_is_written() {
    let set = parse(WORKLOAD).unwrap();
    let [workload] = set.workloads() else {
        panic!("one workload expected")
    };
    assert_eq!(workload.name.to_string(), "shop/web");
    assert_eq!(workload.labels.to_string(), "app=web,version=1.0");
    assert_eq!(workload.node.as_str(), "n2");
    assert_eq!(workload.service_account.as_str(), "web");
    assert_eq!(workload.interface.as_str(), "sgv-web");
    assert_eq!(workload.netns.as_deref(), Some(Path::new("/run/netns/web")));
    let addresses: Vec<_> = workload.addresses().iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.244.2.10", "fd00:244:2::10"]);
}

#[test]
fn who_is_refused_is_told_only_where_a_rule_that_asks_for_a_proof_says_so() {
    let told = POLICY.replace(
        "    authentication: required\n",
        "    authentication: required\n    onFailure: reject\n",
    );
    let set = parse(&told).unwrap();
    let [allow, _] = set.policies()[0].rules(Direction::Ingress).unwrap() else {
        panic!("two rules expected")
    };
    assert_eq!(allow.effect(), Effect::Allow(Authentication::RequiredOrRejected));
    for (line, by) in [
        ("    authentication: required\n", "    onFailure: reject\n"),
        (
            "    authentication: required\n",
            "    authentication: always-fail\n    onFailure: reject\n",
        ),
        ("    action: Deny\n", "    action: Deny\n    onFailure: reject\n"),
    ] {
        assert!(policy_error(line, by).contains("`onFailure: reject` needs `authentication: required`"));
    }
    assert!(policy_error("    authentication: required\n", "    onFailure: shout\n").contains("shout"));
}

#[test]
fn a_proof_of_the_ingress_gateway_is_not_asked_for_while_nobody_is_it() {
    let told = policy_error("    - entity: remote-node\n", "    - entity: ingress\n");
    assert!(
        told.contains("spec.ingress[0].from[3].entity: the ingress gateway can prove nothing"),
        "{told}"
    );
    assert!(told.contains("`workload` or `spiffeId`"), "{told}");
    for mode in ["disabled", "always-fail"] {
        let text = POLICY.replace("entity: remote-node", "entity: ingress");
        let text = text.replace("authentication: required", &format!("authentication: {mode}"));
        assert!(parse(&text).is_ok(), "{mode}");
    }
    // Also towards it, and also where others are named beside it.
    let egress = "  egress:\n  - to: [{entity: host}, {entity: ingress}]\n    authentication: required\n";
    let told = policy_error("  egress: []\n", egress);
    assert!(told.contains("spec.egress[0].to[1].entity"), "{told}");
}

#[test]
fn a_policy_is_read_as_it_is_written() {
    let set = parse(POLICY).unwrap();
    let [policy] = set.policies() else {
        panic!("one policy expected")
    };
    assert_eq!(policy.name.to_string(), "shop/web");
    assert_eq!(policy.selector.to_string(), "app=web");
    assert_eq!(policy.rules(Direction::Egress), Some(&[][..]));
    let [allow, deny] = policy.rules(Direction::Ingress).unwrap() else {
        panic!("two rules expected")
    };
    let peer = |namespace: &str, account: &str| Peer::Workload {
        namespace: Namespace::parse(namespace).unwrap(),
        service_account: Name::parse(account).unwrap(),
    };
    assert_eq!(allow.peers()[0], peer("shop", "client"));
    assert_eq!(allow.peers()[1], peer("bank", "teller"));
    assert_eq!(
        allow.peers()[2].to_string(),
        "spiffe://cluster.local/ns/shop/sa/api"
    );
    assert_eq!(allow.peers()[3], Peer::Entity(Entity::RemoteNode));
    let ports = |first, last| Some(PortRange::new(first, last).unwrap());
    assert_eq!(
        allow.traffic(),
        [
            Traffic::new(Some(Protocol::Tcp), ports(8080, 8090)).unwrap(),
            Traffic::new(None, ports(53, 53)).unwrap(),
            Traffic::new(Some(Protocol::IcmpV6), None).unwrap(),
        ]
    );
    assert_eq!(allow.effect(), Effect::Allow(Authentication::Required));
    assert_eq!(
        (deny.effect(), deny.traffic()),
        (Effect::Deny, &[Traffic::ANY][..])
    );
    assert_eq!(set.policy_file(&policy.name), Some("f.yaml"));
}

#[test]
fn json_is_yaml_too() {
    let json = r#"{"apiVersion": "signet.io/v1alpha1", "kind": "Policy",
        "metadata": {"name": "x", "namespace": "shop", "labels": {}, "annotations": {"a": "b"}},
        "spec": {"egress": []}}"#;
    assert_eq!(parse(json).unwrap().policies().len(), 1);
}

#[test]
fn bad_values_are_said_with_line_column_and_field() {
    assert_eq!(
        workload_error("node: n2", "node: N2")
            .split(": ")
            .take(2)
            .collect::<Vec<_>>(),
        ["f.yaml:5:9", "spec.node"]
    );
    assert!(
        workload_error("10.244.2.10", "10.244.2.0/24")
            .starts_with("f.yaml:7:15: spec.addresses[0]: this is not")
    );
    assert!(
        workload_error("\"fd00:244:2::10\"", "127.0.0.1").contains("spec.addresses[1]: 127.0.0.1 cannot be")
    );
    assert!(
        workload_error("interface: sgv-web", "interface: a/b").starts_with("f.yaml:8:14: spec.interface: ")
    );
    assert!(
        workload_error("netns: /run", "netns: run")
            .starts_with("f.yaml:9:10: spec.netns: must be an absolute")
    );
    assert!(
        workload_error("app: web", "\"a b\": web")
            .starts_with("f.yaml:3:56: metadata.labels.a b: use letters")
    );
    assert!(
        workload_error("namespace: shop", "namespace: SHOP")
            .starts_with("f.yaml:3:34: metadata.namespace: 'S'")
    );
    assert!(
        workload_error("[10.244.2.10, \"fd00:244:2::10\"]", "[]")
            .contains("spec.addresses: the workload has no")
    );
}

#[test]
fn bad_rules_are_said_with_line_column_and_field() {
    assert_eq!(
        policy_error("[{entity: all}]", "[]"),
        "f.yaml:14:5: spec.ingress[1]: the rule names no peer: write `- entity: all` to mean everyone"
    );
    assert_eq!(
        policy_error(
            "    - entity: remote-node",
            "    - {entity: world, spiffeId: spiffe://a/b}"
        ),
        "f.yaml:11:7: spec.ingress[0].from[3]: write exactly one of `workload`, `spiffeId` and `entity`"
    );
    assert!(
        policy_error("    - entity: remote-node", "    - cidr: 192.0.2.0/24")
            .starts_with("f.yaml:11:13: spec.ingress[0].from[3].cidr: peers by address are not supported")
    );
    assert!(
        policy_error("spiffe://cluster.local", "https://x")
            .starts_with("f.yaml:10:17: spec.ingress[0].from[2].spiffeId: ")
    );
    assert_eq!(
        policy_error("port: 8080, endPort: 8090", "port: 8090, endPort: 8080"),
        "f.yaml:12:50: spec.ingress[0].ports[0].endPort: endPort 8080 is less than port 8090"
    );
    assert!(
        policy_error("port: 8080, endPort: 8090", "endPort: 8090").contains("ports[0].endPort: needs `port`")
    );
    assert!(
        policy_error("{protocol: ICMPv6}", "{protocol: ICMPv6, port: 1}")
            .contains("ports[2]: ICMPv6 has no ports")
    );
    assert!(
        policy_error(
            "action: Deny",
            "{action: Deny, authentication: required}"
                .trim_matches(['{', '}'])
                .replace(", ", "\n    ")
                .as_str()
        )
        .contains("spec.ingress[1]: a rule that denies cannot ask for authentication")
    );
    assert!(
        policy_error("required", "sometimes")
            .contains("unknown variant `sometimes`, expected one of disabled")
    );
}

#[test]
fn a_policy_without_any_effect_is_refused() {
    let text = "apiVersion: signet.io/v1alpha1\nkind: Policy\nmetadata: {name: a, namespace: b}\nspec: {}\n";
    assert!(errors(text)[0].starts_with("f.yaml:4:7: spec: has no effect: write `ingress` or `egress`"));
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let text = POLICY
        .replace("serviceAccount: client", "serviceAccount: CLIENT")
        .replace("port: 53", "port: 0")
        .replace("name: web", "name: _");
    assert_eq!(errors(&text).len(), 3);
}

#[test]
fn a_name_that_is_there_already_is_refused_across_files() {
    let files = [
        ("a.yaml", WORKLOAD),
        ("b.yaml", &format!("# again\n{WORKLOAD}---\n{POLICY}")),
    ];
    let errors = Set::parse(files).unwrap_err().lines();
    assert_eq!(
        errors,
        ["b.yaml:2:1: metadata.name: workload shop/web is there already, in a.yaml:1"]
    );
}

#[test]
fn a_workload_and_a_policy_may_share_a_name() {
    let set = parse(&format!("{WORKLOAD}---\n{POLICY}")).unwrap();
    assert_eq!((set.workloads().len(), set.policies().len()), (1, 1));
}

#[test]
fn a_file_is_checked_without_a_daemon() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bad.yaml");
    let checked = |path: &Path| check(&[Input::Path(path.to_owned())]);
    std::fs::write(&path, POLICY.replace("ingress:", "ingres:")).unwrap();
    let Err(CheckError::Refused(errors)) = checked(&path) else {
        panic!("a mistake is refused");
    };
    assert_eq!(errors.lines().len(), 1);
    assert!(errors.lines()[0].starts_with(&format!(
        "{}:6:3: spec.ingres: unknown field `ingres`",
        path.display()
    )));
    std::fs::write(&path, POLICY).unwrap();
    assert_eq!(checked(&path).unwrap().set.policies().len(), 1);
    let Err(CheckError::Unreadable(errors)) = checked(&directory.path().join("none.yaml")) else {
        panic!("what is not there cannot be read");
    };
    assert!(errors.lines()[0].contains("cannot be read"));
}

#[test]
fn files_directories_and_texts_are_checked_as_one_set() {
    let directory = tempfile::tempdir().unwrap();
    let (one, two) = (
        directory.path().join("one.yaml"),
        directory.path().join("two.yml"),
    );
    std::fs::write(&one, WORKLOAD).unwrap();
    std::fs::write(&two, POLICY).unwrap();
    let path = |path: &Path| Input::Path(path.to_owned());
    let text = |text: &str| Input::Text {
        name: "standard input".to_owned(),
        text: text.to_owned(),
    };
    let all = check(&[path(directory.path()), path(&one), path(&one)]).unwrap();
    assert_eq!((all.set.workloads().len(), all.set.policies().len()), (1, 1));
    assert_eq!(all.files.len(), 2, "{:?}", all.files);
    let twice = check(&[path(directory.path()), text(POLICY)]).unwrap_err();
    assert_eq!(
        twice.errors().lines(),
        [format!(
            "standard input:1:1: metadata.name: policy shop/web is there already, in {}:1",
            two.display()
        )]
    );
}

#[test]
fn what_workloads_claim_twice_and_rules_that_name_nobody_here_are_told() {
    let text = |name: &str, text: String| Input::Text {
        name: name.to_owned(),
        text,
    };
    let second = WORKLOAD.replace("name: web", "name: twin");
    let policy = POLICY.replace("name: web", "name: odd");
    let checked = check(&[
        text("a.yaml", WORKLOAD.to_owned()),
        text("b.yaml", format!("{second}---\n{policy}")),
    ])
    .unwrap();
    let told = checked.conflicts.join("\n");
    assert!(told.contains("is claimed by shop/twin, shop/web"), "{told}");
    assert!(
        told.contains("on node n2 interface sgv-web is claimed by"),
        "{told}"
    );
    let remarks = checked.remarks.join("\n");
    assert!(
        remarks.contains("policy shop/odd: ingress[0] names service account shop/client, which none"),
        "{remarks}"
    );
    assert!(remarks.starts_with("b.yaml:"), "{remarks}");
    assert!(check(&[text("c.yaml", policy)]).unwrap().remarks.is_empty());
}

#[test]
fn the_json_schema_knows_both_kinds_and_refuses_unknown_fields() {
    let schema = json_schema();
    let text = schema.to_string();
    for word in [
        "WorkloadDocument",
        "PolicyDocument",
        "signet.io/v1alpha1",
        "always-fail",
        "remote-node",
        "endPort",
    ] {
        assert!(text.contains(word), "{word} is missing");
    }
    assert_eq!(schema["$defs"]["PolicySpec"]["additionalProperties"], false);
    assert_eq!(schema["$defs"]["PeerSpec"]["maxProperties"], 1);
}
