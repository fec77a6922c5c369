//! A CA without sockets, for unit tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use signet_authority::{RequestedKey, Serial};
use signet_registry::Registry;
use signet_spiffe::{BundleSet, SpiffeId, TrustDomain, VerifiedSvid, verify_x509_svid};
use signet_telemetry::Throttle;
use signet_tls::{BundleSource, SharedBundles};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::attestation::Attestors;
use crate::audit::Audit;
use crate::authorities::{self, Maker, Rotation, Upstream};
use crate::ca::Ca;
use crate::clock::Clock;
use crate::connected::Connected;
use crate::fitness::Fitness;
use crate::keys::Keys;
use crate::known::Known;
use crate::limits::{TOLD, TOLD_PER};
use crate::log::{self, Log};
use crate::nested::Followers;
use crate::operators::Operations;
use crate::sync::Feed;

/// Of the trust domain `td`, in memory.
pub(crate) async fn ca() -> Arc<Ca> {
    let clock = Clock::system();
    let domain = TrustDomain::parse("td").unwrap();
    let registry = Registry::in_memory().await.unwrap();
    registry.bind_trust_domain(&domain).await.unwrap();
    let (writer, writing) = registry.log_writer();
    tokio::spawn(writing);
    let keys = Keys::in_memory();
    let key = log::key(&domain, &keys, None, &registry).await.unwrap();
    let maker = Maker {
        trust_domain: domain.clone(),
        manager: keys.manager(),
        rotation: Rotation::default(),
        upstream: Upstream::None,
        link: None,
    };
    let signing = authorities::begin(&registry, maker, None, None, clock.now())
        .await
        .unwrap();
    let bundle = signing.latest().bundle.x509.clone();
    Arc::new(Ca {
        log: Log::new(writer, key, None),
        known: Known::default(),
        bundles: Arc::new(SharedBundles::new(BundleSet::single(bundle))),
        honouring: tokio::sync::Mutex::default(),
        honoured: watch::Sender::new(0),
        lists_for_all: tokio::sync::Mutex::default(),
        trust_domain: domain,
        signing,
        keys,
        outage: tokio::sync::Mutex::default(),
        registry,
        upstream: Upstream::None,
        link: None,
        connected: Connected::default(),
        followers: Followers::default(),
        feed: Feed::default(),
        clock,
        svid_ttl: Duration::from_hours(1),
        node_svid_ttl: Duration::from_hours(24),
        jwt_svid_ttl: Duration::from_mins(5),
        key_storage: "memory".to_owned(),
        issued: AtomicU64::new(0),
        attestors: Attestors::default(),
        refused_tokens: Throttle::new(TOLD, TOLD_PER),
        issued_jwt: AtomicU64::new(0),
        serials: AtomicU32::new(0),
        audit: Audit::default(),
        operations: Operations::default(),
        refused_operators: Throttle::new(TOLD, TOLD_PER),
        refused_calls: Throttle::new(TOLD, TOLD_PER),
        fitness: Fitness::default(),
        shutdown: CancellationToken::new(),
    })
}

/// The SVID of the node `n1`.
pub(crate) fn node_svid(ca: &Ca) -> VerifiedSvid {
    let id = SpiffeId::parse("spiffe://td/signet/node/n1").unwrap();
    let request = CertificateParams::default()
        .serialize_request(&KeyPair::generate().unwrap())
        .unwrap();
    let key = RequestedKey::from_request(request.der()).unwrap();
    let (serial, life) = (Serial::from_random([2; 16]), Duration::from_hours(1));
    let current = ca.signing.latest();
    let svid = current
        .signing()
        .unwrap()
        .authority
        .issue(&key, &id, life, serial, ca.clock.now())
        .unwrap();
    verify_x509_svid(&svid.chain, &ca.bundles.bundles(), ca.clock.now()).unwrap()
}
