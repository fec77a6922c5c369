//! What the CA above tells, read.

use std::time::Duration;

use rustls::pki_types::CertificateDer;
use signet_proto::ca::v1::UpstreamBundle;
use signet_proto::view::v1::Revocation;
use signet_proto::view::v1::revocation::Subject;
use signet_registry::{Above, FromAbove, NewRevocation, Target};
use signet_spiffe::{JwtBundle, KeyId, SerialNumber, SpiffeId, TrustDomain, UnixTime, WitBundle, X509Bundle};

/// Most authorities of its own that a CA above is believed to have.
const MAX_SIGNERS: usize = 64;

/// What it tells cannot be used. It is not passed on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AboveError {
    #[error("it told no bundle")]
    NoBundle,
    #[error("it is of the trust domain {0}")]
    TrustDomain(String),
    #[error("its bundle cannot be read: {0}")]
    X509(#[from] signet_spiffe::BundleError),
    #[error("its JWT keys cannot be read: {0}")]
    Jwt(String),
    #[error("its WIT keys cannot be read: {0}")]
    Wit(String),
    #[error("the names of its authorities cannot be read")]
    Signers,
    #[error("the revocation {0} cannot be read: this CA may be too old")]
    Revocation(String),
}

pub(super) fn read(
    told: UpstreamBundle,
    trust_domain: &TrustDomain,
    first: bool,
    now: UnixTime,
) -> Result<FromAbove, AboveError> {
    let bundle = told.bundle.ok_or(AboveError::NoBundle)?;
    if bundle.trust_domain != trust_domain.as_str() {
        return Err(AboveError::TrustDomain(bundle.trust_domain));
    }
    let roots = bundle.x509_authorities.into_iter().map(CertificateDer::from);
    let jwt = |error: &dyn std::fmt::Display| AboveError::Jwt(error.to_string());
    let text = std::str::from_utf8(&bundle.jwt_keys).map_err(|error| jwt(&error))?;
    let keys = JwtBundle::from_jwks(trust_domain.clone(), text).map_err(|error| jwt(&error))?;
    let others = keys
        .keys()
        .iter()
        .filter(|key| !told.own_jwt_keys.iter().any(|own| own == key.id()));
    let others =
        JwtBundle::new(trust_domain.clone(), others.cloned().collect()).map_err(|error| jwt(&error))?;
    let wit = wit_of_others(&bundle.wit_keys, &told.own_wit_keys, trust_domain)?;
    let signers = bundle
        .node_signers
        .iter()
        .take(MAX_SIGNERS)
        .map(|one| one.parse());
    let signers = signers
        .collect::<Result<_, _>>()
        .map_err(|_| AboveError::Signers)?;
    let mut tainted = bundle.tainted_x509;
    tainted.extend(bundle.tainted_jwt);
    tainted.extend(bundle.tainted_wit);
    let revocations = told
        .revocations
        .into_iter()
        .map(|one| revocation(one, trust_domain));
    Ok(FromAbove {
        above: Above {
            x509: X509Bundle::new(trust_domain.clone(), roots.collect())?,
            jwt: others,
            wit,
            sequence: bundle.sequence,
            mark: bundle.mark,
            tainted,
            signers,
            heard: now,
        },
        revocations: revocations.collect::<Result<_, _>>()?,
        first,
    })
}

/// The keys for WIT-SVIDs without this CA's own.
fn wit_of_others(keys: &[u8], own: &[String], trust_domain: &TrustDomain) -> Result<WitBundle, AboveError> {
    let text = String::from_utf8_lossy(keys);
    if text.is_empty() {
        return Ok(WitBundle::empty(trust_domain.clone()));
    }
    let wit = |error: &dyn std::fmt::Display| AboveError::Wit(error.to_string());
    let all = WitBundle::from_jwks(trust_domain.clone(), &text).map_err(|error| wit(&error))?;
    let others = all
        .keys()
        .iter()
        .filter(|key| !own.iter().any(|own| own == key.id()));
    WitBundle::new(trust_domain.clone(), others.cloned().collect()).map_err(|error| wit(&error))
}

fn revocation(told: Revocation, trust_domain: &TrustDomain) -> Result<NewRevocation, AboveError> {
    let target = match &told.subject {
        Some(Subject::Serial(bytes)) => SerialNumber::new(bytes).ok().map(Target::Serial),
        Some(Subject::Authority(bytes)) => KeyId::new(bytes).ok().map(Target::Authority),
        Some(Subject::SpiffeId(text)) => SpiffeId::parse(text)
            .ok()
            .filter(|id| id.trust_domain() == trust_domain)
            .map(Target::Id),
        // Its nodes have numbers of its own.
        Some(Subject::Node(_)) | None => None,
    };
    let moment = |seconds: i64| u64::try_from(seconds).ok().map(Duration::from_secs);
    let (Some(target), Some(cut), Some(until)) = (target, moment(told.not_before), moment(told.until)) else {
        return Err(AboveError::Revocation(told.id));
    };
    Ok(NewRevocation {
        target,
        cut: UnixTime::since_unix_epoch(cut),
        until: UnixTime::since_unix_epoch(until),
        reason: told.reason,
        asker: String::new(),
        closed: told.closed,
    })
}
