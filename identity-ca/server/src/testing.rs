//! A CA without sockets, for unit tests.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use signet_authority::{Authority, Serial, SigningKey};
use signet_registry::Registry;
use signet_spiffe::{BundleSet, TrustDomain};
use tokio_util::sync::CancellationToken;

use crate::ca::Ca;
use crate::clock::Clock;
use crate::config::ROOT_LIFE;
use crate::connected::Connected;

/// Of the trust domain `td`, in memory.
pub(crate) async fn ca() -> Arc<Ca> {
    let clock = Clock::system();
    let domain = TrustDomain::parse("td").unwrap();
    let key = SigningKey::generate().unwrap();
    let authority =
        Authority::create(domain, key, Serial::from_random([1; 16]), clock.now(), ROOT_LIFE).unwrap();
    Arc::new(Ca {
        bundles: Arc::new(BundleSet::single(authority.bundle().clone())),
        authority,
        registry: Registry::in_memory().await.unwrap(),
        connected: Connected::default(),
        clock,
        svid_ttl: Duration::from_hours(1),
        key_storage: "memory".to_owned(),
        issued: AtomicU64::new(0),
        shutdown: CancellationToken::new(),
    })
}
