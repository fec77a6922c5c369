//! What a server is started with.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use signet_spiffe::TrustDomain;

use crate::attestation::AttestationConfig;
use crate::authorities::{Rotation, Upstream};
use crate::bundle_endpoint::{BundleEndpoint, JwtIssuer};
use crate::clock::Clock;
use crate::database::Database;
use crate::keys::KeyOptions;
use crate::operators::Operations;

/// Shortest life of an SVID.
pub const MIN_SVID_TTL: Duration = Duration::from_secs(10);

/// Longest life of an SVID: no longer than the quarantine of identity numbers, so that no proof outlives its number.
pub const MAX_SVID_TTL: Duration = signet_registry::QUARANTINE;

/// Longest life of a node's SVID. Numbers of nodes are never given to others, so there is no quarantine to be shorter than.
pub const MAX_NODE_SVID_TTL: Duration = Duration::from_hours(7 * 24);

/// Longest life of a JWT-SVID.
pub const MAX_JWT_SVID_TTL: Duration = signet_authority::MAX_JWT_SVID_LIFE;

/// Longest life of an authority.
pub const ROOT_LIFE: Duration = Duration::from_hours(10 * 365 * 24);

/// Where key and registry live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// In memory: a restart begins a new trust domain under the old name.
    Memory,
    /// In this directory, made with mode 0700 where it is missing.
    Directory(PathBuf),
    /// The key in the directory, the registry elsewhere.
    Database {
        /// As above.
        directory: PathBuf,
        /// Where the registry is.
        database: Database,
    },
}

impl Storage {
    /// Whether other CAs may use the registry at the same time.
    pub(crate) fn is_shared(&self) -> bool {
        match self {
            Self::Database { database, .. } => matches!(database, Database::Postgres(_)),
            Self::Memory | Self::Directory(_) => false,
        }
    }
}

/// What a server is started with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Whose CA it is.
    pub trust_domain: TrustDomain,
    /// Where key and registry live.
    pub storage: Storage,
    /// Who signs the CA's authorities.
    pub upstream: Upstream,
    /// Where the private keys live.
    pub keys: KeyOptions,
    /// How authorities come and go.
    pub rotation: Rotation,
    /// Where agents connect.
    pub listen: SocketAddr,
    /// The operator's Unix socket.
    pub socket: PathBuf,
    /// Life of SVIDs where nothing else is said, [`MIN_SVID_TTL`] to [`MAX_SVID_TTL`].
    pub svid_ttl: Duration,
    /// Life of nodes' own SVIDs, [`MIN_SVID_TTL`] to [`MAX_NODE_SVID_TTL`]: an outage of the CA that lasts half as long ends
    /// no node.
    pub node_svid_ttl: Duration,
    /// Life of JWT-SVIDs, [`MIN_SVID_TTL`] to [`MAX_JWT_SVID_TTL`]; shorter for a registration whose SVIDs are.
    pub jwt_svid_ttl: Duration,
    /// How long SVIDs should outlast the CA at least: agents renew so early where the life of an SVID allows it. Zero: at half of
    /// their lives.
    pub availability_target: Duration,
    /// Where Prometheus finds metrics.
    pub metrics: Option<SocketAddr>,
    /// Whether to go on although the registry is not the one that this CA signed checkpoints of: somebody put it back on purpose.
    pub accept_restored_registry: bool,
    /// Where others get the trust domain's bundle; none: nowhere but from the operator.
    pub bundle_endpoint: Option<BundleEndpoint>,
    /// How nodes may attest beside join tokens.
    pub attestation: AttestationConfig,
    /// What JWT-SVIDs have as `iss`, if anything.
    pub jwt_issuer: Option<JwtIssuer>,
    /// How it is operated.
    pub operations: Operations,
    /// What time it is.
    pub clock: Clock,
}

impl Config {
    /// A CA that nobody was told more about: on a port of loopback that is free, without metrics, bundle endpoint, remote operators or
    /// audit stream, with the lives that `signet-ca run` has where its options say nothing. What is to be otherwise is put before it:
    /// `Config { svid_ttl, ..Config::new(…) }`.
    #[must_use]
    pub fn new(trust_domain: TrustDomain, storage: Storage, socket: impl Into<PathBuf>) -> Self {
        Self {
            trust_domain,
            storage,
            upstream: Upstream::None,
            keys: KeyOptions::default(),
            rotation: Rotation::default(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            socket: socket.into(),
            svid_ttl: Duration::from_hours(1),
            node_svid_ttl: Duration::from_hours(24),
            jwt_svid_ttl: Duration::from_mins(5),
            availability_target: Duration::ZERO,
            metrics: None,
            accept_restored_registry: false,
            bundle_endpoint: None,
            attestation: AttestationConfig::default(),
            jwt_issuer: None,
            operations: Operations::default(),
            clock: Clock::system(),
        }
    }
}
