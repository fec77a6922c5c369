//! The CA: its state, nodes, registrations, identities.

use std::collections::BTreeMap;

use serde::Serialize;
use signet_proto::ca::v1::list_nodes_response::Entry;
use signet_proto::ca::v1::{ListIdentitiesResponse, ListNodesResponse, RevocationEntry, StatusResponse};
use signet_proto::view::v1::Registration;
use signet_proto::view::v1::revocation::Subject;

use super::encryption::mode_name;
use super::outage::OutageView;
use super::upstream::UpstreamView;
use crate::output::{Cell, Page, Table, Tone, View};
use crate::text;

/// The CA's state.
#[derive(Debug, Serialize)]
pub(crate) struct StatusView {
    version: String,
    trust_domain: String,
    revision: u64,
    root_not_after: i64,
    root_sha256: String,
    key_storage: String,
    nodes: u32,
    connected: u32,
    registrations: u32,
    issued: u64,
    issued_jwt: u64,
    encryption: &'static str,
    outage: OutageView,
    /// Who is above this CA; nobody: null.
    upstream: Option<UpstreamView>,
    /// What the authorities' lives wait for.
    waits: Vec<String>,
}

impl From<StatusResponse> for StatusView {
    fn from(status: StatusResponse) -> Self {
        let encryption = mode_name(
            status
                .cluster
                .map(|cluster| cluster.encryption())
                .unwrap_or_default(),
        );
        Self {
            version: status.version,
            trust_domain: status.trust_domain,
            revision: status.revision,
            root_not_after: status.root_not_after,
            root_sha256: status.root_sha256,
            key_storage: status.key_storage,
            nodes: status.nodes,
            connected: status.connected,
            registrations: status.registrations,
            issued: status.issued,
            issued_jwt: status.issued_jwt,
            encryption,
            outage: OutageView::from(status.outage.unwrap_or_default()),
            upstream: status.upstream.map(UpstreamView::from),
            waits: status.waits,
        }
    }
}

impl View for StatusView {
    fn draw(&self, page: &mut Page) {
        // Below another authority it is an intermediate, and the roots are others'.
        let [expires, digest, key] = match &self.upstream {
            None => ["root expires", "root SHA-256", "root key in"],
            Some(_) => ["signer expires", "signer SHA-256", "signer key in"],
        };
        let lines = [
            ("trust domain", self.trust_domain.clone()),
            ("version", self.version.clone()),
            (expires, text::when(self.root_not_after, page.now())),
            (digest, self.root_sha256.clone()),
            (key, self.key_storage.clone()),
            ("nodes", format!("{}, {} connected", self.nodes, self.connected)),
            ("registrations", self.registrations.to_string()),
            (
                "issued",
                format!(
                    "{}, {}",
                    text::count(self.issued, "certificate"),
                    text::count(self.issued_jwt, "token")
                ),
            ),
            ("encryption", self.encryption.to_owned()),
            ("revision", self.revision.to_string()),
        ];
        for (name, value) in lines {
            page.line(format!("{name:<15}{value}"));
        }
        if let Some(upstream) = &self.upstream {
            upstream.draw(page);
        }
        for what in &self.waits {
            page.line(format!("{:<15}{what}", "waits"));
        }
        self.outage.draw(page);
    }
}

/// A join token.
#[derive(Debug, Serialize)]
pub(crate) struct TokenView {
    pub(crate) node: String,
    pub(crate) token: String,
    pub(crate) expires: i64,
}

impl View for TokenView {
    fn draw(&self, page: &mut Page) {
        page.line(&self.token);
    }
}

impl TokenView {
    /// What a person wants to know besides; not for the file that the token goes into.
    pub(crate) fn hint(&self, now: i64) -> String {
        let when = text::when(self.expires, now);
        format!(
            "for node {}, once, expires {when}; put it into the file of --join-token-file",
            self.node
        )
    }
}

/// One registration in full.
#[derive(Debug, Serialize)]
pub(crate) struct RegistrationView {
    id: String,
    spiffe_id: String,
    identity: u32,
    node: String,
    selectors: Vec<String>,
    ttl: u32,
    federates_with: Vec<String>,
    hint: String,
    dns_names: Vec<String>,
    key_type: String,
    jwt_ttl: u32,
    role: String,
    downstream: bool,
    ordinal: u64,
}

impl From<Registration> for RegistrationView {
    fn from(registration: Registration) -> Self {
        Self {
            id: registration.id,
            spiffe_id: registration.spiffe_id,
            identity: registration.identity,
            node: registration.node,
            selectors: registration.selectors,
            ttl: registration.ttl,
            federates_with: registration.federates_with,
            hint: registration.hint,
            dns_names: registration.dns_names,
            key_type: registration.key_type,
            jwt_ttl: registration.jwt_ttl,
            role: registration.role,
            downstream: registration.downstream,
            ordinal: registration.ordinal,
        }
    }
}

