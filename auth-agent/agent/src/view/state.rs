//! The view as values, and how an update changes them. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use signet_abi::SecurityIdentity;
use signet_attest::RequiredSelectors;
use signet_proto::view::v1 as wire;
use signet_session::NodeNumber;
use signet_spiffe::{
    BundleSet, DnsName, Hint, JwtBundleSet, KeyType, NodeName, SpiffeBundle, SpiffeId, TrustDomain,
    VerifiedSvid, WitBundleSet, X509Bundle,
};

use super::error::ViewError;
use super::parse;
use super::revoked::RevocationTable;
use super::tainted::Tainted;

/// How far a view is, and on which history of the CA's registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The resume point.
    pub revision: u64,
    /// Of the revision; empty: none.
    pub mark: Vec<u8>,
}

/// A node of the trust domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// Its number.
    pub number: NodeNumber,
    /// Where its agent listens, best first.
    pub addresses: Vec<IpAddr>,
    /// The TCP port there.
    pub session_port: u16,
    /// CIDRs of its workloads.
    pub pod_cidrs: Vec<String>,
}

impl Node {
    /// Where to dial it; none before it has announced an address.
    pub fn dial(&self) -> Option<SocketAddr> {
        let port = if self.session_port == 0 {
            4250
        } else {
            self.session_port
        };
        self.addresses
            .first()
            .map(|address| SocketAddr::new(*address, port))
    }
}

/// Says which workloads of this node have a SPIFFE ID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// UUID.
    pub id: String,
    /// The identity.
    pub spiffe_id: SpiffeId,
    /// Its number.
    pub identity: SecurityIdentity,
    /// What a workload must be to have it.
    pub selectors: RequiredSelectors,
    /// Other trust domains whose bundles such workloads get.
    pub federates_with: BTreeSet<TrustDomain>,
    /// What the identity is for.
    pub hint: Option<Hint>,
    /// What its certificates are like.
    pub certificates: CertificateTerms,
    /// Life of its JWT-SVIDs, seconds; 0: the CA's default.
    pub jwt_ttl: u32,
    /// A workload's identities are in this order.
    pub ordinal: u64,
}

/// What X.509-SVIDs of a registration are like: one that was issued on other terms is to be replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateTerms {
    /// Kind of key, which is made here.
    pub key_type: KeyType,
    /// Hosts that they also speak for. The CA puts them in.
    pub dns_names: Vec<DnsName>,
    /// Life, seconds; 0: the CA's default.
    pub ttl: u32,
}

/// What stands behind a SPIFFE ID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) number: SecurityIdentity,
    /// Where it is registered.
    pub(super) nodes: BTreeSet<NodeName>,
}

/// The cluster-wide toggle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// Plaintext between nodes.
    Off,
    /// `WireGuard` between nodes.
    WireGuard,
}

/// What the node knows of the trust domain, at one revision.
#[derive(Clone, Debug)]
pub struct View {
    pub(super) position: Position,
    /// Goes up whenever numbers may mean others than before.
    pub(super) numbering: u64,
    pub(super) self_name: NodeName,
    pub(super) trust_domain: TrustDomain,
    pub(super) nodes: BTreeMap<NodeName, Arc<Node>>,
    pub(super) node_names: BTreeMap<NodeNumber, NodeName>,
    pub(super) identities: BTreeMap<SpiffeId, Identity>,
    pub(super) spiffe_ids: BTreeMap<SecurityIdentity, SpiffeId>,
    pub(super) registrations: BTreeMap<String, Arc<Registration>>,
    /// For workloads: without the revocations.
    pub(super) published: Arc<BundleSet>,
    /// For our own verification: with them.
    pub(super) bundles: Arc<BundleSet>,
    pub(super) jwt_bundles: Arc<JwtBundleSet>,
    /// Of other trust domains, for workloads alone: nothing of ours is verified against them.
    pub(super) foreign: Arc<BundleSet>,
    pub(super) foreign_jwt: Arc<JwtBundleSet>,
    /// The same as they came.
    pub(super) foreign_documents: Arc<BTreeMap<TrustDomain, wire::ForeignBundle>>,
    pub(super) wit_bundles: Arc<WitBundleSet>,
    pub(super) foreign_wit: Arc<WitBundleSet>,
    pub(super) revocations: Arc<RevocationTable>,
    pub(super) tainted: Arc<Tainted>,
    pub(super) bundle: wire::TrustBundle,
    pub(super) encryption: Encryption,
    pub(super) availability_target: Duration,
}

