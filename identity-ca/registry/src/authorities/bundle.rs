//! What is published of the authorities.

use rustls_pki_types::CertificateDer;
use signet_log::Hash;
use signet_rotation::{AuthorityKind, REFRESH_HINT};
use signet_spiffe::{
    JwtBundle, JwtKey, KeyId, MAX_JWT_KEYS, SpiffeBundle, TrustDomain, WitBundle, X509Bundle,
};

use super::row::{self, StoredAuthority};
use crate::database::{StorageError, Write};
use crate::nested::{self, Above, KeysBelow};
use crate::settings;
use crate::sql::{self, Connection};

/// The trust domain's own bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedBundle {
    /// X.509 authorities.
    pub x509: X509Bundle,
    /// JWT keys.
    pub jwt: JwtBundle,
    /// Keys that WIT-SVIDs are checked with; none where there are no WIT-SVIDs.
    pub wit: WitBundle,
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
        let parts = Parts {
            x509: self.x509.clone(),
            jwt: self.jwt.clone(),
            wit: self.wit.clone(),
        };
        parts.jwks(Some(self.sequence))
    }
}

/// A bundle's content.
struct Parts {
    x509: X509Bundle,
    jwt: JwtBundle,
    wit: WitBundle,
}

impl Parts {
    fn jwks(self, sequence: Option<u64>) -> Result<String, StorageError> {
        let bundle = SpiffeBundle {
            x509: Some(self.x509),
            jwt: self.jwt,
            wit: self.wit,
            sequence,
            refresh_hint: Some(REFRESH_HINT),
        };
        bundle.to_jwks().map_err(|_| CORRUPT)
    }
}

/// What is published beside what the CA's own authorities have.
struct Beside {
    above: Option<Above>,
    below: KeysBelow,
    /// X.509 authorities that are revoked: whatever says that they are above, nobody is told to trust them.
    revoked: Vec<KeyId>,
}

impl Beside {
    async fn look(connection: &mut Connection) -> Result<Self, StorageError> {
        let rows: Vec<(String,)> = sql::query_as("SELECT subject FROM revocations WHERE kind = 'authority'")
            .fetch_all(&mut *connection)
            .await?;
        Ok(Self {
            above: nested::above(connection).await?,
            below: nested::keys_below(connection).await?,
            revoked: rows.iter().filter_map(|(key,)| key.parse().ok()).collect(),
        })
    }

    fn may_be_trusted(&self, trust_domain: &TrustDomain, anchor: &CertificateDer<'static>) -> bool {
        let alone = X509Bundle::new(trust_domain.clone(), vec![anchor.clone()]);
        !alone.is_ok_and(|alone| alone.key_ids().any(|key| self.revoked.contains(key)))
    }
}

/// Nothing while there is no X.509 authority.
fn parts(
    trust_domain: &TrustDomain,
    all: &[StoredAuthority],
    beside: &Beside,
) -> Result<Option<Parts>, StorageError> {
    let published = || all.iter().filter(|one| one.life.state.is_published());
    let mut anchors = Vec::new();
    let (mut keys, mut wit_keys) = (Vec::new(), Vec::new());
    for one in published() {
        match one.life.kind {
            // What others trust is where the chain ends.
            AuthorityKind::X509 => anchors.push(one.chain()?.pop().ok_or(CORRUPT)?),
            AuthorityKind::Jwt => {
                let set = JwtBundle::from_jwks(trust_domain.clone(), one.jwks()?);
                keys.extend(set.map_err(|_| CORRUPT)?.keys().iter().cloned());
            }
            AuthorityKind::Wit => {
                let set = WitBundle::from_jwks(trust_domain.clone(), one.jwks()?);
                wit_keys.extend(set.map_err(|_| CORRUPT)?.keys().iter().cloned());
            }
        }
    }
    let (mut others, mut wit_others) = (beside.below.jwt.clone(), beside.below.wit.clone());
    if let Some(above) = &beside.above {
        anchors.extend(above.x509.authorities().iter().cloned());
        others.extend(above.jwt.keys().iter().cloned());
        wit_others.extend(above.wit.keys().iter().cloned());
    }
    add(&mut keys, others);
    add(&mut wit_keys, wit_others);
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
    let trusted: Vec<_> = once
        .iter()
        .filter(|anchor| beside.may_be_trusted(trust_domain, anchor))
        .cloned()
        .collect();
    // A bundle of nothing is none: where all are revoked it is said by the revocations alone.
    let once = if trusted.is_empty() { once } else { trusted };
    let x509 = X509Bundle::new(trust_domain.clone(), once).map_err(|_| CORRUPT)?;
    let jwt = JwtBundle::new(trust_domain.clone(), keys).map_err(|_| CORRUPT)?;
    let wit = WitBundle::new(trust_domain.clone(), wit_keys).map_err(|_| CORRUPT)?;
    Ok(Some(Parts { x509, jwt, wit }))
}

/// Those of others, as far as there is room, each once.
fn add(keys: &mut Vec<JwtKey>, others: Vec<JwtKey>) {
    for key in others {
        if keys.len() < MAX_JWT_KEYS && keys.iter().all(|known| known.id() != key.id()) {
            keys.push(key);
        }
    }
}

/// What was published last of these.
pub(super) async fn published(
    connection: &mut Connection,
    all: &[StoredAuthority],
) -> Result<Option<PublishedBundle>, StorageError> {
    let Some(trust_domain) = settings::trust_domain(&mut *connection).await? else {
        return Ok(None);
    };
    let beside = Beside::look(&mut *connection).await?;
    let Some(Parts { x509, jwt, wit }) = parts(&trust_domain, all, &beside)? else {
        return Ok(None);
    };
    let Some((sequence, mark)) = settings::bundle(connection).await? else {
        return Ok(None);
    };
    Ok(Some(PublishedBundle {
        x509,
        jwt,
        wit,
        sequence,
        mark,
    }))
}

/// Notes what the bundle is now, and tells its sequence: a higher one if the content is another.
pub(crate) async fn publish(write: &mut Write<'_>) -> Result<u64, StorageError> {
    let all = row::all(write.connection()).await?;
    let trust_domain = settings::trust_domain(write.connection()).await?;
    let trust_domain = trust_domain.ok_or(StorageError::Corrupt {
        column: "settings.trust_domain",
    })?;
    let beside = Beside::look(write.connection()).await?;
    let parts = parts(&trust_domain, &all, &beside)?.ok_or(CORRUPT)?;
    let mark = Hash::sha256(parts.jwks(None)?.as_bytes()).to_string();
    settings::note_bundle(write, &mark).await
}
