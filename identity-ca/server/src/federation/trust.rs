//! Which endpoints are believed (Federation §5.2).

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use signet_federation::{Profile, Relationship};
use signet_registry::StorageError;
use signet_spiffe::{BundleSet, SpiffeId, TrustDomain};
use signet_tls::{BundleSource as _, Expect, FixedBundles, TlsError, client_config};

use crate::ca::Ca;

/// Why no endpoint can be believed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrustError {
    #[error(
        "there is no bundle of {0} yet to check the endpoint's SVID with; make the relationship with a first one (--bundle)"
    )]
    NoBundle(TrustDomain),
    #[error(
        "the system trusts no certificate authority; install ca-certificates, or name a CA file (--web-ca)"
    )]
    NoSystem,
    #[error("a certificate of the CA file cannot be used: {0}")]
    Authority(#[source] rustls::Error),
    #[error("TLS could not be set up: {0}")]
    Config(#[source] rustls::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// How to connect to the endpoint of a relationship. Nothing of us is shown there: there is no client authentication
/// (§5.2).
pub(crate) async fn trust(ca: &Ca, relationship: &Relationship) -> Result<Arc<ClientConfig>, TrustError> {
    let mut config = match relationship.profile() {
        Profile::HttpsWeb { .. } => web(relationship)?,
        Profile::HttpsSpiffe { endpoint } => {
            let bundles = bundles(ca, endpoint).await?;
            let expect = Expect::Exactly(endpoint.clone());
            client_config(None, Arc::new(FixedBundles::new(bundles)), expect)?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    config.time_provider = Arc::new(ca.clock.clone());
    Ok(Arc::new(config))
}

/// By name (RFC 6125), as browsers do it; TLS 1.2 too, since endpoints may be anybody's web servers.
fn web(relationship: &Relationship) -> Result<ClientConfig, TrustError> {
    let mut roots = RootCertStore::empty();
    match relationship.web_authorities() {
        Some(authorities) => {
            for authority in authorities {
                roots.add(authority).map_err(TrustError::Authority)?;
            }
        }
        None => {
            // Some that cannot be read do not make the others worse.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(TrustError::NoSystem);
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(TrustError::Config)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// What the endpoint's SVID is checked with: the bundle of its own trust domain, and no other. An endpoint of the trust
/// domain that it serves is checked with what came from there last (§5.2.2.4).
async fn bundles(ca: &Ca, endpoint: &SpiffeId) -> Result<BundleSet, TrustError> {
    let trust_domain = endpoint.trust_domain();
    if trust_domain == ca.trust_domain() {
        return Ok(BundleSet::clone(&ca.bundles.bundles()));
    }
    let stored = ca.registry.federated(trust_domain).await?;
    let bundle = stored
        .and_then(|stored| stored.document)
        .and_then(|document| document.bundle().x509.clone())
        .ok_or_else(|| TrustError::NoBundle(trust_domain.clone()))?;
    Ok(BundleSet::single(bundle))
}
