//! Bundles in SPIFFE's own format, a JWK set (Trust Domain and Bundle §4, X509-SVID §6, JWT-SVID §6).

use std::time::Duration;

use data_encoding::BASE64;
use rustls_pki_types::CertificateDer;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::bundle::{BundleError, X509Bundle};
use crate::json;
use crate::jwk::{JWT_SVID, Jwk, WIT_SVID, X509_SVID};
use crate::jwt::{JwtBundle, JwtBundleError, JwtKey};
use crate::trust_domain::TrustDomain;
use crate::wit::WitBundle;

/// Longest JWK set that is read, bytes.
pub const MAX_JWKS_BYTES: usize = 1024 * 1024;

/// Why there is no JWK set, or no bundle in it.
#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    /// More than [`MAX_JWKS_BYTES`].
    #[error("the bundle has {bytes} bytes, at most {MAX_JWKS_BYTES} are read")]
    TooLong {
        /// Its size.
        bytes: usize,
    },
    /// Not a JSON object, or with a member that comes twice.
    #[error("the bundle is no JWK set: {0}")]
    Json(#[from] serde_json::Error),
    /// No `keys`, or not a list of objects (§4.1.3).
    #[error("the bundle has no list of keys")]
    NoKeys,
    /// A `spiffe_sequence` that is no 64-bit count, or a `spiffe_refresh_hint` that is no count of seconds (§4.1).
    #[error("the bundle's {member} is no whole number from 0 on")]
    Number {
        /// Which member.
        member: &'static str,
    },
    /// An `x5c` that is not Base64.
    #[error("key {number} of the bundle has a certificate that is not Base64")]
    Base64 {
        /// From 1.
        number: usize,
    },
    /// The certificates are no bundle. Without any usable one, no X.509-SVID of the trust domain is to be believed.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The JWT keys are no bundle, or those that WIT-SVIDs are checked with are not.
    #[error(transparent)]
    Jwt(#[from] JwtBundleError),
    /// A key for JWT-SVIDs and one for WIT-SVIDs with one ID (WIT-SVID §6.1).
    #[error("the bundle has the key ID {id:?} for a JWT key and for a WIT key: no two keys may share one")]
    SharedId {
        /// Their ID.
        id: String,
    },
    /// A key that has no JWK form here.
    #[error("certificate {number} of the bundle has a key that is neither RSA nor on a NIST curve")]
    Key {
        /// From 1.
        number: usize,
    },
}

/// All that a trust domain publishes of itself (Trust Domain and Bundle §3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpiffeBundle {
    /// What its X.509-SVIDs are checked against; without it none of them is believed (§4.2).
    pub x509: Option<X509Bundle>,
    /// What its JWT-SVIDs are checked against, perhaps nothing.
    pub jwt: JwtBundle,
    /// What its WIT-SVIDs are checked against; in most trust domains nothing.
    pub wit: WitBundle,
    /// Goes up with every change of the content (§4.1.1).
    pub sequence: Option<u64>,
    /// How often to ask for a newer one, whole seconds (§4.1.2).
    pub refresh_hint: Option<Duration>,
}

#[derive(Debug, Serialize)]
struct Jwks {
    keys: Vec<Jwk>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spiffe_sequence: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spiffe_refresh_hint: Option<u64>,
}

impl SpiffeBundle {
    /// The bundle as a JWK set with SPIFFE's members.
    pub fn to_jwks(&self) -> Result<String, JwksError> {
        check_ids(&self.jwt, &self.wit)?;
        let mut keys = match &self.x509 {
            Some(bundle) => x509_keys(bundle)?,
            None => Vec::new(),
        };
        keys.extend(self.jwt.keys().iter().map(Jwk::jwt_key));
        keys.extend(self.wit.keys().iter().map(Jwk::wit_key));
        let set = Jwks {
            keys,
            spiffe_sequence: self.sequence,
            spiffe_refresh_hint: self.refresh_hint.map(|hint| hint.as_secs()),
        };
        Ok(serde_json::to_string(&set)?)
    }

    /// Reads a JWK set. Members that are not known are passed over, and so are keys of no stated kind or use, or of one that
    /// is not known (§4.1.3); a key that says it is for SVIDs and cannot be used spoils the set, so that it is noticed.
    pub fn from_jwks(trust_domain: &TrustDomain, text: &str) -> Result<Self, JwksError> {
        let set = Set::read(text)?;
        let authorities = set.authorities()?;
        let x509 = if authorities.is_empty() {
            None
        } else {
            Some(X509Bundle::new(trust_domain.clone(), authorities)?)
        };
        let jwt = set.jwt_bundle(trust_domain.clone())?;
        let wit = set.wit_bundle(trust_domain.clone())?;
        check_ids(&jwt, &wit)?;
        Ok(Self {
            x509,
            jwt,
            wit,
            sequence: set.number("spiffe_sequence")?,
            refresh_hint: set.number("spiffe_refresh_hint")?.map(Duration::from_secs),
        })
    }
}

impl X509Bundle {
    /// The X.509 authorities as a JWK set. `sequence` goes up with every change of the content; `refresh_hint` says how
    /// often to ask for a newer one.
    pub fn to_jwks(&self, sequence: u64, refresh_hint: Duration) -> Result<String, JwksError> {
        let set = Jwks {
            keys: x509_keys(self)?,
            spiffe_sequence: Some(sequence),
            spiffe_refresh_hint: Some(refresh_hint.as_secs()),
        };
        Ok(serde_json::to_string(&set)?)
    }

