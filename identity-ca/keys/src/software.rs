//! Keys in this process's memory.

use std::fmt;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
};
use zeroize::Zeroizing;

use crate::kind::KeyKind;
use crate::manager::KeyManagerError;
use crate::signer::{SignError, Signer};

/// A key that aws-lc has, which overwrites it when it is dropped. `Debug` shows what kind it is.
pub(crate) struct SoftwareKey {
    pair: Pair,
    kind: KeyKind,
    public_key: Vec<u8>,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Rsa(rsa::KeyPair),
    Ed25519(Ed25519KeyPair),
}

/// PKCS #8 in DER, overwritten on drop.
pub(crate) type Secret = Zeroizing<Vec<u8>>;

impl SoftwareKey {
    /// A new key, and how it is written down.
    pub(crate) fn generate(kind: KeyKind) -> Result<(Self, Secret), KeyManagerError> {
        let failed = || KeyManagerError::Generate { kind };
        let secret = pkcs8(kind).ok_or_else(failed)?;
        let key = Self::from_pkcs8(&secret).filter(|key| key.kind == kind);
        Ok((key.ok_or_else(failed)?, secret))
    }

    /// Reads a key of any kind. aws-lc checks that its halves belong together.
    pub(crate) fn from_pkcs8(secret: &[u8]) -> Option<Self> {
        for (kind, algorithm) in [
            (KeyKind::P256, &ECDSA_P256_SHA256_ASN1_SIGNING),
            (KeyKind::P384, &ECDSA_P384_SHA384_ASN1_SIGNING),
        ] {
            if let Ok(pair) = EcdsaKeyPair::from_pkcs8(algorithm, secret) {
                let public: PublicKeyX509Der<'_> = pair.public_key().as_der().ok()?;
                let public_key = public.as_ref().to_vec();
                return Self::new(Pair::Ecdsa(pair), kind, public_key);
            }
        }
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(secret) {
            let public: PublicKeyX509Der<'_> = pair.public_key().as_der().ok()?;
            let public_key = public.as_ref().to_vec();
            return Self::new(Pair::Ed25519(pair), KeyKind::Ed25519, public_key);
        }
        let pair = rsa::KeyPair::from_pkcs8(secret).ok()?;
        let kind = KeyKind::of_rsa_bits(pair.public_modulus_len() * 8)?;
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().ok()?;
        let public_key = public.as_ref().to_vec();
        Self::new(Pair::Rsa(pair), kind, public_key)
    }

    fn new(pair: Pair, kind: KeyKind, public_key: Vec<u8>) -> Option<Self> {
        (KeyKind::of_public_key(&public_key) == Some(kind)).then_some(Self {
            pair,
            kind,
            public_key,
        })
    }
}

impl Signer for SoftwareKey {
    fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    fn kind(&self) -> KeyKind {
        self.kind
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ecdsa(pair) => {
                let signature = pair.sign(&random, message).map_err(|_| SignError::Failed)?;
                Ok(signature.as_ref().to_vec())
            }
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map_err(|_| SignError::Failed)?;
                Ok(signature)
            }
            Pair::Ed25519(pair) => {
                let signature = pair.try_sign(message).map_err(|_| SignError::Failed)?;
                Ok(signature.as_ref().to_vec())
            }
        }
    }
}

impl fmt::Debug for SoftwareKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SoftwareKey({}, ..)", self.kind)
    }
}

fn pkcs8(kind: KeyKind) -> Option<Secret> {
    match kind {
        KeyKind::P256 => ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING),
        KeyKind::P384 => ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING),
        KeyKind::Rsa2048 => rsa_key(KeySize::Rsa2048),
        KeyKind::Rsa3072 => rsa_key(KeySize::Rsa3072),
        KeyKind::Rsa4096 => rsa_key(KeySize::Rsa4096),
        KeyKind::Ed25519 => {
            let pair = Ed25519KeyPair::generate().ok()?;
            Some(Secret::new(pair.to_pkcs8v1().ok()?.as_ref().to_vec()))
        }
    }
}

fn ecdsa(algorithm: &'static EcdsaSigningAlgorithm) -> Option<Secret> {
    let pair = EcdsaKeyPair::generate(algorithm).ok()?;
    Some(Secret::new(pair.to_pkcs8v1().ok()?.as_ref().to_vec()))
}

fn rsa_key(size: KeySize) -> Option<Secret> {
    let pair = rsa::KeyPair::generate(size).ok()?;
    let der = aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair).ok()?;
    Some(Secret::new(der.as_ref().to_vec()))
}
