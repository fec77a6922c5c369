//! The CA's own SVID: made at the start, renewed at half its life.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use signet_authority::{IssueError, IssuedSvid, RequestError, RequestedKey};
use signet_log::Caller;
use signet_registry::AppendError;
use signet_spiffe::SpiffeId;
use signet_tls::{BundleSource, ClientAuth, Expect, SvidKeyPair, TlsError, server_config};
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{error, info};
use zeroize::Zeroizing;

use crate::ca::Ca;
use crate::random::RandomError;

/// Pause after a failed renewal.
const RETRY: Duration = Duration::from_secs(5);

/// Why there is no SVID for the server itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OwnSvidError {
    #[error("the server's key could not be made: {0}")]
    Key(#[from] rcgen::Error),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Random(#[from] RandomError),
    #[error("the server's SVID could not be issued: {0}")]
    Issue(#[from] IssueError),
    #[error("the server's SVID could not be logged: {0}")]
    Append(#[from] AppendError),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Makes a new key and SVID for the server, and the TLS configuration that shows it. Also says when to renew.
pub(crate) async fn make(
    ca: &Ca,
    bundles: &Arc<dyn BundleSource>,
) -> Result<(Arc<ServerConfig>, Duration), OwnSvidError> {
    let (identity, svid) = identity(ca).await?;
    let nodes = Expect::AnyNode(ca.trust_domain().clone());
    let mut config = server_config(&identity, Arc::clone(bundles), nodes, ClientAuth::Optional)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.time_provider = Arc::new(ca.clock.clone());
    let left = svid.not_after.as_secs().saturating_sub(ca.clock.now().as_secs());
    info!(
        svid.serial = %svid.serial, svid.not_after = svid.not_after.as_secs(), "the CA's own SVID is new"
    );
    Ok((Arc::new(config), Duration::from_secs(left) / 2))
}

/// A new key, and an SVID of the CA itself for it.
pub(crate) async fn identity(ca: &Ca) -> Result<(SvidKeyPair, IssuedSvid), OwnSvidError> {
    let key = Zeroizing::new(KeyPair::generate()?);
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&*key)?;
    let requested = RequestedKey::from_request(request.der())?;
    let id = SpiffeId::ca(ca.trust_domain());
    let now = ca.clock.now();
    let svid = ca
        .authority
        .issue(&requested, &id, ca.svid_ttl, ca.serial(now, None)?, now)?;
    ca.log.issued(&svid, Caller::Ca, None, None, now).await?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Ok((
        SvidKeyPair {
            chain: svid.chain.clone(),
            key,
        },
        svid,
    ))
}

/// Renews for ever. Connections that are open keep what they were opened with.
pub(crate) async fn renew(
    ca: Arc<Ca>,
    bundles: Arc<dyn BundleSource>,
    config: watch::Sender<Arc<ServerConfig>>,
    first: Duration,
) {
    let mut pause = first;
    loop {
        sleep(pause).await;
        pause = match make(&ca, &bundles).await {
            Ok((new, next)) => {
                config.send_replace(new);
                next.max(Duration::from_secs(1))
            }
            Err(error) => {
                error!(%error, "failed to renew the CA's own SVID");
                RETRY
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[tokio::test]
    async fn the_server_s_svid_is_renewed_again_and_again() {
        let ca = testing::ca().await;
        let bundles: Arc<dyn BundleSource> = ca.bundles.clone();
        let (first, renew_in) = make(&ca, &bundles).await.unwrap();
        assert_eq!(renew_in, Duration::from_mins(30));
        tokio::time::pause();
        let (config, mut current) = watch::channel(Arc::clone(&first));
        let renewal = tokio::spawn(renew(ca, bundles, config, renew_in));
        let mut last = first;
        for _ in 0..3 {
            current.changed().await.unwrap();
            let new = Arc::clone(&current.borrow_and_update());
            assert!(!Arc::ptr_eq(&last, &new));
            last = new;
        }
        renewal.abort();
    }
}
