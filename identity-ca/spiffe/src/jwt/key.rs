//! Public keys that JWT-SVIDs are checked with.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, VerificationAlgorithm,
};
use data_encoding::BASE64URL_NOPAD;

use super::algorithm::{JwtAlgorithm, Verifier};

/// Longest key ID, bytes.
pub const MAX_KEY_ID_BYTES: usize = 256;

/// RSA moduli.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// RSA exponents, bytes: 65537 has three, and a longer one only costs time.
const MAX_EXPONENT_BYTES: usize = 4;

/// A public key with its ID (`kid`), fit to verify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtKey {
    id: String,
    key: PublicKey,
}

/// Why something is no key for JWT-SVIDs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwtKeyError {
    /// No key ID, or one longer than [`MAX_KEY_ID_BYTES`] (JWT-SVID §6.1 wants one).
    #[error("has no key ID of 1 to {MAX_KEY_ID_BYTES} bytes")]
    KeyId,
    /// A member that is missing, or not in unpadded base64url.
    #[error("lacks a member of its kind, or has one that is not unpadded base64url")]
    Encoding,
    /// Not a point of its curve, as two whole coordinates.
    #[error("is no point of its curve")]
    Point,
    /// Not 2048 to 8192 bits, or otherwise no RSA key.
    #[error("is no RSA key of 2048 to 8192 bits")]
    Rsa,
}

/// The curves of RFC 7518 §6.2.1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Curve {
    P256,
    P384,
    P521,
}

#[derive(Debug, Clone)]
pub(crate) enum PublicKey {
    Ec {
        curve: Curve,
        /// Uncompressed: 4 and two coordinates.
        point: Vec<u8>,
        parsed: Box<ParsedPublicKey>,
    },
    Rsa {
        /// Big-endian, without leading zeros.
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
}

impl Curve {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::P256, Self::P384, Self::P521]
            .into_iter()
            .find(|curve| curve.as_str() == name)
    }

    /// Bytes of a coordinate.
    pub(crate) const fn coordinate(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// The one algorithm that keys on it sign with (RFC 7518 §3.4).
    pub(crate) const fn signs_with(self) -> JwtAlgorithm {
        match self {
            Self::P256 => JwtAlgorithm::Es256,
            Self::P384 => JwtAlgorithm::Es384,
            Self::P521 => JwtAlgorithm::Es512,
        }
    }

    fn algorithm(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_FIXED,
            Self::P384 => &ECDSA_P384_SHA384_FIXED,
            Self::P521 => &ECDSA_P521_SHA512_FIXED,
        }
    }
}

impl PublicKey {
    pub(crate) fn ec(curve: Curve, x: &[u8], y: &[u8]) -> Result<Self, JwtKeyError> {
        if x.len() != curve.coordinate() || y.len() != curve.coordinate() {
            return Err(JwtKeyError::Point);
        }
        let point = [&[4], x, y].concat();
        let parsed = ParsedPublicKey::new(curve.algorithm(), &point).map_err(|_| JwtKeyError::Point)?;
        Ok(Self::Ec {
            curve,
            point,
            parsed: Box::new(parsed),
        })
    }

    pub(crate) fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, JwtKeyError> {
        let (modulus, exponent) = (without_zeros(modulus), without_zeros(exponent));
        let odd = |integer: &[u8]| integer.last().is_some_and(|byte| byte % 2 == 1);
        if !RSA_BITS.contains(&bits(modulus))
            || !odd(modulus)
            || !odd(exponent)
            || exponent == [1]
            || exponent.len() > MAX_EXPONENT_BYTES
        {
            return Err(JwtKeyError::Rsa);
        }
        let components = RsaPublicKeyComponents {
            n: modulus,
            e: exponent,
        };
        components
            .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
            .map_err(|_| JwtKeyError::Rsa)?;
        Ok(Self::Rsa {
            modulus: modulus.to_vec(),
            exponent: exponent.to_vec(),
        })
    }

    /// The two coordinates of a point.
    pub(crate) fn coordinates(curve: Curve, point: &[u8]) -> (&[u8], &[u8]) {
        let coordinates = point.get(1..).unwrap_or_default();
        coordinates
            .split_at_checked(curve.coordinate())
            .unwrap_or_default()
    }

