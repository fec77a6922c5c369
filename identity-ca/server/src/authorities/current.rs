//! The authorities as they are at one position of the registry.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use signet_authority::{
    Authority, AuthorityError, JwtAuthority, JwtSigningKey, KeyError, SigningKey, WitAuthority,
};
use signet_keys::{KeyManagerError, KeyRecord, RecordError, Signer};
use signet_proto::view::v1::TrustBundle;
use signet_registry::{Authorities, Position, PublishedBundle, StorageError, StoredAuthority};
use signet_rotation::{AuthorityId, AuthorityKind, State};
use signet_spiffe::{JwtBundleError, KeyId, TrustDomain, UnixTime};

/// Of how many earlier authorities the CA shows an SVID of its own at a time.
const MAX_FORMER: usize = 4;

/// What would live for less is not worth its making.
const SHORTEST_FORMER: Duration = Duration::from_mins(1);

/// All that signing and publishing need. A value never changes; there is another one after each step.
#[derive(Debug)]
pub(crate) struct Current {
    /// Where the registry was when the authorities last changed.
    pub(crate) position: Position,
    /// Rows, by kind, the oldest first.
    pub(crate) all: Vec<StoredAuthority>,
    /// Keys of all X.509 authorities that are published, whether this CA can open them or not.
    pub(crate) signers: Vec<KeyId>,
    /// X.509 authorities that are published and whose keys this CA can open.
    pub(crate) x509: Vec<Usable>,
    /// The JWT key that signs.
    jwt: Result<(AuthorityId, Arc<JwtAuthority>), String>,
    /// The WIT key that signs; in most trust domains there is none.
    wit: Result<Option<(AuthorityId, Arc<WitAuthority>)>, String>,
    /// Why the active X.509 authority cannot be used here.
    unusable: Option<String>,
    /// Why a key that signs could not be used if all that has keys were there: its manager is not set up.
    pub(crate) not_set_up: Option<String>,
    /// Whether a key could not be opened.
    pub(crate) lacks_keys: bool,
    pub(crate) bundle: PublishedBundle,
    /// For agents.
    pub(crate) wire: TrustBundle,
    /// X.509 authorities and JWT keys in SPIFFE's format.
    pub(crate) spiffe: String,
    /// JWT keys alone.
    pub(crate) jwks: String,
}

/// An X.509 authority with its key.
#[derive(Debug)]
pub(crate) struct Usable {
    pub(crate) id: AuthorityId,
    pub(crate) state: State,
    pub(crate) authority: Arc<Authority>,
}

