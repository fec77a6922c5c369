//! A workload's key as a JWK.

use aws_lc_rs::encoding::{AsBigEndian as _, EcPrivateKeyBin};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use data_encoding::BASE64URL_NOPAD;
use signet_spiffe::{ConfirmationKey, JwtAlgorithm, JwtKey};
use zeroize::{Zeroize as _, Zeroizing};

/// A key that is none on P-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key is not a P-256 key in PKCS#8")]
pub(super) struct KeyFormat;

/// A workload's key: for the workload, and to compare.
pub(super) struct WorkloadKey {
    /// RFC 7517. A secret.
    pub(super) jwk: Zeroizing<String>,
    /// Its public half.
    pub(super) public: ConfirmationKey,
}

impl WorkloadKey {
    /// From PKCS#8, DER.
    pub(super) fn read(pkcs8: &[u8]) -> Result<Self, KeyFormat> {
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map_err(|_| KeyFormat)?;
        let point = pair.public_key().as_ref();
        let (x, y) = point
            .strip_prefix(&[4])
            .and_then(|coordinates| coordinates.split_at_checked(32))
            .filter(|(_, y)| y.len() == 32)
            .ok_or(KeyFormat)?;
        let public = JwtKey::p256(point).map_err(|_| KeyFormat)?;
        let public = ConfirmationKey::new(&public, JwtAlgorithm::Es256).map_err(|_| KeyFormat)?;
        let secret: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes().map_err(|_| KeyFormat)?;
        let encode = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let mut d = encode(secret.as_ref());
        // Base64url needs no escapes.
        let jwk = format!(
            r#"{{"alg":"ES256","crv":"P-256","d":"{d}","kty":"EC","x":"{}","y":"{}"}}"#,
            encode(x),
            encode(y)
        );
        d.zeroize();
        Ok(Self {
            jwk: Zeroizing::new(jwk),
            public,
        })
    }
}