    /// The X.509 authorities of a JWK set. Keys for other uses, of no stated kind or without `x5c` are passed over, and of
    /// an `x5c` the first certificate alone counts (X509-SVID §6.2).
    pub fn from_jwks(trust_domain: TrustDomain, text: &str) -> Result<Self, JwksError> {
        Ok(Self::new(trust_domain, Set::read(text)?.authorities()?)?)
    }
}

impl JwtBundle {
    /// The JWT keys alone, as a plain JWK set: what the Workload API gives out (Workload API §6.2.2).
    pub fn to_jwks(&self) -> String {
        plain(self.keys().iter().map(Jwk::jwt_key))
    }

    /// The JWT keys alone for those who do not know SPIFFE (OIDC Discovery §3): `use` is `sig`, as RFC 7517 has it,
    /// and keys on a curve say with which algorithm they sign.
    pub fn to_plain_jwks(&self) -> String {
        plain(self.keys().iter().map(Jwk::plain_key))
    }

    /// The JWT keys of a JWK set, none but those (JWT-SVID §6.2).
    pub fn from_jwks(trust_domain: TrustDomain, text: &str) -> Result<Self, JwksError> {
        Set::read(text)?.jwt_bundle(trust_domain)
    }
}

impl WitBundle {
    /// The keys that WIT-SVIDs are checked with alone, as a plain JWK set: what the Workload API gives out (Workload API §7.2.2).
    pub fn to_jwks(&self) -> String {
        plain(self.keys().iter().map(Jwk::wit_key))
    }

    /// Those keys of a JWK set, none but those (WIT-SVID §6.2).
    pub fn from_jwks(trust_domain: TrustDomain, text: &str) -> Result<Self, JwksError> {
        Set::read(text)?.wit_bundle(trust_domain)
    }
}

/// A JWK set that says nothing but its keys.
#[expect(
    clippy::expect_used,
    reason = "texts and lists of them always have a JSON form"
)]
fn plain(keys: impl Iterator<Item = Jwk>) -> String {
    let set = Jwks {
        keys: keys.collect(),
        spiffe_sequence: None,
        spiffe_refresh_hint: None,
    };
    serde_json::to_string(&set).expect("writes")
}

/// A token could be taken for one of the other kind's.
fn check_ids(jwt: &JwtBundle, wit: &WitBundle) -> Result<(), JwksError> {
    let shared = wit.keys().iter().find(|key| jwt.key(key.id()).is_some());
    shared.map_or(Ok(()), |key| {
        Err(JwksError::SharedId {
            id: key.id().to_owned(),
        })
    })
}

fn x509_keys(bundle: &X509Bundle) -> Result<Vec<Jwk>, JwksError> {
    let numbered = (1..).zip(bundle.authorities());
    let jwk = |(number, authority)| Jwk::authority(authority).ok_or(JwksError::Key { number });
    numbered.map(jwk).collect()
}

/// A JWK set that has been read but not looked into.
struct Set {
    members: Map<String, Value>,
}

impl Set {
    fn read(text: &str) -> Result<Self, JwksError> {
        if text.len() > MAX_JWKS_BYTES {
            return Err(JwksError::TooLong { bytes: text.len() });
        }
        let members = json::parse_object(text.as_bytes())?;
        Ok(Self { members })
    }

    /// The keys for one use, numbered from 1 among all.
    fn keys(&self, key_use: &str) -> Result<Vec<(usize, Jwk)>, JwksError> {
        let keys = self.members.get("keys").and_then(Value::as_array);
        let keys = keys.ok_or(JwksError::NoKeys)?;
        let mut found = Vec::new();
        for (number, key) in (1..).zip(keys) {
            let key = Jwk::read(key.as_object().ok_or(JwksError::NoKeys)?);
            if key.key_use.as_deref() == Some(key_use) && key.kty.is_some() {
                found.push((number, key));
            }
        }
        Ok(found)
    }

    fn authorities(&self) -> Result<Vec<CertificateDer<'static>>, JwksError> {
        let mut authorities = Vec::new();
        for (number, key) in self.keys(X509_SVID)? {
            let Some(first) = key.x5c.as_ref().and_then(|chain| chain.first()) else {
                continue;
            };
            let der = BASE64
                .decode(first.as_bytes())
                .map_err(|_| JwksError::Base64 { number })?;
            authorities.push(CertificateDer::from(der));
        }
        Ok(authorities)
    }

    fn jwt_bundle(&self, trust_domain: TrustDomain) -> Result<JwtBundle, JwksError> {
        Ok(JwtBundle::new(trust_domain, self.token_keys(JWT_SVID)?)?)
    }

    fn wit_bundle(&self, trust_domain: TrustDomain) -> Result<WitBundle, JwksError> {
        Ok(WitBundle::new(trust_domain, self.token_keys(WIT_SVID)?)?)
    }

    fn token_keys(&self, key_use: &str) -> Result<Vec<JwtKey>, JwksError> {
        let mut keys = Vec::new();
        for (number, key) in self.keys(key_use)? {
            let key = key
                .to_jwt_key()
                .map_err(|source| JwtBundleError::Key { number, source })?;
            keys.extend(key);
        }
        Ok(keys)
    }

    fn number(&self, member: &'static str) -> Result<Option<u64>, JwksError> {
        let number = self.members.get(member);
        number
            .map(|number| number.as_u64().ok_or(JwksError::Number { member }))
            .transpose()
    }
}
