//! What is published of the authorities.

use signet_log::Hash;
use signet_rotation::{AuthorityKind, REFRESH_HINT};
use signet_spiffe::{JwtBundle, SpiffeBundle, TrustDomain, X509Bundle};

use super::row::{self, StoredAuthority};
use crate::database::{StorageError, Write};
use crate::settings;
use crate::sql::Connection;

/// The trust domain's own bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedBundle {
    /// X.509 authorities.
    pub x509: X509Bundle,
    /// JWT keys.
    pub jwt: JwtBundle,
    /// Goes up with every change of the content (Trust Domain and Bundle §4.1.1).
    pub sequence: u64,
    /// Equal where the content is.
    pub mark: String,
}

const CORRUPT: StorageError = StorageError::Corrupt {
    column: "authorities.public",
};

impl PublishedBundle {
    /// In SPIFFE's format.
    pub fn to_jwks(&self) -> Result<String, StorageError> {
        jwks(&self.x509, &self.jwt, Some(self.sequence))
    }
}

fn jwks(x509: &X509Bundle, jwt: &JwtBundle, sequence: Option<u64>) -> Result<String, StorageError> {
    let bundle = SpiffeBundle {
        x509: Some(x509.clone()),
        jwt: jwt.clone(),
        sequence,
        refresh_hint: Some(REFRESH_HINT),
    };
    bundle.to_jwks().map_err(|_| CORRUPT)
}

/// Nothing while there is no X.509 authority.
fn parts(
    trust_domain: &TrustDomain,
    all: &[StoredAuthority],
) -> Result<Option<(X509Bundle, JwtBundle)>, StorageError> {
    let published = || all.iter().filter(|one| one.life.state.is_published());
    let mut anchors = Vec::new();
    let mut keys = Vec::new();
    for one in published() {
        match one.life.kind {
            // What others trust is where the chain ends.
            AuthorityKind::X509 => anchors.push(one.chain()?.pop().ok_or(CORRUPT)?),
            AuthorityKind::Jwt => {
                let set = JwtBundle::from_jwks(trust_domain.clone(), one.jwks()?);
                keys.extend(set.map_err(|_| CORRUPT)?.keys().iter().cloned());
            }
        }
    }
    // Several may have one root above them.
    let mut once = Vec::with_capacity(anchors.len());
    for anchor in anchors {
        if !once.contains(&anchor) {
            once.push(anchor);
        }
    }
    if once.is_empty() {
        return Ok(None);
    }
    let x509 = X509Bundle::new(trust_domain.clone(), once).map_err(|_| CORRUPT)?;
    let jwt = JwtBundle::new(trust_domain.clone(), keys).map_err(|_| CORRUPT)?;
    Ok(Some((x509, jwt)))
}

/// What was published last of these.
pub(super) async fn published(
    connection: &mut Connection,
    all: &[StoredAuthority],
) -> Result<Option<PublishedBundle>, StorageError> {
    let Some(trust_domain) = settings::trust_domain(connection).await? else {
        return Ok(None);
    };
    let Some((x509, jwt)) = parts(&trust_domain, all)? else {
        return Ok(None);
    };
    let Some((sequence, mark)) = settings::bundle(connection).await? else {
        return Ok(None);
    };
    Ok(Some(PublishedBundle {
        x509,
        jwt,
        sequence,
        mark,
    }))
}

/// Notes what the bundle is now, and tells its sequence: a higher one if the content is another.
pub(super) async fn publish(write: &mut Write<'_>) -> Result<u64, StorageError> {
    let all = row::all(write.connection()).await?;
    let trust_domain = settings::trust_domain(write.connection()).await?;
    let trust_domain = trust_domain.ok_or(StorageError::Corrupt {
        column: "settings.trust_domain",
    })?;
    let (x509, jwt) = parts(&trust_domain, &all)?.ok_or(CORRUPT)?;
    let mark = Hash::sha256(jwks(&x509, &jwt, None)?.as_bytes()).to_string();
    settings::note_bundle(write, &mark).await
}