/// Why an authority cannot be used here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnusableError {
    #[error("the registry has no key of it any more")]
    NoRecord,
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Manager(#[from] KeyManagerError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error(transparent)]
    Jwt(#[from] JwtBundleError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("there is no active {0} authority in the registry")]
    None(AuthorityKind),
}

impl UnusableError {
    /// What to set up, where it is that.
    fn not_set_up(&self) -> Option<String> {
        match self {
            Self::Manager(KeyManagerError::OtherManager { .. }) => Some(self.to_string()),
            Self::Manager(_)
            | Self::NoRecord
            | Self::Record(_)
            | Self::Key(_)
            | Self::Authority(_)
            | Self::Jwt(_)
            | Self::Storage(_)
            | Self::None(_) => None,
        }
    }
}

/// Opens keys by their records.
pub(crate) trait Opens {
    /// The key of this record.
    fn open(&self, record: &KeyRecord) -> Result<Arc<dyn Signer>, KeyManagerError>;
}

impl Current {
    /// Opens what there is. Blocks while keys are opened. Nothing where nothing is published yet.
    pub(crate) fn open(
        found: Authorities,
        position: Position,
        trust_domain: &TrustDomain,
        issuer: Option<&str>,
        keys: &dyn Opens,
    ) -> Result<Option<Self>, StorageError> {
        let Some(bundle) = found.bundle else {
            return Ok(None);
        };
        let mut x509 = Vec::new();
        let mut unusable = None;
        let mut lacks_keys = false;
        let mut not_set_up = None;
        let published =
            |one: &&StoredAuthority| one.life.kind == AuthorityKind::X509 && one.life.state.is_published();
        for one in found.all.iter().filter(published) {
            match open_x509(one, trust_domain, keys) {
                Ok(authority) => x509.push(Usable {
                    id: one.life.id.clone(),
                    state: one.life.state,
                    authority: Arc::new(authority),
                }),
                Err(error) => {
                    tracing::error!(authority.id = %one.life.id, %error, "an authority cannot be used here");
                    lacks_keys = true;
                    if one.life.state == State::Active {
                        not_set_up = error.not_set_up();
                        unusable = Some(error.to_string());
                    }
                }
            }
        }
        let active = found
            .all
            .iter()
            .find(|one| one.life.kind == AuthorityKind::Jwt && one.life.state == State::Active);
        let jwt = active
            .ok_or(UnusableError::None(AuthorityKind::Jwt))
            .and_then(|one| {
                Ok((
                    one.life.id.clone(),
                    Arc::new(open_jwt(one, &bundle, issuer, keys)?),
                ))
            })
            .map_err(|error| {
                not_set_up = not_set_up.take().or(error.not_set_up());
                error.to_string()
            });
        if let Err(error) = &jwt {
            tracing::error!(error, "the JWT key cannot be used here");
            lacks_keys = true;
        }
        let wit = active_wit(&found.all, trust_domain, keys);
        let jwks = bundle.jwt.to_jwks();
        let signers: Vec<KeyId> = found
            .all
            .iter()
            .filter(published)
            .filter_map(|one| one.life.id.as_str().parse().ok())
            .collect();
        Ok(Some(Self {
            position,
            wire: wire(&bundle, &jwks, &found.all, &signers),
            signers,
            spiffe: bundle.to_jwks()?,
            all: found.all,
            x509,
            jwt,
            wit,
            unusable,
            not_set_up,
            lacks_keys,
            bundle,
            jwks,
        }))
    }

    /// The lives of those of a kind.
    pub(crate) fn lives(&self, kind: AuthorityKind) -> Vec<signet_rotation::Authority> {
        let of_kind = self.all.iter().filter(|one| one.life.kind == kind);
        of_kind.map(|one| one.life.clone()).collect()
    }

    /// The X.509 authority that signs, or why there is none.
    pub(crate) fn signing(&self) -> Result<&Usable, &str> {
        let active = self.x509.iter().find(|one| one.state == State::Active);
        active.ok_or_else(|| {
            self.unusable
                .as_deref()
                .unwrap_or("there is no active X.509 authority")
        })
    }

    /// The X.509 authorities that signed before the one that does and whose work counts, as far as this CA can open their keys: at most
    /// [`MAX_FORMER`], the last first.
    pub(crate) fn formers(&self) -> Vec<AuthorityId> {
        let opened = |one: &&StoredAuthority| self.x509.iter().any(|usable| usable.id == one.life.id);
        let former = |one: &&StoredAuthority| {
            one.life.kind == AuthorityKind::X509 && one.life.state == State::Old && opened(one)
        };
        // The newest first among those of one second.
        let mut formers: Vec<_> = self
            .all
            .iter()
            .rev()
            .filter(former)
            .map(|one| &one.life)
            .collect();
        formers.sort_by_key(|life| Reverse(life.ceased));
        formers
            .into_iter()
            .take(MAX_FORMER)
            .map(|life| life.id.clone())
            .collect()
    }

    /// One of these, and how long what it signs at `now` may live: until all that it signed before has ended, which lived for at most `longest`.
    pub(crate) fn former(
        &self,
        id: &AuthorityId,
        longest: Duration,
        now: UnixTime,
    ) -> Option<(&Arc<Authority>, Duration)> {
        let usable = self
            .x509
            .iter()
            .find(|one| one.id == *id && one.state == State::Old)?;
        let row = self
            .all
            .iter()
            .find(|one| one.life.kind == AuthorityKind::X509 && one.life.id == *id)?;
        let end = row.life.outlived_at(longest).as_secs();
        let left = Duration::from_secs(end.saturating_sub(now.as_secs()));
        (left >= SHORTEST_FORMER).then_some((&usable.authority, left))
    }

    /// The JWT key that signs, or why there is none.
    pub(crate) fn jwt(&self) -> Result<(&AuthorityId, &Arc<JwtAuthority>), &str> {
        match &self.jwt {
            Ok((id, jwt)) => Ok((id, jwt)),
            Err(error) => Err(error),
        }
    }

    /// The WIT key that signs, if any does, or why it cannot be used here.
    pub(crate) fn wit(&self) -> Result<Option<&(AuthorityId, Arc<WitAuthority>)>, &str> {
        self.wit.as_ref().map(Option::as_ref).map_err(String::as_str)
    }
}

fn signer(one: &StoredAuthority, keys: &dyn Opens) -> Result<Arc<dyn Signer>, UnusableError> {
    let record = one.key.as_deref().ok_or(UnusableError::NoRecord)?;
    Ok(keys.open(&KeyRecord::decode(record)?)?)
}

fn open_x509(
    one: &StoredAuthority,
    trust_domain: &TrustDomain,
    keys: &dyn Opens,
) -> Result<Authority, UnusableError> {
    let key = SigningKey::new(signer(one, keys)?)?;
    Ok(Authority::restore(trust_domain.clone(), one.chain()?, key)?)
}

fn open_jwt(
    one: &StoredAuthority,
    bundle: &PublishedBundle,
    issuer: Option<&str>,
    keys: &dyn Opens,
) -> Result<JwtAuthority, UnusableError> {
    let key = JwtSigningKey::new(signer(one, keys)?)?;
    let own = key.public().id().to_owned();
    let beside = bundle.jwt.keys().iter().filter(|key| key.id() != own).cloned();
    let domain = bundle.jwt.trust_domain().clone();
    Ok(JwtAuthority::new(domain, key, beside)?.with_issuer(issuer))
}

fn active_wit(
    all: &[StoredAuthority],
    trust_domain: &TrustDomain,
    keys: &dyn Opens,
) -> Result<Option<(AuthorityId, Arc<WitAuthority>)>, String> {
    let signs =
        |one: &&StoredAuthority| one.life.kind == AuthorityKind::Wit && one.life.state == State::Active;
    let Some(one) = all.iter().find(signs) else {
        return Ok(None);
    };
    let open = || Ok::<_, UnusableError>(JwtSigningKey::new(signer(one, keys)?)?);
    match open() {
        Ok(key) => Ok(Some((
            one.life.id.clone(),
            Arc::new(WitAuthority::new(trust_domain.clone(), key)),
        ))),
        Err(error) => {
            tracing::error!(authority.id = %one.life.id, %error, "the WIT key cannot be used here");
            Err(error.to_string())
        }
    }
}

fn wire(bundle: &PublishedBundle, jwks: &str, all: &[StoredAuthority], signers: &[KeyId]) -> TrustBundle {
    let tainted = |kind| {
        let tainted = all
            .iter()
            .filter(move |one| one.life.kind == kind && one.life.state == State::Tainted);
        tainted.map(|one| one.life.id.to_string()).collect()
    };
    TrustBundle {
        trust_domain: bundle.x509.trust_domain().to_string(),
        x509_authorities: bundle.x509.authorities().iter().map(|one| one.to_vec()).collect(),
        sequence: bundle.sequence,
        jwt_keys: jwks.to_owned().into_bytes(),
        tainted_x509: tainted(AuthorityKind::X509),
        tainted_jwt: tainted(AuthorityKind::Jwt),
        mark: bundle.mark.clone(),
        wit_keys: if bundle.wit.keys().is_empty() {
            Vec::new()
        } else {
            bundle.wit.to_jwks().into_bytes()
        },
        tainted_wit: tainted(AuthorityKind::Wit),
        node_signers: signers.iter().map(ToString::to_string).collect(),
    }
}