impl View {
    /// The view that a snapshot describes, for the node `own` of `trust_domain`, which knows of these revocations already.
    pub fn from_snapshot(
        own: &NodeName,
        trust_domain: &TrustDomain,
        revocations: &Arc<RevocationTable>,
        update: &wire::Update,
    ) -> Result<Self, ViewError> {
        if !update.snapshot {
            return Err(ViewError::NoSnapshot);
        }
        if update.self_node != own.as_str() {
            return Err(ViewError::OtherNode(update.self_node.clone()));
        }
        let bundle = update.bundle.clone().ok_or(ViewError::Missing("trust bundle"))?;
        let cluster = update.cluster.ok_or(ViewError::Missing("cluster settings"))?;
        let empty = Self {
            position: Position::default(),
            numbering: 0,
            self_name: own.clone(),
            trust_domain: trust_domain.clone(),
            nodes: BTreeMap::new(),
            node_names: BTreeMap::new(),
            identities: BTreeMap::new(),
            spiffe_ids: BTreeMap::new(),
            registrations: BTreeMap::new(),
            jwt_bundles: Arc::new(parse::jwt_bundles(trust_domain, &bundle)?),
            published: Arc::new(parse::bundles(trust_domain, &bundle)?),
            foreign: Arc::default(),
            foreign_jwt: Arc::default(),
            foreign_documents: Arc::default(),
            wit_bundles: Arc::new(parse::wit_bundles(trust_domain, &bundle)?),
            foreign_wit: Arc::default(),
            bundles: Arc::default(),
            revocations: revocations.clone(),
            tainted: Arc::new(Tainted::of(&bundle)),
            bundle,
            encryption: parse::encryption(cluster),
            availability_target: parse::availability_target(cluster),
        };
        Ok(empty.changed(update)?.with_revocations(revocations.clone()))
    }

    /// The view after a change; this one stays as it is.
    pub fn apply(&self, update: &wire::Update) -> Result<Self, ViewError> {
        if update.snapshot {
            let mut view =
                Self::from_snapshot(&self.self_name, &self.trust_domain, &self.revocations, update)?;
            view.numbering += self.numbering;
            return Ok(view);
        }
        let revocations = self.revocations.clone();
        Ok(self.clone().changed(update)?.with_revocations(revocations))
    }

    /// The same view with other revocations.
    #[must_use]
    pub fn with_revocations(mut self, revocations: Arc<RevocationTable>) -> Self {
        let bundles = BundleSet::clone(&self.published);
        self.bundles = Arc::new(bundles.with_revocations(revocations.set().clone()));
        let keys = JwtBundleSet::clone(&self.jwt_bundles);
        self.jwt_bundles = Arc::new(keys.with_revocations(revocations.set().clone()));
        let keys = WitBundleSet::clone(&self.wit_bundles);
        self.wit_bundles = Arc::new(keys.with_revocations(revocations.set().clone()));
        self.revocations = revocations;
        self
    }

    fn changed(mut self, update: &wire::Update) -> Result<Self, ViewError> {
        for name in &update.removed_nodes {
            let name = parse::node_name(name)?;
            if let Some(node) = self.nodes.remove(&name) {
                self.node_names.remove(&node.number);
            }
        }
        for text in &update.removed_identities {
            if let Some(identity) = self.identities.remove(&parse::spiffe_id(text)?) {
                self.spiffe_ids.remove(&identity.number);
            }
        }
        for id in &update.removed_registrations {
            self.registrations.remove(id);
        }
        for node in &update.nodes {
            self.set_node(parse::node(node)?)?;
        }
        for identity in &update.identities {
            let (spiffe_id, identity) = parse::identity(identity)?;
            self.set_identity(spiffe_id, identity)?;
        }
        for registration in &update.registrations {
            if registration.node == self.self_name.as_str() {
                let registration = parse::registration(registration)?;
                self.registrations
                    .insert(registration.id.clone(), Arc::new(registration));
            }
        }
        if let Some(bundle) = &update.bundle {
            self.published = Arc::new(parse::bundles(&self.trust_domain, bundle)?);
            self.jwt_bundles = Arc::new(parse::jwt_bundles(&self.trust_domain, bundle)?);
            self.wit_bundles = Arc::new(parse::wit_bundles(&self.trust_domain, bundle)?);
            self.tainted = Arc::new(Tainted::of(bundle));
            self.bundle = bundle.clone();
        }
        self.change_foreign(update)?;
        if let Some(cluster) = update.cluster {
            self.encryption = parse::encryption(cluster);
            self.availability_target = parse::availability_target(cluster);
        }
        self.numbering += u64::from(update.reset);
        self.position = Position {
            revision: update.revision,
            mark: update.mark.clone(),
        };
        Ok(self)
    }

