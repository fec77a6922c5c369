//! The CA's own SVID: made at the start, renewed at half its life.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use signet_authority::{IssuedSvid, RequestError, RequestedKey};
use signet_rotation::AuthorityId;
use signet_spiffe::KeyId;
use signet_tls::{BundleSource, ClientAuth, Expect, SvidKeyPair, TlsError, server_config_with};
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{error, info, warn};
use zeroize::Zeroizing;

use crate::authorities::Current;
use crate::ca::Ca;

/// Pause after a failed renewal.
const RETRY: Duration = Duration::from_secs(5);

/// The same of an SVID by an earlier authority.
const RETRY_FORMER: Duration = Duration::from_mins(1);

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
    /// Whether who asks for the signature of an earlier authority gets an SVID with it, for as long as what that one signed counts.
    pub(crate) formers: bool,
}

impl Shows {
    /// Nodes, some of which have no SVID yet, and CAs below this one, which are workloads. Each call says whom it is for.
    pub(crate) fn to_nodes(ca: &Ca) -> Self {
        Self {
            expect: Expect::AnyInTrustDomain(ca.trust_domain().clone()),
            client: ClientAuth::Optional,
            formers: true,
        }
    }

    /// The earlier authorities of which there shall be SVIDs.
    fn formers(&self, current: &Current) -> Vec<AuthorityId> {
        if self.formers {
            current.formers()
        } else {
            Vec::new()
        }
    }
}

/// What the server shows.
pub(crate) struct Shown {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) renew_in: Duration,
    pub(crate) signer: AuthorityId,
    /// The earlier authorities of which it has SVIDs as well, or tried to.
    pub(crate) formers: Vec<AuthorityId>,
}

/// Makes a new key and SVID for the server, and the TLS configuration that shows it.
pub(crate) async fn make(
    ca: &Ca,
    bundles: &Arc<dyn BundleSource>,
    shows: &Shows,
) -> Result<Shown, OwnSvidError> {
    let own = identity(ca).await?;
    let formers = shows.formers(&ca.signing.latest());
    let mut renew_in = own.renew_in;
    let mut others = Vec::with_capacity(formers.len());
    for former in &formers {
        match by_former(ca, former).await {
            Ok(Some((signer, other))) => {
                renew_in = renew_in.min(other.renew_in);
                others.push((signer, other.pair));
            }
            Ok(None) => {}
            // Those that know the present one, which are nearly all, do not wait for a device that has the other one's key.
            Err(error) => {
                warn!(authority.id = %former, %error, "no SVID of an earlier authority for nodes that were away");
                renew_in = renew_in.min(RETRY_FORMER);
            }
        }
    }
    let (expect, client) = (shows.expect.clone(), shows.client);
    let mut config = server_config_with(&own.pair, &others, Arc::clone(bundles), expect, client)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.time_provider = Arc::new(ca.clock.clone());
    Ok(Shown {
        config: Arc::new(config),
        renew_in,
        signer: own.signer,
        formers,
    })
}

/// An SVID of the CA itself by an earlier authority, and its name.
async fn by_former(ca: &Ca, former: &AuthorityId) -> Result<Option<(KeyId, OwnSvid)>, OwnSvidError> {
    let Ok(signer) = former.as_str().parse() else {
        return Ok(None);
    };
    let (key, requested) = request()?;
    let issued = ca.issue_own_by_former(&requested, former).await;
    let svid = issued.map_err(OwnSvidError::Issue)?;
    Ok(svid.map(|svid| (signer, OwnSvid::new(ca, &key, svid, former.clone()))))
}

/// A new key, and an SVID of the CA itself for it.
pub(crate) async fn identity(ca: &Ca) -> Result<OwnSvid, OwnSvidError> {
    let (key, requested) = request()?;
    let (svid, signer) = ca.issue_own(&requested).await.map_err(OwnSvidError::Issue)?;
    Ok(OwnSvid::new(ca, &key, svid, signer))
}

fn request() -> Result<(Zeroizing<KeyPair>, RequestedKey), OwnSvidError> {
    let key = Zeroizing::new(KeyPair::generate()?);
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&*key)?;
    let requested = RequestedKey::from_request(request.der())?;
    Ok((key, requested))
}

