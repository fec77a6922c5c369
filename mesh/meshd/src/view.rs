//! The agent's messages, gathered into a view. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use signet_abi::{NodeId, SecurityIdentity};
use signet_endpoints::{Cidr, Node, View};
use signet_policy::Identities;
use signet_proto::view::v1 as wire;
use signet_proto::view::v1::revocation::Subject;
use signet_spiffe::{NodeName, SpiffeId, TrustDomain};
use thiserror::Error;

/// Most nodes that are kept.
const MAX_NODES: usize = 16_384;
/// Most identities that are kept.
const MAX_IDENTITIES: usize = 262_144;
/// Most addresses and CIDRs of one node.
const MAX_PER_NODE: usize = 64;

/// Why an update cannot be used. The view before it stays.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum UpdateError {
    /// A change, where nothing is known yet that it could change.
    #[error("signet-agent sent a change before a snapshot")]
    NoSnapshot,
    /// Another node's view.
    #[error("signet-agent runs as node {agent}, signet-meshd as {own}: give both the same --node")]
    OtherNode {
        /// What the agent says.
        agent: String,
        /// What we say.
        own: NodeName,
    },
}

/// What stands behind a SPIFFE ID.
#[derive(Debug)]
struct Identity {
    number: SecurityIdentity,
    nodes: BTreeSet<NodeName>,
}

/// Gathers updates.
#[derive(Debug)]
pub(crate) struct ViewBuilder {
    own: NodeName,
    known: bool,
    trust_domain: Option<TrustDomain>,
    nodes: BTreeMap<NodeName, Node>,
    identities: BTreeMap<SpiffeId, Identity>,
    encrypted: bool,
    closed: BTreeMap<SpiffeId, String>,
    banned: BTreeMap<NodeName, String>,
}

impl ViewBuilder {
    pub(crate) fn new(own: NodeName) -> Self {
        Self {
            own,
            known: false,
            trust_domain: None,
            nodes: BTreeMap::new(),
            identities: BTreeMap::new(),
            encrypted: false,
            closed: BTreeMap::new(),
            banned: BTreeMap::new(),
        }
    }

    /// Takes an update in. Parts that cannot be are left out, and so have no rights; they are returned in words.
    pub(crate) fn apply(&mut self, update: &wire::Update) -> Result<Vec<String>, UpdateError> {
        if update.snapshot {
            if !update.self_node.is_empty() && update.self_node != self.own.as_str() {
                return Err(UpdateError::OtherNode {
                    agent: update.self_node.clone(),
                    own: self.own.clone(),
                });
            }
            *self = Self {
                known: true,
                ..Self::new(self.own.clone())
            };
        } else if !self.known {
            return Err(UpdateError::NoSnapshot);
        }
        let mut refused = Vec::new();
        if let Some(bundle) = &update.bundle {
            match TrustDomain::parse(&bundle.trust_domain) {
                Ok(trust_domain) => self.trust_domain = Some(trust_domain),
                Err(error) => refused.push(format!("trust domain {:?}: {error}", bundle.trust_domain)),
            }
        }
        if let Some(cluster) = &update.cluster {
            self.encrypted = match cluster.encryption() {
                wire::EncryptionMode::Wireguard => true,
                wire::EncryptionMode::Unspecified | wire::EncryptionMode::Off => false,
            };
        }
        for name in &update.removed_nodes {
            self.nodes.retain(|known, _| known.as_str() != name);
        }
        for id in &update.removed_identities {
            self.identities.retain(|known, _| known.as_str() != id);
        }
        for node in &update.nodes {
            if let Err(why) = self.node(node) {
                refused.push(format!("node {:?}: {why}", node.name));
            }
        }
        for identity in &update.identities {
            if let Err(why) = self.identity(identity) {
                refused.push(format!("identity {:?}: {why}", identity.spiffe_id));
            }
        }
        for revocation in &update.revocations {
            self.revocation(revocation);
        }
        Ok(refused)
    }

    /// Explanations alone rest on it: what cannot be read is left out.
    fn revocation(&mut self, revocation: &wire::Revocation) {
        let reason = || revocation.reason.clone();
        match &revocation.subject {
            Some(Subject::SpiffeId(text)) => {
                let Ok(id) = SpiffeId::parse(text) else { return };
                if !revocation.closed {
                    self.closed.remove(&id);
                } else if self.closed.len() < MAX_IDENTITIES {
                    self.closed.insert(id, reason());
                }
            }
            Some(Subject::Node(text)) => {
                let Ok(name) = NodeName::parse(text) else { return };
                if !revocation.banned {
                    self.banned.remove(&name);
                } else if self.banned.len() < MAX_NODES {
                    self.banned.insert(name, reason());
                }
            }
            Some(Subject::Serial(_) | Subject::Authority(_)) | None => {}
        }
    }

