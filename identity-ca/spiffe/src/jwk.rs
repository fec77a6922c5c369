//! One key of a SPIFFE bundle as a JWK (RFC 7517 and 7518, as far as X509-SVID §6 and JWT-SVID §6 want it).

use data_encoding::{BASE64, BASE64URL_NOPAD};
use rustls_pki_types::CertificateDer;
use serde::Serialize;
use serde_json::{Map, Value};
use x509_parser::oid_registry::{OID_EC_P256, OID_NIST_EC_P384, OID_NIST_EC_P521, OID_SIG_ED25519};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey as CertificateKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::jwt::{Curve, JwtAlgorithm, JwtKey, JwtKeyError, PublicKey};

pub(crate) const X509_SVID: &str = "x509-svid";
pub(crate) const JWT_SVID: &str = "jwt-svid";
pub(crate) const WIT_SVID: &str = "wit-svid";

/// The members that SPIFFE defines or takes over, and no others (Trust Domain and Bundle §4.2), but for `alg`, which is
/// written for those alone who do not know SPIFFE.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Jwk {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kty: Option<String>,
    #[serde(rename = "use", skip_serializing_if = "Option::is_none")]
    pub(crate) key_use: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) alg: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) x5c: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) crv: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) x: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) y: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) n: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) e: Option<String>,
}

impl Jwk {
    /// Takes the known members that are texts; others are as good as absent.
    pub(crate) fn read(members: &Map<String, Value>) -> Self {
        let text = |name: &str| members.get(name).and_then(Value::as_str).map(str::to_owned);
        let chain = members.get("x5c").and_then(Value::as_array);
        Self {
            kty: text("kty"),
            key_use: text("use"),
            kid: text("kid"),
            alg: None,
            // Only the first one counts (X509-SVID §6.2).
            x5c: chain.map(|chain| {
                let first = chain.first().and_then(Value::as_str);
                first.map(str::to_owned).into_iter().collect()
            }),
            crv: text("crv"),
            x: text("x"),
            y: text("y"),
            n: text("n"),
            e: text("e"),
        }
    }

    /// An X.509 authority. There is no `kid`, by X509-SVID §6.1. `None`: a key that has no JWK form here.
    pub(crate) fn authority(authority: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(authority).ok()?;
        let info = certificate.public_key();
        let members = match info.parsed().ok()? {
            CertificateKey::EC(point) => {
                let coordinates = point.data().strip_prefix(&[4])?;
                let curve = curve(info)?;
                let (x, y) = coordinates
                    .split_at_checked(curve.coordinate())
                    .filter(|(_, y)| y.len() == curve.coordinate())?;
                Self::ec(curve, x, y)
            }
            CertificateKey::RSA(key) => Self::rsa(unsigned(key.modulus), unsigned(key.exponent)),
            CertificateKey::Unknown(key) if info.algorithm.algorithm == OID_SIG_ED25519 => Self::ed25519(key),
            CertificateKey::DSA(_)
            | CertificateKey::GostR3410(_)
            | CertificateKey::GostR3410_2012(_)
            | CertificateKey::Unknown(_) => return None,
        };
        Some(Self {
            key_use: Some(X509_SVID.to_owned()),
            x5c: Some(vec![BASE64.encode(authority)]),
            ..members
        })
    }

    /// A JWT key.
    pub(crate) fn jwt_key(key: &JwtKey) -> Self {
        Self::token_key(key, JWT_SVID)
    }

    /// A key that WIT-SVIDs are checked with.
    pub(crate) fn wit_key(key: &JwtKey) -> Self {
        Self::token_key(key, WIT_SVID)
    }

    fn token_key(key: &JwtKey, key_use: &str) -> Self {
        Self {
            key_use: Some(key_use.to_owned()),
            kid: Some(key.id().to_owned()),
            ..Self::public_key(key)
        }
    }