impl View for RegistrationView {
    fn draw(&self, page: &mut Page) {
        let life = |seconds: u32| match seconds {
            0 => "the CA's default".to_owned(),
            seconds => text::span(seconds.into()),
        };
        let lines = [
            ("id", self.id.clone()),
            ("SPIFFE ID", self.spiffe_id.clone()),
            ("identity", self.identity.to_string()),
            ("node", self.node.clone()),
            ("selectors", self.selectors.join(", ")),
            ("SVID life", life(self.ttl)),
            ("JWT life", life(self.jwt_ttl)),
            ("key type", self.key_type.clone()),
        ];
        for (name, value) in lines {
            page.line(format!("{name:<11}{value}"));
        }
        let more = [
            ("federates", self.federates_with.join(", ")),
            ("DNS names", self.dns_names.join(", ")),
            ("hint", self.hint.clone()),
            ("role", self.role.clone()),
            (
                "may run",
                if self.downstream {
                    "a CA below this one".to_owned()
                } else {
                    String::new()
                },
            ),
        ];
        for (name, value) in more.into_iter().filter(|(_, value)| !value.is_empty()) {
            page.line(format!("{name:<11}{value}"));
        }
    }
}

impl RegistrationView {
    /// What is not as usual, in one line.
    fn terms(&self) -> String {
        let mut terms = Vec::new();
        if !matches!(self.key_type.as_str(), "" | "p256") {
            terms.push(self.key_type.clone());
        }
        if self.ttl > 0 {
            terms.push(format!("ttl {}", text::span(self.ttl.into())));
        }
        if self.jwt_ttl > 0 {
            terms.push(format!("jwt {}", text::span(self.jwt_ttl.into())));
        }
        terms.extend(self.dns_names.iter().map(|name| format!("dns {name}")));
        if !self.hint.is_empty() {
            terms.push(format!("hint {:?}", self.hint));
        }
        if !self.role.is_empty() {
            terms.push(self.role.clone());
        }
        if self.downstream {
            terms.push("downstream CA".to_owned());
        }
        terms.join(", ")
    }
}

/// All registrations.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct RegistrationsView {
    registrations: Vec<RegistrationView>,
}

impl From<Vec<Registration>> for RegistrationsView {
    fn from(registrations: Vec<Registration>) -> Self {
        Self {
            registrations: registrations.into_iter().map(RegistrationView::from).collect(),
        }
    }
}

impl View for RegistrationsView {
    fn draw(&self, page: &mut Page) {
        let mut table = Table::new(["ID", "SPIFFE ID", "IDENTITY", "NODE", "SELECTORS", "TERMS"]);
        for registration in &self.registrations {
            table.row([
                registration.id.as_str().into(),
                registration.spiffe_id.as_str().into(),
                registration.identity.into(),
                registration.node.as_str().into(),
                registration.selectors.join(", ").into(),
                registration.terms().into(),
            ]);
        }
        page.table(table, "no registrations: `signet ca register` makes one");
    }
}

/// Deleted registrations.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct DeregisteredView {
    registrations: Vec<RegistrationView>,
}

impl From<Vec<Registration>> for DeregisteredView {
    fn from(registrations: Vec<Registration>) -> Self {
        Self {
            registrations: registrations.into_iter().map(RegistrationView::from).collect(),
        }
    }
}

impl View for DeregisteredView {
    fn draw(&self, page: &mut Page) {
        for gone in &self.registrations {
            page.line(format!(
                "deregistered {} on {} ({})",
                gone.spiffe_id, gone.node, gone.id
            ));
        }
    }
}

/// All nodes.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct NodesView {
    nodes: Vec<NodeRow>,
}

#[derive(Debug, Serialize)]
struct NodeRow {
    node: String,
    node_id: u32,
    connected: bool,
    addresses: Vec<String>,
    session_port: u32,
    pod_cidrs: Vec<String>,
    svid_not_after: i64,
    revision: u64,
    banned: bool,
    /// In the operator's words; empty where it is not banned.
    ban_reason: String,
}

