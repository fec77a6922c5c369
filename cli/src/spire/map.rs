//! One entry as registrations, or why it has none.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use signet_proto::ca::v1::RegisterRequest;
use signet_spiffe::NodeName;

use super::entry::Entry;

/// Longest life of X.509-SVIDs and of JWT-SVIDs that a registration can say, and the shortest of both, seconds.
const MOST: [i64; 2] = [86_400, 3600];
const LEAST: i64 = 10;

/// By what entries are mapped.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    /// Parent IDs and the nodes that they stand for.
    pub(crate) nodes: BTreeMap<String, BTreeSet<NodeName>>,
    /// Nodes that the CA knows: a parent whose path ends with such a name is that node.
    pub(crate) known: BTreeSet<NodeName>,
    /// Whether `admin` becomes the role of that name.
    pub(crate) with_admin: bool,
}

/// What became of an entry.
#[derive(Debug, PartialEq)]
pub(crate) struct Mapped {
    /// SPIRE's id of it; empty in files that have none.
    pub(crate) entry: String,
    /// Whose.
    pub(crate) spiffe_id: String,
    /// One for each node; or everything that speaks against it.
    pub(crate) result: Result<Vec<RegisterRequest>, Vec<String>>,
    /// What is otherwise than in SPIRE, though it can be registered.
    pub(crate) notes: Vec<String>,
}

/// Maps an entry.
pub(crate) fn map(entry: &Entry, rules: &Rules) -> Mapped {
    let (mut against, mut notes) = (Vec::new(), Vec::new());
    let mut keep = |result: Result<String, String>| result.map_err(|why| against.push(why)).ok();
    let selectors: Vec<_> = entry
        .selectors
        .iter()
        .filter_map(|one| keep(selector(&one.kind, &one.value)))
        .collect();
    let nodes = nodes(&entry.parent_id.text(), rules).map_err(|why| against.push(why));
    if entry.store_svid {
        against
            .push("`store_svid`: SVIDs are given to attested processes alone, never to a store".to_owned());
    }
    if entry.expires_at.value() != Some(0) {
        against.push("`expires_at`: registrations do not end by themselves; register it without, and deregister it when it is time".to_owned());
    }
    for (name, value) in &entry.unknown {
        if !is_nothing(value) {
            against.push(format!("`{name}`: this program does not know what that means"));
        }
    }
    let mut life = |what: &str, given: Option<i64>, most: i64| match given {
        Some(0) => 0,
        Some(given) => {
            let kept = given.clamp(LEAST, most);
            if kept != given {
                notes.push(format!("{what} lives {kept} s, not {given}"));
            }
            u32::try_from(kept).unwrap_or(0)
        }
        None => {
            against.push(format!("{what}: its life is not a number"));
            0
        }
    };
    let [most_x509, most_jwt] = MOST;
    let ttl = life("X.509-SVID", entry.x509_svid_ttl.value(), most_x509);
    let jwt_ttl = life("JWT-SVID", entry.jwt_svid_ttl.value(), most_jwt);
    if entry.downstream {
        notes.push(
            "`downstream`: it may run a CA below this one (`signet-ca run --upstream signet`)".to_owned(),
        );
    }
    let role = match (entry.admin, rules.with_admin) {
        (true, true) => "admin",
        (true, false) => {
            notes.push("`admin` is left out: say --with-admin to make it an operator of the CA".to_owned());
            ""
        }
        (false, _) => "",
    };
    let federates_with: Vec<_> = entry
        .federates_with
        .iter()
        .map(|name| name.strip_prefix("spiffe://").unwrap_or(name).to_owned())
        .collect();
    let request = |node: &NodeName| RegisterRequest {
        spiffe_id: entry.spiffe_id.text(),
        node: node.to_string(),
        selectors: selectors.clone(),
        ttl,
        federates_with: federates_with.clone(),
        hint: entry.hint.clone(),
        dns_names: entry.dns_names.clone(),
        key_type: String::new(),
        jwt_ttl,
        role: role.to_owned(),
        downstream: entry.downstream,
    };
    let result = match nodes {
        Ok(nodes) if against.is_empty() => Ok(nodes.iter().map(request).collect()),
        Ok(_) | Err(()) => Err(against),
    };
    Mapped {
        entry: entry.id.clone(),
        spiffe_id: entry.spiffe_id.text(),
        result,
        notes,
    }
}

