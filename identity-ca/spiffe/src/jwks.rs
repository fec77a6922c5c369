//! Bundles in SPIFFE's own format, a JWK set (Trust Domain and Bundle §4, X509-SVID §6).

use std::time::Duration;

use data_encoding::{BASE64, BASE64URL_NOPAD};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use x509_parser::oid_registry::{OID_EC_P256, OID_NIST_EC_P384, OID_NIST_EC_P521};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::bundle::{BundleError, X509Bundle};
use crate::trust_domain::TrustDomain;

/// Longest JWK set that is read, bytes.
pub const MAX_JWKS_BYTES: usize = 1024 * 1024;

const X509_SVID: &str = "x509-svid";

/// Why there is no JWK set, or no bundle in it.
#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    /// More than [`MAX_JWKS_BYTES`].
    #[error("the bundle has {bytes} bytes, at most {MAX_JWKS_BYTES} are read")]
    TooLong {
        /// Its size.
        bytes: usize,
    },
    /// Not JSON, or without `keys`.
    #[error("the bundle is no JWK set: {0}")]
    Json(#[from] serde_json::Error),
    /// An `x5c` that is not Base64.
    #[error("key {number} of the bundle has a certificate that is not Base64")]
    Base64 {
        /// From 1.
        number: usize,
    },
    /// The certificates are no bundle. Without any usable one, nothing of the trust domain is to be believed.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A key that has no JWK form here.
    #[error("certificate {number} of the bundle has a key that is neither RSA nor on a NIST curve")]
    Key {
        /// From 1.
        number: usize,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Jwks {
    keys: Vec<Jwk>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spiffe_sequence: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spiffe_refresh_hint: Option<u64>,
}

/// RFC 7517 and 7518, as far as X509-SVID §6.1 wants it. There is no `kid`, by that section.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Jwk {
    #[serde(skip_serializing_if = "Option::is_none")]
    kty: Option<String>,
    #[serde(rename = "use", skip_serializing_if = "Option::is_none")]
    key_use: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    x5c: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    crv: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    x: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    e: Option<String>,
}

impl X509Bundle {
    /// The bundle as a JWK set. `sequence` goes up with every change of the content; `refresh_hint` says how often to ask
    /// for a newer one.
    pub fn to_jwks(&self, sequence: u64, refresh_hint: Duration) -> Result<String, JwksError> {
        let numbered = (1..).zip(self.authorities());
        let keys = numbered.map(|(number, authority)| jwk(authority).ok_or(JwksError::Key { number }));
        let set = Jwks {
            keys: keys.collect::<Result<_, _>>()?,
            spiffe_sequence: Some(sequence),
            spiffe_refresh_hint: Some(refresh_hint.as_secs()),
        };
        Ok(serde_json::to_string(&set)?)
    }

    /// The X.509 authorities of a JWK set. Keys for other uses, of no stated kind or without `x5c` are passed over, and of
    /// an `x5c` the first certificate alone counts (X509-SVID §6.2).
    pub fn from_jwks(trust_domain: TrustDomain, text: &str) -> Result<Self, JwksError> {
        if text.len() > MAX_JWKS_BYTES {
            return Err(JwksError::TooLong { bytes: text.len() });
        }
        let set: Jwks = serde_json::from_str(text)?;
        let mut authorities = Vec::new();
        for (number, key) in (1..).zip(&set.keys) {
            let meant = key.key_use.as_deref() == Some(X509_SVID) && key.kty.is_some();
            let Some(first) = key.x5c.as_ref().and_then(|chain| chain.first()).filter(|_| meant) else {
                continue;
            };
            let der = BASE64
                .decode(first.as_bytes())
                .map_err(|_| JwksError::Base64 { number })?;
            authorities.push(CertificateDer::from(der));
        }
        Ok(Self::new(trust_domain, authorities)?)
    }
}

fn jwk(authority: &CertificateDer<'_>) -> Option<Jwk> {
    let (_, certificate) = X509Certificate::from_der(authority).ok()?;
    let info = certificate.public_key();
    let certificate = Jwk {
        key_use: Some(X509_SVID.to_owned()),
        x5c: Some(vec![BASE64.encode(authority)]),
        ..Jwk::default()
    };
    match info.parsed().ok()? {
        PublicKey::EC(point) => {
            let coordinates = point.data().strip_prefix(&[4])?;
            let (curve, length) = curve(info)?;
            let (x, y) = coordinates
                .split_at_checked(length)
                .filter(|(_, y)| y.len() == length)?;
            Some(Jwk {
                kty: Some("EC".to_owned()),
                crv: Some(curve.to_owned()),
                x: Some(BASE64URL_NOPAD.encode(x)),
                y: Some(BASE64URL_NOPAD.encode(y)),
                ..certificate
            })
        }
        PublicKey::RSA(key) => Some(Jwk {
            kty: Some("RSA".to_owned()),
            n: Some(BASE64URL_NOPAD.encode(unsigned(key.modulus))),
            e: Some(BASE64URL_NOPAD.encode(unsigned(key.exponent))),
            ..certificate
        }),
        PublicKey::DSA(_)
        | PublicKey::GostR3410(_)
        | PublicKey::GostR3410_2012(_)
        | PublicKey::Unknown(_) => None,
    }
}

/// Name and bytes of a coordinate (RFC 7518 §6.2.1).
fn curve(info: &SubjectPublicKeyInfo<'_>) -> Option<(&'static str, usize)> {
    let oid = info.algorithm.parameters.as_ref()?.as_oid().ok()?;
    let known = [
        (OID_EC_P256, "P-256", 32),
        (OID_NIST_EC_P384, "P-384", 48),
        (OID_NIST_EC_P521, "P-521", 66),
    ];
    known
        .into_iter()
        .find(|(known, ..)| *known == oid)
        .map(|(_, name, length)| (name, length))
}

/// Without the zero that keeps an ASN.1 integer positive.
fn unsigned(integer: &[u8]) -> &[u8] {
    integer.strip_prefix(&[0]).unwrap_or(integer)
}