    /// RFC 7638: SHA-256 over the required members, in order of their names, without white space.
    fn thumbprint(&self) -> String {
        let encode = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let canonical = match self {
            Self::Ec { curve, point, .. } => {
                let (x, y) = Self::coordinates(*curve, point);
                format!(
                    r#"{{"crv":"{}","kty":"EC","x":"{}","y":"{}"}}"#,
                    curve.as_str(),
                    encode(x),
                    encode(y)
                )
            }
            Self::Rsa { modulus, exponent } => {
                format!(
                    r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#,
                    encode(exponent),
                    encode(modulus)
                )
            }
        };
        encode(digest(&SHA256, canonical.as_bytes()).as_ref())
    }
}

/// Some encoders keep the zero of an ASN.1 integer, which RFC 7518 §6.3.1.1 does without.
fn without_zeros(integer: &[u8]) -> &[u8] {
    let zeros = integer.iter().take_while(|byte| **byte == 0).count();
    integer.get(zeros..).unwrap_or_default()
}

/// Of an integer without leading zeros.
fn bits(integer: &[u8]) -> usize {
    let spare = integer.first().map_or(0, |byte| byte.leading_zeros());
    (integer.len() * 8).saturating_sub(usize::try_from(spare).unwrap_or(usize::MAX))
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Ec { curve, point, .. },
                Self::Ec {
                    curve: other_curve,
                    point: other_point,
                    ..
                },
            ) => curve == other_curve && point == other_point,
            (
                Self::Rsa { modulus, exponent },
                Self::Rsa {
                    modulus: other_modulus,
                    exponent: other_exponent,
                },
            ) => modulus == other_modulus && exponent == other_exponent,
            (Self::Ec { .. }, Self::Rsa { .. }) | (Self::Rsa { .. }, Self::Ec { .. }) => false,
        }
    }
}

impl Eq for PublicKey {}

impl JwtKey {
    /// A P-256 key from its uncompressed point (SEC 1 §2.3.3: 0x04 and two coordinates). Its ID is its RFC 7638
    /// thumbprint.
    pub fn p256(point: &[u8]) -> Result<Self, JwtKeyError> {
        Self::on(Curve::P256, point)
    }

    /// The same for the curve whose points are so long.
    pub fn ec(point: &[u8]) -> Result<Self, JwtKeyError> {
        let curves = [Curve::P256, Curve::P384, Curve::P521];
        let curve = curves
            .into_iter()
            .find(|curve| point.len() == 1 + 2 * curve.coordinate());
        Self::on(curve.ok_or(JwtKeyError::Point)?, point)
    }

    /// An RSA key from modulus and exponent, big-endian. Its ID is its RFC 7638 thumbprint.
    pub fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, JwtKeyError> {
        Ok(Self::thumbprinted(PublicKey::rsa(modulus, exponent)?))
    }

    fn on(curve: Curve, point: &[u8]) -> Result<Self, JwtKeyError> {
        let coordinates = point.strip_prefix(&[4]).ok_or(JwtKeyError::Point)?;
        let (x, y) = coordinates
            .split_at_checked(curve.coordinate())
            .ok_or(JwtKeyError::Point)?;
        Ok(Self::thumbprinted(PublicKey::ec(curve, x, y)?))
    }

    /// A key whose ID is its RFC 7638 thumbprint.
    pub(crate) fn thumbprinted(key: PublicKey) -> Self {
        Self {
            id: key.thumbprint(),
            key,
        }
    }

    pub(crate) fn new(id: String, key: PublicKey) -> Result<Self, JwtKeyError> {
        if id.is_empty() || id.len() > MAX_KEY_ID_BYTES {
            return Err(JwtKeyError::KeyId);
        }
        Ok(Self { id, key })
    }

    /// The key ID.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn public(&self) -> &PublicKey {
        &self.key
    }

    /// Whether the key and the algorithm go together and the signature is good.
    pub(crate) fn verifies(&self, algorithm: JwtAlgorithm, message: &[u8], signature: &[u8]) -> bool {
        match (&self.key, algorithm.verifier()) {
            (PublicKey::Ec { parsed, curve, .. }, Verifier::Ec(wanted)) => {
                wanted == *curve && parsed.verify_sig(message, signature).is_ok()
            }
            (PublicKey::Rsa { modulus, exponent }, Verifier::Rsa(parameters)) => {
                let components = RsaPublicKeyComponents {
                    n: modulus,
                    e: exponent,
                };
                components.verify(parameters, message, signature).is_ok()
            }
            (PublicKey::Ec { .. }, Verifier::Rsa(_)) | (PublicKey::Rsa { .. }, Verifier::Ec(_)) => false,
        }
    }
}