/// As --node-map says; or the node whose name is the last part of the parent's path.
fn nodes(parent: &str, rules: &Rules) -> Result<BTreeSet<NodeName>, String> {
    if let Some(nodes) = rules.nodes.get(parent) {
        return Ok(nodes.clone());
    }
    let path = parent
        .strip_prefix("spiffe://")
        .and_then(|rest| rest.split_once('/'));
    let Some((_, path)) = path else {
        return Err(format!("its parent `{parent}` is not a SPIFFE ID with a path"));
    };
    if path == "spire/server" {
        return Err(
            "it is a name for nodes, not for workloads; say what it stands for with --node-map, for the entries below it"
                .to_owned(),
        );
    }
    let last = path.rsplit('/').next().unwrap_or(path);
    match NodeName::parse(last) {
        Ok(name) if rules.known.contains(&name) => Ok(BTreeSet::from([name])),
        Ok(_) | Err(_) => Err(format!(
            "its parent is no node that the CA knows: say --node-map {parent}=<node>"
        )),
    }
}

fn selector(kind: &str, value: &str) -> Result<String, String> {
    let spelt = format!("{kind}:{value}");
    let (word, rest) = value.split_once(':').unwrap_or((value, ""));
    match (kind, word) {
        ("unix", "uid" | "gid" | "supplementary_gid" | "path" | "sha256") => Ok(spelt),
        ("systemd", "id") => Ok(format!("systemd:unit:{rest}")),
        ("unix", "user" | "group" | "supplementary_group") => Err(format!(
            "`{spelt}`: users and groups are numbers here (unix:uid, unix:gid): which number {rest} is, the node knows"
        )),
        ("k8s", _) => Err(format!(
            "`{spelt}`: there are no selectors for Kubernetes yet; an endpoint:<namespace>/<name> says which pod"
        )),
        _ => Err(format!("`{spelt}`: there is no such selector here")),
    }
}