impl OwnSvid {
    fn new(ca: &Ca, key: &KeyPair, svid: IssuedSvid, signer: AuthorityId) -> Self {
        let left = svid.not_after.as_secs().saturating_sub(ca.clock.now().as_secs());
        info!(
            svid.serial = %svid.serial, svid.not_after = svid.not_after.as_secs(), authority.id = %signer,
            "the CA's own SVID is new"
        );
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Self {
            pair: SvidKeyPair {
                chain: svid.chain,
                key,
            },
            renew_in: Duration::from_secs(left) / 2,
            signer,
        }
    }
}

/// Waits until an SVID is due: so long, or until another authority signs, as what the old one signed may not count for long.
pub(crate) async fn due(ca: &Ca, pause: Duration, signer: &AuthorityId) {
    due_or(ca, pause, signer, |_| false).await;
}

/// The same, or until something else has changed of the authorities.
async fn due_or(ca: &Ca, pause: Duration, signer: &AuthorityId, changed: impl Fn(&Current) -> bool) {
    let mut authorities = ca.signing.watch();
    let another = authorities.wait_for(|current| {
        current
            .signing()
            .is_ok_and(|active| active.id != *signer || changed(current))
    });
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
        mut formers,
        ..
    } = first;
    loop {
        // Of one that is tainted there is none any more, at once.
        due_or(&ca, renew_in, &signer, |current| {
            shows.formers(current) != formers
        })
        .await;
        match make(&ca, &bundles, &shows).await {
            Ok(new) => {
                config.send_replace(new.config);
                renew_in = new.renew_in.max(Duration::from_secs(1));
                signer = new.signer;
                formers = new.formers;
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
    use signet_registry::Registry;
    use signet_rotation::{AuthorityKind, Enough};
    use signet_spiffe::UnixTime;

    use super::*;
    use crate::config::MAX_NODE_SVID_TTL;
    use crate::testing;

    async fn rotate(ca: &Ca, registry: &Registry) -> AuthorityId {
        let before = ca.signing.latest().signing().unwrap().id.clone();
        ca.prepare(registry, AuthorityKind::X509).await.unwrap();
        let (enough, now) = (Enough::Acknowledged, ca.clock.now());
        let done = registry.activate_authority(AuthorityKind::X509, None, Duration::ZERO, enough, now, false);
        done.await.unwrap();
        ca.authorities().await.unwrap();
        before
    }

    #[tokio::test]
    async fn what_a_former_authority_shows_of_the_ca_does_not_outlive_what_else_it_signed() {
        let ca = testing::ca().await;
        let first = rotate(&ca, &ca.registry).await;
        let current = ca.signing.latest();
        assert_eq!(current.formers(), std::slice::from_ref(&first));
        let ceased = ca.clock.now();
        let left = |after: Duration| {
            let at = UnixTime::since_unix_epoch(Duration::from_secs(ceased.as_secs()) + after);
            current
                .former(&first, MAX_NODE_SVID_TTL, at)
                .map(|(_, left)| left)
        };
        let second = Duration::from_secs(2);
        let whole = left(Duration::ZERO).unwrap();
        assert!(whole <= MAX_NODE_SVID_TTL && whole + second >= MAX_NODE_SVID_TTL);
        let half_an_hour = Duration::from_mins(30);
        assert!(left(MAX_NODE_SVID_TTL.saturating_sub(half_an_hour)).unwrap() <= half_an_hour);
        assert_eq!(left(MAX_NODE_SVID_TTL.saturating_sub(second)), None);
        assert_eq!(left(MAX_NODE_SVID_TTL * 2), None);
        let (_, requested) = request().unwrap();
        let svid = ca.issue_own_by_former(&requested, &first).await.unwrap().unwrap();
        assert!(svid.not_after.as_secs() <= ceased.as_secs() + ca.svid_ttl.as_secs() + 2);
        // The one that signs is none of them, nor are more than a few.
        let active = current.signing().unwrap().id.clone();
        assert!(
            ca.issue_own_by_former(&requested, &active)
                .await
                .unwrap()
                .is_none()
        );
        for _ in 0..5 {
            rotate(&ca, &ca.registry).await;
        }
        let formers = ca.signing.latest().formers();
        assert_eq!(formers.len(), 4, "{formers:?}");
        assert!(!formers.contains(&first), "the last of them first");
    }

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
