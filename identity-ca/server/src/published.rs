//! What the trust domain publishes of itself, in each form that it is asked for.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use signet_proto::view::v1::TrustBundle;
use signet_registry::{Registry, StorageError};
use signet_spiffe::{JwksError, JwtBundle, SpiffeBundle, X509Bundle};

use crate::hex;

/// How often others should ask for a newer bundle (Trust Domain and Bundle §4.1.2). Our own agents are told at once.
const REFRESH_HINT: Duration = Duration::from_mins(5);

/// The trust domain's bundle, written.
#[derive(Debug)]
pub(crate) struct Published {
    /// For agents.
    pub(crate) wire: TrustBundle,
    /// X.509 authorities and JWT keys in SPIFFE's format.
    pub(crate) spiffe: String,
    /// JWT keys alone.
    pub(crate) jwks: String,
}

/// Why there is nothing to publish.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishError {
    #[error("the trust bundle cannot be written: {0}")]
    Write(#[from] JwksError),
    #[error("the trust bundle's sequence cannot be kept: {0}")]
    Storage(#[from] StorageError),
}

impl Published {
    /// Writes the bundle. Its sequence goes up where its content is another one than at the last start (Trust Domain and
    /// Bundle §4.1.1), and agents that have the old one are then sent this one.
    pub(crate) async fn new(
        registry: &Registry,
        x509: &X509Bundle,
        jwt: &JwtBundle,
    ) -> Result<Self, PublishError> {
        let mut bundle = SpiffeBundle {
            x509: Some(x509.clone()),
            jwt: jwt.clone(),
            sequence: None,
            refresh_hint: Some(REFRESH_HINT),
        };
        let content = hex::encode(digest(&SHA256, bundle.to_jwks()?.as_bytes()).as_ref());
        let sequence = registry.publish_bundle(&content).await?;
        bundle.sequence = Some(sequence);
        let jwks = jwt.to_jwks();
        let authorities = x509.authorities().iter();
        Ok(Self {
            wire: TrustBundle {
                trust_domain: x509.trust_domain().to_string(),
                x509_authorities: authorities.map(|authority| authority.to_vec()).collect(),
                sequence,
                jwt_keys: jwks.clone().into_bytes(),
            },
            spiffe: bundle.to_jwks()?,
            jwks,
        })
    }
}