    /// A bundle that cannot be read is as good as none, for its own trust domain alone: what others publish must not keep
    /// this node from learning the rest.
    fn change_foreign(&mut self, update: &wire::Update) -> Result<(), ViewError> {
        if update.foreign_bundles.is_empty() && update.removed_foreign_bundles.is_empty() {
            return Ok(());
        }
        let foreign = Arc::make_mut(&mut self.foreign);
        let foreign_jwt = Arc::make_mut(&mut self.foreign_jwt);
        let documents = Arc::make_mut(&mut self.foreign_documents);
        let foreign_wit = Arc::make_mut(&mut self.foreign_wit);
        for name in &update.removed_foreign_bundles {
            let trust_domain = parse::trust_domain(name)?;
            foreign.remove(&trust_domain);
            foreign_jwt.remove(&trust_domain);
            documents.remove(&trust_domain);
            foreign_wit.remove(&trust_domain);
        }
        for bundle in &update.foreign_bundles {
            let trust_domain = parse::trust_domain(&bundle.trust_domain)?;
            foreign.remove(&trust_domain);
            foreign_jwt.remove(&trust_domain);
            foreign_wit.remove(&trust_domain);
            if trust_domain == self.trust_domain {
                return Err(ViewError::OwnAsForeign);
            }
            documents.insert(trust_domain.clone(), bundle.clone());
            match SpiffeBundle::from_jwks(&trust_domain, &bundle.document) {
                Ok(read) => {
                    if let Some(x509) = read.x509 {
                        foreign.insert(x509);
                    }
                    foreign_jwt.insert(read.jwt);
                    foreign_wit.insert(read.wit);
                }
                Err(error) => {
                    tracing::error!(foreign.trust.domain = %trust_domain, %error, "a federated bundle cannot be read");
                }
            }
        }
        Ok(())
    }

    fn set_node(&mut self, node: Node) -> Result<(), ViewError> {
        if let Some(owner) = self
            .node_names
            .get(&node.number)
            .filter(|owner| **owner != node.name)
        {
            let (first, second) = (owner.to_string(), node.name.to_string());
            return Err(ViewError::Conflict {
                what: "node number",
                number: node.number.get(),
                first,
                second,
            });
        }
        if let Some(before) = self.nodes.get(&node.name) {
            self.node_names.remove(&before.number);
        }
        self.node_names.insert(node.number, node.name.clone());
        self.nodes.insert(node.name.clone(), Arc::new(node));
        Ok(())
    }

    fn set_identity(&mut self, id: SpiffeId, identity: Identity) -> Result<(), ViewError> {
        let number = identity.number;
        if let Some(owner) = self.spiffe_ids.get(&number).filter(|owner| **owner != id) {
            let (first, second) = (owner.to_string(), id.to_string());
            return Err(ViewError::Conflict {
                what: "security identity",
                number: number.0,
                first,
                second,
            });
        }
        if let Some(before) = self.identities.insert(id.clone(), identity) {
            self.spiffe_ids.remove(&before.number);
        }
        self.spiffe_ids.insert(number, id);
        Ok(())
    }

    /// How far the view is.
    pub fn revision(&self) -> u64 {
        self.position.revision
    }

    /// The resume point.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Goes up whenever the CA cannot vouch that numbers of identities mean what they meant before. 0 in the first view of
    /// an agent's life means that they are still those of the agent's last life.
    pub fn numbering(&self) -> u64 {
        self.numbering
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// This node's name.
    pub fn self_name(&self) -> &NodeName {
        &self.self_name
    }

    /// This node; none while the CA does not count it among the attested.
    pub fn own(&self) -> Option<&Arc<Node>> {
        self.nodes.get(&self.self_name)
    }

    /// All nodes by name.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.values()
    }

    /// A node by its name.
    pub fn node(&self, name: &NodeName) -> Option<&Arc<Node>> {
        self.nodes.get(name)
    }

    /// A node by its number.
    pub fn node_by_number(&self, number: NodeNumber) -> Option<&Arc<Node>> {
        self.nodes.get(self.node_names.get(&number)?)
    }

    /// The number of a SPIFFE ID.
    pub fn identity(&self, id: &SpiffeId) -> Option<SecurityIdentity> {
        self.identities.get(id).map(|identity| identity.number)
    }

    /// Whether a node may prove to be this identity: whether it is registered there.
    pub fn is_registered_on(&self, id: &SpiffeId, node: &NodeName) -> bool {
        self.identities
            .get(id)
            .is_some_and(|identity| identity.nodes.contains(node))
    }

