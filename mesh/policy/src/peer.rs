//! Who is at the other end.

use std::fmt;

use signet_abi::SecurityIdentity;
use signet_spiffe::SpiffeId;

use crate::identities::Identities;
use crate::name::{Name, Namespace};

/// Whom a rule names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Workloads of a service account, in this trust domain.
    Workload {
        /// Its namespace.
        namespace: Namespace,
        /// Its service account.
        service_account: Name,
    },
    /// Workloads with this SPIFFE ID.
    SpiffeId(SpiffeId),
    /// A reserved meaning.
    Entity(Entity),
}

/// Peers that are named by what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entity {
    /// Everyone.
    All,
    /// Addresses outside the cluster.
    World,
    /// This node.
    Host,
    /// The other nodes.
    RemoteNode,
    /// Workloads without a registration.
    Unmanaged,
    /// The ingress gateway.
    Ingress,
    /// Everyone but the world.
    Cluster,
}

impl Entity {
    /// All of them, in the order of the documentation.
    pub const EVERY: [Self; 7] = [
        Self::All,
        Self::World,
        Self::Host,
        Self::RemoteNode,
        Self::Unmanaged,
        Self::Ingress,
        Self::Cluster,
    ];

    /// The name that policies use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::World => "world",
            Self::Host => "host",
            Self::RemoteNode => "remote-node",
            Self::Unmanaged => "unmanaged",
            Self::Ingress => "ingress",
            Self::Cluster => "cluster",
        }
    }

    /// The entity of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::EVERY.into_iter().find(|entity| entity.name() == name)
    }

    /// The one identity that it stands for; `None` where it stands for many.
    pub(crate) const fn identity(self) -> Option<SecurityIdentity> {
        match self {
            Self::World => Some(SecurityIdentity::WORLD),
            Self::Host => Some(SecurityIdentity::HOST),
            Self::RemoteNode => Some(SecurityIdentity::REMOTE_NODE),
            Self::Unmanaged => Some(SecurityIdentity::UNMANAGED),
            Self::Ingress => Some(SecurityIdentity::INGRESS),
            Self::All | Self::Cluster => None,
        }
    }
}

impl Peer {
    /// Whether an identity is one of those that the peer names. A SPIFFE ID without a number names nobody.
    pub fn matches(&self, identity: SecurityIdentity, identities: &Identities) -> bool {
        match self {
            Self::Entity(Entity::All) => true,
            Self::Entity(Entity::Cluster) => identity != SecurityIdentity::WORLD,
            Self::Entity(
                one @ (Entity::World
                | Entity::Host
                | Entity::RemoteNode
                | Entity::Unmanaged
                | Entity::Ingress),
            ) => one.identity() == Some(identity),
            Self::Workload { .. } | Self::SpiffeId(_) => self.number(identities) == Some(identity),
        }
    }

    /// The one identity that the peer names; `None` for many, or where it is not registered.
    pub fn number(&self, identities: &Identities) -> Option<SecurityIdentity> {
        match self {
            Self::Entity(entity) => entity.identity(),
            Self::Workload {
                namespace,
                service_account,
            } => identities.number(&identities.workload(namespace, service_account)?),
            Self::SpiffeId(id) => identities.number(id),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workload {
                namespace,
                service_account,
            } => write!(f, "workload {namespace}/{service_account}"),
            Self::SpiffeId(id) => write!(f, "{id}"),
            Self::Entity(entity) => write!(f, "entity {}", entity.name()),
        }
    }
}
