//! A key that signs, and tokens by it.

use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use signet_spiffe::{
    JwtAlgorithm, JwtKey, JwtSigner, JwtSignerError, SpiffeId, UnixTime, WitSvidClaims, sign_wit_svid,
};
use zeroize::Zeroizing;

use super::key::WorkloadKey;

pub(super) struct Signer {
    pair: EcdsaKeyPair,
    pub(super) public: JwtKey,
}

impl Signer {
    pub(super) fn new(pair: EcdsaKeyPair) -> Self {
        let public = JwtKey::p256(pair.public_key().as_ref()).expect("a point");
        Self { pair, public }
    }

    pub(super) fn generate() -> Self {
        Self::new(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"))
    }
}

impl JwtSigner for Signer {
    fn algorithm(&self) -> JwtAlgorithm {
        JwtAlgorithm::Es256
    }

    fn key_id(&self) -> &str {
        self.public.id()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, JwtSignerError> {
        let signature = self.pair.sign(&SystemRandom::new(), message);
        Ok(signature.map_err(|_| JwtSignerError)?.as_ref().to_vec())
    }
}

/// A token that ends in an hour.
pub(super) fn token(ca: &Signer, id: &SpiffeId, key: &WorkloadKey) -> Zeroizing<String> {
    let now = UnixTime::now();
    let claims = WitSvidClaims {
        id,
        key: &key.public,
        issued_at: now,
        expires: UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs() + 3600)),
        token_id: "01",
    };
    Zeroizing::new(sign_wit_svid(ca, &claims).expect("signs"))
}