    fn node(&mut self, node: &wire::Node) -> Result<(), String> {
        let name = NodeName::parse(&node.name).map_err(|error| error.to_string())?;
        let id = NodeId(node.id);
        if id == NodeId::NONE {
            return Err("0 is no node's number".to_owned());
        }
        if self
            .nodes
            .iter()
            .any(|(other, known)| *other != name && known.id == id)
        {
            return Err(format!("number {} is another node's", node.id));
        }
        if self.nodes.len() >= MAX_NODES && !self.nodes.contains_key(&name) {
            return Err(format!("there are {MAX_NODES} already"));
        }
        let addresses = node
            .addresses
            .iter()
            .take(MAX_PER_NODE)
            .map(|text| text.parse::<IpAddr>());
        let pod_cidrs = node
            .pod_cidrs
            .iter()
            .take(MAX_PER_NODE)
            .map(|text| Cidr::parse(text));
        let node = Node {
            id,
            addresses: addresses
                .collect::<Result<_, _>>()
                .map_err(|error| error.to_string())?,
            pod_cidrs: pod_cidrs
                .collect::<Result<_, _>>()
                .map_err(|error| error.to_string())?,
        };
        self.nodes.insert(name, node);
        Ok(())
    }

    fn identity(&mut self, identity: &wire::Identity) -> Result<(), String> {
        let id = SpiffeId::parse(&identity.spiffe_id).map_err(|error| error.to_string())?;
        let number = SecurityIdentity(identity.number);
        if !number.is_workload() {
            return Err(format!("{} is a reserved number", identity.number));
        }
        if self.identities.len() >= MAX_IDENTITIES && !self.identities.contains_key(&id) {
            return Err(format!("there are {MAX_IDENTITIES} already"));
        }
        let nodes = identity.nodes.iter().take(MAX_NODES);
        let nodes = nodes.map(|name| NodeName::parse(name));
        let nodes = nodes
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())?;
        self.identities.insert(id, Identity { number, nodes });
        Ok(())
    }

    /// What is known now; `None` before the first snapshot.
    pub(crate) fn view(&self) -> Option<View> {
        let mut identities = self.trust_domain.clone().map(Identities::new).unwrap_or_default();
        let mut places = BTreeMap::new();
        for (id, identity) in &self.identities {
            identities.insert(id.clone(), identity.number);
            places.insert(id.clone(), identity.nodes.clone());
        }
        self.known.then(|| View {
            nodes: self.nodes.clone(),
            identities,
            places,
            encrypted: self.encrypted,
            closed: self.closed.clone(),
            banned: self.banned.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder() -> ViewBuilder {
        ViewBuilder::new(NodeName::parse("n1").unwrap())
    }

    fn node(name: &str, id: u32) -> wire::Node {
        wire::Node {
            name: name.into(),
            id,
            addresses: vec!["192.0.2.1".into()],
            session_port: 4250,
            pod_cidrs: vec!["10.244.1.0/24".into()],
        }
    }

    fn snapshot() -> wire::Update {
        wire::Update {
            snapshot: true,
            self_node: "n1".into(),
            nodes: vec![node("n1", 1), node("n2", 2)],
            identities: vec![wire::Identity {
                spiffe_id: "spiffe://a/x".into(),
                number: 256,
                nodes: vec!["n2".into()],
            }],
            bundle: Some(wire::TrustBundle {
                trust_domain: "a".into(),
                ..Default::default()
            }),
            cluster: Some(wire::Cluster {
                encryption: wire::EncryptionMode::Wireguard.into(),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn nothing_is_known_before_the_first_snapshot() {
        let mut builder = builder();
        assert_eq!(builder.view(), None);
        let change = wire::Update {
            snapshot: false,
            ..snapshot()
        };
        assert_eq!(builder.apply(&change), Err(UpdateError::NoSnapshot));
        assert_eq!(builder.view(), None);
    }

    #[test]
    fn changes_add_to_and_take_from_the_snapshot() {
        let mut builder = builder();
        assert_eq!(builder.apply(&snapshot()), Ok(vec![]));
        let change = wire::Update {
            removed_nodes: vec!["n2".into()],
            removed_identities: vec!["spiffe://a/x".into()],
            nodes: vec![node("n3", 3)],
            identities: vec![wire::Identity {
                spiffe_id: "spiffe://a/y".into(),
                number: 257,
                nodes: Vec::new(),
            }],
            ..Default::default()
        };
        assert_eq!(builder.apply(&change), Ok(vec![]));
        let view = builder.view().unwrap();
        assert_eq!(
            view.nodes.keys().map(NodeName::as_str).collect::<Vec<_>>(),
            ["n1", "n3"]
        );
        assert_eq!(
            view.identities.number(&SpiffeId::parse("spiffe://a/x").unwrap()),
            None
        );
        assert_eq!(
            view.identities.number(&SpiffeId::parse("spiffe://a/y").unwrap()),
            Some(SecurityIdentity(257))
        );
        assert_eq!(view.identities.trust_domain().map(TrustDomain::as_str), Some("a"));
        assert!(view.encrypted, "what was not said again stays");
    }

    #[test]
    fn an_identity_is_taken_from_one_of_its_nodes_and_stays_on_the_other() {
        let mut builder = builder();
        builder.apply(&snapshot()).unwrap();
        let x = SpiffeId::parse("spiffe://a/x").unwrap();
        let on = |builder: &ViewBuilder, node| {
            let view = builder.view().unwrap();
            view.number_on(&x, &NodeName::parse(node).unwrap())
        };
        let places = |nodes: &[&str]| wire::Update {
            identities: vec![wire::Identity {
                spiffe_id: "spiffe://a/x".into(),
                number: 256,
                nodes: nodes.iter().map(ToString::to_string).collect(),
            }],
            ..Default::default()
        };
        builder.apply(&places(&["n1", "n2"])).unwrap();
        assert_eq!(on(&builder, "n1"), Some(SecurityIdentity(256)));
        builder.apply(&places(&["n2"])).unwrap();
        assert_eq!(
            (on(&builder, "n1"), on(&builder, "n2")),
            (None, Some(SecurityIdentity(256)))
        );
    }

    #[test]
    fn a_snapshot_replaces_everything() {
        let mut builder = builder();
        builder.apply(&snapshot()).unwrap();
        let smaller = wire::Update {
            nodes: vec![node("n1", 1)],
            cluster: None,
            ..snapshot()
        };
        builder.apply(&smaller).unwrap();
        let view = builder.view().unwrap();
        assert_eq!((view.nodes.len(), view.encrypted), (1, false));
    }

    #[test]
    fn who_is_kept_out_is_known_until_it_is_lifted() {
        let mut builder = builder();
        builder.apply(&snapshot()).unwrap();
        let row = |subject, standing| wire::Revocation {
            subject: Some(subject),
            closed: standing,
            banned: standing,
            reason: "stolen".into(),
            ..wire::Revocation::default()
        };
        let rows = |standing| wire::Update {
            revocations: vec![
                row(Subject::Node("n2".into()), standing),
                row(Subject::SpiffeId("spiffe://a/x".into()), standing),
                row(Subject::Serial(vec![1]), standing),
                row(Subject::Node("N!".into()), standing),
            ],
            ..Default::default()
        };
        builder.apply(&rows(true)).unwrap();
        let view = builder.view().unwrap();
        assert_eq!((view.closed.len(), view.banned.len()), (1, 1));
        assert_eq!(view.banned.values().next().map(String::as_str), Some("stolen"));
        builder.apply(&rows(false)).unwrap();
        let view = builder.view().unwrap();
        assert!(view.closed.is_empty() && view.banned.is_empty());
    }

    #[test]
    fn another_nodes_view_is_refused() {
        let mut builder = builder();
        builder.apply(&snapshot()).unwrap();
        let other = wire::Update {
            self_node: "n2".into(),
            nodes: vec![],
            ..snapshot()
        };
        assert!(
            builder
                .apply(&other)
                .unwrap_err()
                .to_string()
                .contains("give both the same --node")
        );
        assert_eq!(builder.view().unwrap().nodes.len(), 2);
    }

    #[test]
    fn parts_that_cannot_be_are_left_out_and_said() {
        let mut builder = builder();
        let mut update = snapshot();
        update.nodes.push(node("N!", 7));
        update.nodes.push(node("n4", 0));
        update.nodes.push(node("n5", 1));
        update.nodes.push(wire::Node {
            pod_cidrs: vec!["10.0.0.1/8".into()],
            ..node("n6", 6)
        });
        update.identities.push(wire::Identity {
            spiffe_id: "spiffe://a/host".into(),
            number: 1,
            nodes: Vec::new(),
        });
        update.identities.push(wire::Identity {
            spiffe_id: "x".into(),
            number: 300,
            nodes: Vec::new(),
        });
        update.identities.push(wire::Identity {
            spiffe_id: "spiffe://a/z".into(),
            number: 301,
            nodes: vec!["N!".into()],
        });
        let refused = builder.apply(&update).unwrap();
        assert_eq!(refused.len(), 7, "{refused:?}");
        let view = builder.view().unwrap();
        assert_eq!((view.nodes.len(), view.identities.iter().count()), (2, 1));
    }
}
