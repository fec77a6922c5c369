//! Kinds of keys.

use std::fmt;
use std::str::FromStr;

use rcgen::{
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, SignatureAlgorithm,
};
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519,
};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

/// What a key is, and with it how it signs: each kind has one signature algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum KeyKind {
    /// ECDSA on P-256, with SHA-256.
    #[default]
    P256,
    /// ECDSA on P-384, with SHA-384.
    P384,
    /// RSA of 2048 bits, PKCS #1 v1.5 with SHA-256.
    Rsa2048,
    /// RSA of 3072 bits, the same.
    Rsa3072,
    /// RSA of 4096 bits, the same.
    Rsa4096,
    /// Ed25519: certificates only, JWT-SVIDs do not know it (JWT-SVID §2.1).
    Ed25519,
}

/// No kind of key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("kinds of keys are p256, p384, rsa2048, rsa3072, rsa4096 and ed25519")]
pub struct UnknownKind;

impl KeyKind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::P256,
        Self::P384,
        Self::Rsa2048,
        Self::Rsa3072,
        Self::Rsa4096,
        Self::Ed25519,
    ];

    /// As it is written on command lines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::P256 => "p256",
            Self::P384 => "p384",
            Self::Rsa2048 => "rsa2048",
            Self::Rsa3072 => "rsa3072",
            Self::Rsa4096 => "rsa4096",
            Self::Ed25519 => "ed25519",
        }
    }

    /// Of a public key, as `SubjectPublicKeyInfo` (RFC 5280 §4.1). None of a kind that is not among ours.
    pub fn of_public_key(spki: &[u8]) -> Option<Self> {
        let (rest, parsed) = SubjectPublicKeyInfo::from_der(spki).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let algorithm = &parsed.algorithm.algorithm;
        if *algorithm == OID_SIG_ED25519 {
            return Some(Self::Ed25519);
        }
        if *algorithm == OID_PKCS1_RSAENCRYPTION {
            let Ok(PublicKey::RSA(key)) = parsed.parsed() else {
                return None;
            };
            return Self::of_rsa_bits(key.key_size());
        }
        if *algorithm != OID_KEY_TYPE_EC_PUBLIC_KEY {
            return None;
        }
        let curve = parsed.algorithm.parameters.as_ref()?.as_oid().ok()?;
        [(OID_EC_P256, Self::P256), (OID_NIST_EC_P384, Self::P384)]
            .into_iter()
            .find_map(|(oid, kind)| (curve == oid).then_some(kind))
    }

    /// Whether signatures are ECDSA's, which certificates and JWTs write in different ways.
    pub const fn is_ecdsa(self) -> bool {
        match self {
            Self::P256 | Self::P384 => true,
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 | Self::Ed25519 => false,
        }
    }

    /// Bytes of each of the two integers of an ECDSA signature.
    pub(crate) const fn scalar_bytes(self) -> Option<usize> {
        match self {
            Self::P256 => Some(32),
            Self::P384 => Some(48),
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 | Self::Ed25519 => None,
        }
    }

    pub(crate) fn of_rsa_bits(bits: usize) -> Option<Self> {
        [
            (2048, Self::Rsa2048),
            (3072, Self::Rsa3072),
            (4096, Self::Rsa4096),
        ]
        .into_iter()
        .find_map(|(size, kind)| (bits == size).then_some(kind))
    }

    /// As rcgen calls its signature algorithm.
    pub(crate) fn certificate_algorithm(self) -> &'static SignatureAlgorithm {
        match self {
            Self::P256 => &PKCS_ECDSA_P256_SHA256,
            Self::P384 => &PKCS_ECDSA_P384_SHA384,
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => &PKCS_RSA_SHA256,
            Self::Ed25519 => &PKCS_ED25519,
        }
    }

    /// In a [`KeyRecord`](crate::KeyRecord); never to be given to another kind.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::P256 => 1,
            Self::P384 => 2,
            Self::Rsa2048 => 3,
            Self::Rsa3072 => 4,
            Self::Rsa4096 => 5,
            Self::Ed25519 => 6,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for KeyKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or(UnknownKind)
    }
}