    /// The SPIFFE ID of a number.
    pub fn spiffe_id(&self, identity: SecurityIdentity) -> Option<&SpiffeId> {
        self.spiffe_ids.get(&identity)
    }

    /// This node's registrations by id.
    pub fn registrations(&self) -> impl Iterator<Item = &Arc<Registration>> {
        self.registrations.values()
    }

    /// One of this node's registrations.
    pub fn registration(&self, id: &str) -> Option<&Arc<Registration>> {
        self.registrations.get(id)
    }

    /// Whether workloads of this node may have the identity.
    pub fn is_registered_here(&self, id: &SpiffeId) -> bool {
        self.registrations
            .values()
            .any(|registration| registration.spiffe_id == *id)
    }

    /// What SVIDs are verified against: what is revoked does not verify.
    pub fn bundles(&self) -> &Arc<BundleSet> {
        &self.bundles
    }

    /// What JWT-SVIDs are verified against: what is revoked does not verify.
    pub fn jwt_bundles(&self) -> &Arc<JwtBundleSet> {
        &self.jwt_bundles
    }

    /// What WIT-SVIDs are verified against: what is revoked does not verify.
    pub fn wit_bundles(&self) -> &Arc<WitBundleSet> {
        &self.wit_bundles
    }

    /// The WIT bundles of other trust domains, for workloads.
    pub fn foreign_wit_bundles(&self) -> &Arc<WitBundleSet> {
        &self.foreign_wit
    }

    /// The X.509 bundles for workloads, which are not told of revocations.
    pub fn published_bundles(&self) -> &Arc<BundleSet> {
        &self.published
    }

    /// The X.509 bundles of other trust domains, for workloads.
    pub fn foreign_bundles(&self) -> &Arc<BundleSet> {
        &self.foreign
    }

    /// The JWT bundles of other trust domains, for workloads.
    pub fn foreign_jwt_bundles(&self) -> &Arc<JwtBundleSet> {
        &self.foreign_jwt
    }

    /// What is revoked.
    pub fn revocations(&self) -> &Arc<RevocationTable> {
        &self.revocations
    }

    /// Authorities whose work is to be replaced at once.
    pub fn tainted(&self) -> &Arc<Tainted> {
        &self.tainted
    }

    /// The bundle of this trust domain, as it came.
    pub fn wire_bundle(&self) -> &wire::TrustBundle {
        &self.bundle
    }

    /// The authorities that our own CA named as its own, as names of keys; none where it is too old to.
    pub fn node_signers(&self) -> &[String] {
        &self.bundle.node_signers
    }

    /// Whether our own CA has signed an SVID. In a trust domain with CAs below one another each admits nodes of its own, under names of
    /// its own: another one's node of a name is not the one that this view has under it.
    pub fn is_of_our_ca(&self, svid: &VerifiedSvid) -> bool {
        let signers = self.node_signers();
        let signer = svid.signer().map(ToString::to_string);
        signers.is_empty() || signer.is_some_and(|signer| signers.contains(&signer))
    }

    /// The bundle of this trust domain.
    pub fn bundle(&self) -> Option<&X509Bundle> {
        self.bundles.get(&self.trust_domain)
    }

    /// The toggle.
    pub fn encryption(&self) -> Encryption {
        self.encryption
    }

    /// How long SVIDs should outlast the CA at least; zero: nobody has said.
    pub fn availability_target(&self) -> Duration {
        self.availability_target
    }

    /// The cluster's settings on the wire.
    pub fn cluster(&self) -> wire::Cluster {
        let mode = match self.encryption {
            Encryption::Off => wire::EncryptionMode::Off,
            Encryption::WireGuard => wire::EncryptionMode::Wireguard,
        };
        wire::Cluster {
            encryption: mode.into(),
            availability_target: u32::try_from(self.availability_target.as_secs()).unwrap_or(u32::MAX),
        }
    }

    /// This view as a snapshot for the node's other daemons: without registrations.
    pub fn snapshot(&self) -> wire::Update {
        wire::Update {
            revision: self.position.revision,
            snapshot: true,
            nodes: self
                .nodes
                .values()
                .map(|node| parse::node_to_wire(node))
                .collect(),
            identities: self
                .identities
                .iter()
                .map(|(id, identity)| wire::Identity {
                    spiffe_id: id.to_string(),
                    number: identity.number.0,
                    nodes: identity.nodes.iter().map(ToString::to_string).collect(),
                })
                .collect(),
            bundle: Some(self.bundle.clone()),
            cluster: Some(self.cluster()),
            self_node: self.self_name.to_string(),
            revocations: self.revocations.standing(),
            ..wire::Update::default()
        }
    }
}