impl NodesView {
    /// The nodes, and those beside them that are kept out.
    pub(crate) fn new(answer: ListNodesResponse, revocations: &[RevocationEntry]) -> Self {
        let bans = revocations.iter().filter_map(|entry| entry.revocation.as_ref());
        let mut bans: BTreeMap<_, _> = bans
            .filter(|revocation| revocation.banned)
            .filter_map(|revocation| match &revocation.subject {
                Some(Subject::Node(name)) => Some((name.clone(), revocation)),
                Some(Subject::Serial(_) | Subject::SpiffeId(_) | Subject::Authority(_)) | None => None,
            })
            .collect();
        let row = |entry: Entry| {
            let node = entry.node.unwrap_or_default();
            let ban = bans.remove(&node.name);
            NodeRow {
                banned: ban.is_some(),
                ban_reason: ban.map(|ban| ban.reason.clone()).unwrap_or_default(),
                node: node.name,
                node_id: node.id,
                connected: entry.connected,
                addresses: node.addresses,
                session_port: node.session_port,
                pod_cidrs: node.pod_cidrs,
                svid_not_after: entry.svid_not_after,
                revision: entry.revision,
            }
        };
        let mut nodes: Vec<_> = answer.nodes.into_iter().map(row).collect();
        // A ban outlasts the node, and may come before it.
        nodes.extend(bans.into_iter().map(|(node, ban)| NodeRow {
            node,
            node_id: ban.node_id,
            connected: false,
            addresses: Vec::new(),
            session_port: 0,
            pod_cidrs: Vec::new(),
            svid_not_after: 0,
            revision: 0,
            banned: true,
            ban_reason: ban.reason.clone(),
        }));
        Self { nodes }
    }
}

impl View for NodesView {
    fn draw(&self, page: &mut Page) {
        let mut table = Table::new([
            "NODE",
            "ID",
            "STATE",
            "ADDRESSES",
            "POD CIDRS",
            "SVID EXPIRES",
            "REVISION",
            "BECAUSE",
        ]);
        for node in &self.nodes {
            let state = if node.banned {
                Cell::toned("banned", Tone::Bad)
            } else if node.connected {
                Cell::toned("connected", Tone::Good)
            } else {
                Cell::toned("away", Tone::Bad)
            };
            table.row([
                node.node.as_str().into(),
                node.node_id.into(),
                state,
                text::dash(&node.addresses.join(", ")).into(),
                text::dash(&node.pod_cidrs.join(", ")).into(),
                match node.svid_not_after {
                    0 => "-".into(),
                    end => text::when(end, page.now()).into(),
                },
                node.revision.into(),
                text::dash(&node.ban_reason).into(),
            ]);
        }
        page.table(table, "no nodes: `signet ca token` lets one attest");
    }
}

/// All identities, as the CA has numbered them.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct IdentitiesView {
    identities: Vec<IdentityRow>,
}

#[derive(Debug, Serialize)]
struct IdentityRow {
    identity: u32,
    spiffe_id: String,
}

impl From<ListIdentitiesResponse> for IdentitiesView {
    fn from(answer: ListIdentitiesResponse) -> Self {
        let identities = answer.identities.into_iter();
        let row = |known: signet_proto::view::v1::Identity| IdentityRow {
            identity: known.number,
            spiffe_id: known.spiffe_id,
        };
        Self {
            identities: identities.map(row).collect(),
        }
    }
}

impl View for IdentitiesView {
    fn draw(&self, page: &mut Page) {
        let mut table = Table::new(["IDENTITY", "SPIFFE ID"]);
        for identity in &self.identities {
            table.row([identity.identity.into(), identity.spiffe_id.as_str().into()]);
        }
        page.table(table, "no identities");
    }
}

#[cfg(test)]
mod tests {
    use signet_proto::view::v1::{Node, Revocation};

    use super::*;

    #[test]
    fn a_node_that_is_away_is_told_from_one_that_is_connected_and_from_one_that_is_banned() {
        let entry = |name: &str, connected| Entry {
            node: Some(Node {
                name: name.into(),
                id: 1,
                ..Node::default()
            }),
            connected,
            svid_not_after: 60,
            revision: 3,
        };
        let ban = |node: &str| RevocationEntry {
            revocation: Some(Revocation {
                subject: Some(Subject::Node(node.into())),
                banned: true,
                reason: "stolen".into(),
                node_id: 4,
                ..Revocation::default()
            }),
            ..RevocationEntry::default()
        };
        let nodes = vec![entry("n1", true), entry("n2", false), entry("n3", true)];
        let view = NodesView::new(ListNodesResponse { nodes }, &[ban("n3"), ban("n4")]);
        let mut page = Page::new(0, false);
        view.draw(&mut page);
        let expected = "\
NODE  ID  STATE      ADDRESSES  POD CIDRS  SVID EXPIRES  REVISION  BECAUSE
n1    1   connected  -          -          in 1m00s      3         -
n2    1   away       -          -          in 1m00s      3         -
n3    1   banned     -          -          in 1m00s      3         stolen
n4    4   banned     -          -          -             0         stolen
";
        assert_eq!(page.finish(), expected);
    }

    #[test]
    fn a_token_stands_alone_so_that_it_can_go_into_a_file() {
        let mut page = Page::new(0, false);
        let view = TokenView {
            node: "n1".into(),
            token: "secret".into(),
            expires: 600,
        };
        view.draw(&mut page);
        assert_eq!(page.finish(), "secret\n");
        assert!(view.hint(0).starts_with("for node n1, once, expires in 10m00s"));
    }
}