/// What protobuf's JSON writes for a field that is not set.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty() || text == "0",
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;

    fn node(name: &str) -> NodeName {
        NodeName::parse(name).unwrap()
    }

    fn rules() -> Rules {
        Rules {
            nodes: BTreeMap::from([(
                "spiffe://example.org/fleet/db".to_owned(),
                BTreeSet::from([node("n2"), node("n3")]),
            )]),
            known: BTreeSet::from([node("n1")]),
            with_admin: false,
        }
    }

    /// As `spire-server entry show -output json` writes it.
    const SHOWN: &str = r#"{"entries": [{
        "id": "58c1f3e2-9e4c-4b2a-bb4f-0a9d7c6b5e11",
        "spiffe_id": {"trust_domain": "example.org", "path": "/web"},
        "parent_id": {"trust_domain": "example.org", "path": "/spire/agent/http_challenge/n1"},
        "selectors": [{"type": "unix", "value": "uid:1000"}, {"type": "unix", "value": "path:/usr/bin/web"}],
        "x509_svid_ttl": 3600, "federates_with": ["b.example", "spiffe://c.example"], "hint": "internal",
        "admin": false, "downstream": false, "expires_at": "0", "dns_names": ["web.example"],
        "revision_number": "7", "store_svid": false, "jwt_svid_ttl": 300, "created_at": "1690000000"
    }], "next_page_token": ""}"#;

    fn one(text: &str, rules: &Rules) -> Mapped {
        map(&read(text).unwrap()[0], rules)
    }

    #[test]
    fn an_entry_that_was_shown_becomes_a_registration_with_all_that_it_says() {
        let mapped = one(SHOWN, &rules());
        assert_eq!(mapped.entry, "58c1f3e2-9e4c-4b2a-bb4f-0a9d7c6b5e11");
        assert!(mapped.notes.is_empty());
        let wanted = RegisterRequest {
            spiffe_id: "spiffe://example.org/web".to_owned(),
            node: "n1".to_owned(),
            selectors: vec!["unix:uid:1000".to_owned(), "unix:path:/usr/bin/web".to_owned()],
            ttl: 3600,
            federates_with: vec!["b.example".to_owned(), "c.example".to_owned()],
            hint: "internal".to_owned(),
            dns_names: vec!["web.example".to_owned()],
            jwt_ttl: 300,
            ..RegisterRequest::default()
        };
        assert_eq!(mapped.result, Ok(vec![wanted]));
    }

    #[test]
    fn a_file_for_entry_create_is_read_and_a_parent_may_stand_for_several_nodes() {
        let text = r#"{"entries": [{"selectors": [{"type": "unix", "value": "gid:7"}],
            "spiffe_id": "spiffe://example.org/db", "parent_id": "spiffe://example.org/fleet/db",
            "ttl": 200000, "jwt_svid_ttl": 5, "admin": true}]}"#;
        let mapped = one(text, &rules());
        let made = mapped.result.unwrap();
        assert_eq!(
            made.iter().map(|one| one.node.as_str()).collect::<Vec<_>>(),
            ["n2", "n3"]
        );
        assert!(
            made.iter()
                .all(|one| (one.ttl, one.jwt_ttl, one.role.as_str()) == (86_400, 10, ""))
        );
        assert_eq!(mapped.notes.len(), 3, "{:?}", mapped.notes);
        let with_admin = Rules {
            with_admin: true,
            ..rules()
        };
        assert_eq!(one(text, &with_admin).result.unwrap()[0].role, "admin");
    }

    #[test]
    fn a_downstream_server_s_entry_is_a_downstream_ca_s() {
        let text = SHOWN.replace("\"downstream\": false", "\"downstream\": true");
        let mapped = one(&text, &rules());
        assert!(
            mapped.notes.iter().any(|note| note.contains("a CA below")),
            "{:?}",
            mapped.notes
        );
        assert!(mapped.result.unwrap()[0].downstream);
    }

    #[test]
    fn selectors_that_mean_the_same_are_spelt_as_here() {
        let spelt = |kind, value| selector(kind, value).unwrap();
        assert_eq!(spelt("unix", "supplementary_gid:27"), "unix:supplementary_gid:27");
        assert_eq!(spelt("systemd", "id:web.service"), "systemd:unit:web.service");
        assert!(selector("systemd", "fragment_path:/etc/systemd/system/web.service").is_err());
    }

    #[test]
    fn what_has_no_counterpart_is_named_all_of_it() {
        let text = r#"{"entries": [{"spiffe_id": "spiffe://example.org/x",
            "parent_id": "spiffe://example.org/spire/agent/join_token/0f3a",
            "selectors": [{"type": "k8s", "value": "sa:x"}, {"type": "unix", "value": "user:www-data"},
                          {"type": "docker", "value": "label:a:b"}, {"type": "unix", "value": "uid:1"}],
            "downstream": true, "store_svid": true, "expires_at": "1900000000", "x509_svid_ttl": "soon",
            "later_field": 1, "another": [], "third": "0"}]}"#;
        let against = one(text, &rules()).result.unwrap_err();
        let named = [
            "k8s:sa:x",
            "unix:user:www-data",
            "docker:label:a:b",
            "--node-map",
            "store_svid",
            "expires_at",
            "later_field",
            "not a number",
        ];
        for name in named {
            assert!(
                against.iter().any(|why| why.contains(name)),
                "{name}: {against:?}"
            );
        }
        assert_eq!(against.len(), named.len(), "{against:?}");
    }

    #[test]
    fn parents_that_say_no_node_are_refused() {
        for (parent, text) in [
            ("spiffe://example.org/spire/server", "a name for nodes"),
            (
                "spiffe://example.org/host/n9",
                "--node-map spiffe://example.org/host/n9=",
            ),
            ("spiffe://example.org", "not a SPIFFE ID with a path"),
            ("n1", "not a SPIFFE ID"),
            ("spiffe://example.org/host/N1", "--node-map"),
        ] {
            let refused = nodes(parent, &rules()).unwrap_err();
            assert!(refused.contains(text), "{parent}: {refused}");
        }
        assert_eq!(
            nodes("spiffe://example.org/host/n1", &rules()),
            Ok(BTreeSet::from([node("n1")]))
        );
    }

    #[test]
    fn what_is_not_spire_s_is_not_read() {
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"entries": [{}]}"#,
            r#"{"entries": [{"spiffe_id": 1, "parent_id": "x"}]}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let page = r#"{"entries": [], "next_page_token": "abc"}"#;
        assert!(read(page).unwrap_err().to_string().contains("longer list"));
    }
}
