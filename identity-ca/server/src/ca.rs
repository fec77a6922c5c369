//! What the calls share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

use signet_proto::ca::v1::OutageBudget;
use signet_registry::Registry;
use signet_spiffe::{TrustDomain, UnixTime};
use signet_telemetry::Throttle;
use signet_tls::SharedBundles;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use crate::attestation::Attestors;
use crate::audit::Audit;
use crate::authorities::Signing;
use crate::authorities::Upstream;
use crate::clock::Clock;
use crate::connected::Connected;
use crate::fitness::Fitness;
use crate::keys::Keys;
use crate::known::Known;
use crate::log::Log;
use crate::nested::{Followers, Link};
use crate::operators::Operations;
use crate::revoke::ListsForAll;
use crate::sync::Feed;

/// What the calls share. There is one, in an `Arc`.
#[derive(Debug)]
pub(crate) struct Ca {
    pub(crate) trust_domain: TrustDomain,
    pub(crate) signing: Signing,
    /// Its private keys, and what they are sealed under.
    pub(crate) keys: Keys,
    /// Who signs its authorities.
    pub(crate) upstream: Upstream,
    /// The way to the one above, where that is another Signet CA.
    pub(crate) link: Option<Arc<Link>>,
    pub(crate) registry: Registry,
    pub(crate) log: Log,
    pub(crate) known: Known,
    /// What nodes are checked against: the trust domain's own bundle, and what is revoked.
    pub(crate) bundles: Arc<SharedBundles>,
    /// Held from reading the revocations or the authorities until `bundles` has them: who reads earlier must not write later.
    pub(crate) honouring: Mutex<()>,
    /// Goes up whenever `bundles` has other revocations.
    pub(crate) honoured: watch::Sender<u64>,
    /// The last revocation lists that were signed for all.
    pub(crate) lists_for_all: Mutex<Option<ListsForAll>>,
    /// What was last told of how long the CA may be gone, and when.
    pub(crate) outage: Mutex<Option<(UnixTime, OutageBudget)>>,
    pub(crate) connected: Connected,
    /// Streams of CAs below this one.
    pub(crate) followers: Followers,
    pub(crate) feed: Feed,
    pub(crate) clock: Clock,
    pub(crate) svid_ttl: Duration,
    pub(crate) node_svid_ttl: Duration,
    pub(crate) jwt_svid_ttl: Duration,
    /// For people: "memory" or the directory.
    pub(crate) key_storage: String,
    /// SVIDs issued since the start.
    pub(crate) issued: AtomicU64,
    /// How nodes are admitted.
    pub(crate) attestors: Attestors,
    /// Of what is logged of nodes that were refused: everybody can be one.
    pub(crate) refused_tokens: Throttle,
    /// JWT-SVIDs issued since the start.
    pub(crate) issued_jwt: AtomicU64,
    /// Counts serial numbers of one second.
    pub(crate) serials: AtomicU32,
    /// What is written down of calls and changes.
    pub(crate) audit: Audit,
    /// Who may operate it.
    pub(crate) operations: Operations,
    /// Of what is written down of calls that were refused: of operators, and of nodes and strangers.
    pub(crate) refused_operators: Throttle,
    pub(crate) refused_calls: Throttle,
    /// Whether nodes are better off with another CA.
    pub(crate) fitness: Fitness,
    /// Ends the streams.
    pub(crate) shutdown: CancellationToken,
}

impl Ca {
    pub(crate) fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }
}