    /// A workload's own key, which signs with this algorithm and no other (WIT-SVID §3.2).
    pub(crate) fn confirmation(key: &JwtKey, algorithm: JwtAlgorithm) -> Self {
        Self {
            alg: Some(algorithm.as_str()),
            ..Self::public_key(key)
        }
    }

    fn public_key(key: &JwtKey) -> Self {
        match key.public() {
            PublicKey::Ec { curve, point, .. } => {
                let (x, y) = PublicKey::coordinates(*curve, point);
                Self::ec(*curve, x, y)
            }
            PublicKey::Rsa { modulus, exponent } => Self::rsa(modulus, exponent),
        }
    }

    /// A JWT key for those who do not know SPIFFE.
    pub(crate) fn plain_key(key: &JwtKey) -> Self {
        let alg = match key.public() {
            PublicKey::Ec { curve, .. } => Some(curve.signs_with().as_str()),
            PublicKey::Rsa { .. } => None,
        };
        Self {
            key_use: Some("sig".to_owned()),
            alg,
            ..Self::jwt_key(key)
        }
    }

    fn ec(curve: Curve, x: &[u8], y: &[u8]) -> Self {
        Self {
            kty: Some("EC".to_owned()),
            crv: Some(curve.as_str().to_owned()),
            x: Some(BASE64URL_NOPAD.encode(x)),
            y: Some(BASE64URL_NOPAD.encode(y)),
            ..Self::default()
        }
    }

    /// By RFC 8037 §2.
    fn ed25519(key: &[u8]) -> Self {
        Self {
            kty: Some("OKP".to_owned()),
            crv: Some("Ed25519".to_owned()),
            x: Some(BASE64URL_NOPAD.encode(key)),
            ..Self::default()
        }
    }

    fn rsa(modulus: &[u8], exponent: &[u8]) -> Self {
        Self {
            kty: Some("RSA".to_owned()),
            n: Some(BASE64URL_NOPAD.encode(modulus)),
            e: Some(BASE64URL_NOPAD.encode(exponent)),
            ..Self::default()
        }
    }

    /// The JWT key that this is; `None` for a kind or curve that is not known here, which is passed over.
    pub(crate) fn to_jwt_key(&self) -> Result<Option<JwtKey>, JwtKeyError> {
        let Some(key) = self.to_public_key()? else {
            return Ok(None);
        };
        JwtKey::new(self.kid.clone().unwrap_or_default(), key).map(Some)
    }

    /// The same without looking at its ID.
    pub(crate) fn to_public_key(&self) -> Result<Option<PublicKey>, JwtKeyError> {
        match self.kty.as_deref() {
            Some("EC") => {
                let Some(curve) = self.crv.as_deref().and_then(Curve::parse) else {
                    return Ok(None);
                };
                PublicKey::ec(curve, &member(self.x.as_deref())?, &member(self.y.as_deref())?).map(Some)
            }
            Some("RSA") => PublicKey::rsa(&member(self.n.as_deref())?, &member(self.e.as_deref())?).map(Some),
            Some(_) | None => Ok(None),
        }
    }
}

fn member(value: Option<&str>) -> Result<Vec<u8>, JwtKeyError> {
    let text = value.ok_or(JwtKeyError::Encoding)?;
    BASE64URL_NOPAD
        .decode(text.as_bytes())
        .map_err(|_| JwtKeyError::Encoding)
}

fn curve(info: &SubjectPublicKeyInfo<'_>) -> Option<Curve> {
    let oid = info.algorithm.parameters.as_ref()?.as_oid().ok()?;
    let known = [
        (OID_EC_P256, Curve::P256),
        (OID_NIST_EC_P384, Curve::P384),
        (OID_NIST_EC_P521, Curve::P521),
    ];
    known
        .into_iter()
        .find(|(known, _)| *known == oid)
        .map(|(_, curve)| curve)
}

/// Without the zero that keeps an ASN.1 integer positive.
fn unsigned(integer: &[u8]) -> &[u8] {
    integer.strip_prefix(&[0]).unwrap_or(integer)
}
