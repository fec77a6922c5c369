//! The CA's own SVID: made at the start, renewed at half its life.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use signet_authority::{RequestError, RequestedKey};
use signet_rotation::AuthorityId;
use signet_tls::{BundleSource, ClientAuth, Expect, SvidKeyPair, TlsError, server_config};
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{error, info};
use zeroize::Zeroizing;

use crate::ca::Ca;

/// Pause after a failed renewal.
const RETRY: Duration = Duration::from_secs(5);

/// Why there is no SVID for the server itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OwnSvidError {
    #[error("the server's key could not be made: {0}")]
    Key(#[from] rcgen::Error),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("the server's SVID could not be issued: {0}")]
    Issue(String),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// An SVID of the CA itself, with its key.
pub(crate) struct OwnSvid {
    pub(crate) pair: SvidKeyPair,
    /// How long until it is to be renewed.
    pub(crate) renew_in: Duration,
    /// The authority that signed it.
    pub(crate) signer: AuthorityId,
}

/// To whom the SVID is shown.
#[derive(Debug, Clone)]
pub(crate) struct Shows {
    /// Who may come.
    pub(crate) expect: Expect,
    /// Whether they have to show who they are.
    pub(crate) client: ClientAuth,
}

impl Shows {
    /// Nodes, some of which have no SVID yet, and CAs below this one, which are workloads. Each call says whom it is for.
    pub(crate) fn to_nodes(ca: &Ca) -> Self {
        Self {
            expect: Expect::AnyInTrustDomain(ca.trust_domain().clone()),
            client: ClientAuth::Optional,
        }
    }
}

/// What the server shows.
pub(crate) struct Shown {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) renew_in: Duration,
    pub(crate) signer: AuthorityId,
}

/// Makes a new key and SVID for the server, and the TLS configuration that shows it.
pub(crate) async fn make(
    ca: &Ca,
    bundles: &Arc<dyn BundleSource>,
    shows: &Shows,
) -> Result<Shown, OwnSvidError> {
    let own = identity(ca).await?;
    let mut config = server_config(&own.pair, Arc::clone(bundles), shows.expect.clone(), shows.client)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.time_provider = Arc::new(ca.clock.clone());
    Ok(Shown {
        config: Arc::new(config),
        renew_in: own.renew_in,
        signer: own.signer,
    })
}

/// A new key, and an SVID of the CA itself for it.
pub(crate) async fn identity(ca: &Ca) -> Result<OwnSvid, OwnSvidError> {
    let key = Zeroizing::new(KeyPair::generate()?);
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&*key)?;
    let requested = RequestedKey::from_request(request.der())?;
    let (svid, signer) = ca.issue_own(&requested).await.map_err(OwnSvidError::Issue)?;
    let left = svid.not_after.as_secs().saturating_sub(ca.clock.now().as_secs());
    info!(
        svid.serial = %svid.serial, svid.not_after = svid.not_after.as_secs(), authority.id = %signer,
        "the CA's own SVID is new"
    );
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Ok(OwnSvid {
        pair: SvidKeyPair {
            chain: svid.chain,
            key,
        },
        renew_in: Duration::from_secs(left) / 2,
        signer,
    })
}

/// Waits until an SVID is due: so long, or until another authority signs, as what the old one signed may not count for long.
pub(crate) async fn due(ca: &Ca, pause: Duration, signer: &AuthorityId) {
    let mut authorities = ca.signing.watch();
    let another = authorities.wait_for(|current| current.signing().is_ok_and(|active| active.id != *signer));
    tokio::select! {
        () = sleep(pause) => {}
        _ = another => {}
    }
}

/// Renews for ever. Connections that are open keep what they were opened with.
pub(crate) async fn renew(
    ca: Arc<Ca>,
    bundles: Arc<dyn BundleSource>,
    shows: Shows,
    config: watch::Sender<Arc<ServerConfig>>,
    first: Shown,
) {
    let Shown {
        mut renew_in,
        mut signer,
        ..
    } = first;
    loop {
        due(&ca, renew_in, &signer).await;
        match make(&ca, &bundles, &shows).await {
            Ok(new) => {
                config.send_replace(new.config);
                renew_in = new.renew_in.max(Duration::from_secs(1));
                signer = new.signer;
            }
            Err(error) => {
                error!(%error, "failed to renew the CA's own SVID");
                // Also where another authority signs: it may be that which cannot be used.
                sleep(RETRY).await;
                renew_in = Duration::ZERO;
            }
        }
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
        let first = make(&ca, &bundles, &Shows::to_nodes(&ca)).await.unwrap();
        assert_eq!(first.renew_in, Duration::from_mins(30));
        tokio::time::pause();
        let mut last = Arc::clone(&first.config);
        let (config, mut current) = watch::channel(Arc::clone(&last));
        let renewal = tokio::spawn(renew(
            Arc::clone(&ca),
            bundles,
            Shows::to_nodes(&ca),
            config,
            first,
        ));
        for _ in 0..3 {
            current.changed().await.unwrap();
            let new = Arc::clone(&current.borrow_and_update());
            assert!(!Arc::ptr_eq(&last, &new));
            last = new;
        }
        renewal.abort();
    }
}
