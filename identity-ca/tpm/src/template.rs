//! Public areas of keys to be made.

use crate::{Attributes, Writer, algorithm};

/// `PolicySecret(TPM_RH_ENDORSEMENT)`, as the templates of TCG's EK Credential Profile (B.3.3, B.3.4) have it.
const ENDORSEMENT_POLICY: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24, 0xfd,
    0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
];

/// What a key that was born in a TPM and stays there is.
const RESIDENT: Attributes = Attributes::all([
    Attributes::FIXED_TPM,
    Attributes::FIXED_PARENT,
    Attributes::SENSITIVE_DATA_ORIGIN,
]);

/// A parent of other keys, or an endorsement key.
const PARENT: Attributes = Attributes::all([RESIDENT, Attributes::RESTRICTED, Attributes::DECRYPT]);

/// A key that signs for whoever can use the TPM.
const SIGNER: Attributes = Attributes::all([
    RESIDENT,
    Attributes::USER_WITH_AUTH,
    Attributes::NO_DA,
    Attributes::SIGN,
]);

/// Keys that are made for signing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// ECDSA on P-256, with SHA-256.
    P256,
    /// RSA of 2,048 bits, PKCS#1 1.5, with SHA-256.
    Rsa2048,
}

/// Where the endorsement key is of the RSA kind (template L-1).
#[must_use]
pub fn endorsement_rsa() -> Vec<u8> {
    let attributes = Attributes::all([PARENT, Attributes::ADMIN_WITH_POLICY]);
    head(algorithm::RSA, attributes, &ENDORSEMENT_POLICY)
        .u16(algorithm::AES)
        .u16(128)
        .u16(algorithm::CFB)
        .u16(algorithm::NULL)
        .u16(2048)
        .u32(0)
        .sized(&[0; 256])
        .to_vec()
}

/// Where it is on P-256 (template L-2).
#[must_use]
pub fn endorsement_p256() -> Vec<u8> {
    let attributes = Attributes::all([PARENT, Attributes::ADMIN_WITH_POLICY]);
    parent_p256(attributes, &ENDORSEMENT_POLICY)
}

/// The storage key that our keys lie under: TCG's, on P-256. The same each time that it is made.
#[must_use]
pub fn storage() -> Vec<u8> {
    let attributes = Attributes::all([PARENT, Attributes::USER_WITH_AUTH, Attributes::NO_DA]);
    parent_p256(attributes, &[])
}

/// A device identity: signs whatever it is given.
#[must_use]
pub fn device_identity(kind: Kind) -> Vec<u8> {
    signer(kind, SIGNER)
}

/// An attestation key: signs only what the TPM says itself.
#[must_use]
pub fn attestation() -> Vec<u8> {
    signer(Kind::P256, Attributes::all([SIGNER, Attributes::RESTRICTED]))
}

/// A key for signing with any attributes.
#[must_use]
pub fn signer(kind: Kind, attributes: Attributes) -> Vec<u8> {
    match kind {
        Kind::P256 => head(algorithm::ECC, attributes, &[])
            .u16(algorithm::NULL)
            .u16(algorithm::ECDSA)
            .u16(algorithm::SHA256)
            .u16(algorithm::P256)
            .u16(algorithm::NULL)
            .sized(&[])
            .sized(&[])
            .to_vec(),
        Kind::Rsa2048 => head(algorithm::RSA, attributes, &[])
            .u16(algorithm::NULL)
            .u16(algorithm::RSASSA)
            .u16(algorithm::SHA256)
            .u16(2048)
            .u32(0)
            .sized(&[])
            .to_vec(),
    }
}

fn parent_p256(attributes: Attributes, policy: &[u8]) -> Vec<u8> {
    head(algorithm::ECC, attributes, policy)
        .u16(algorithm::AES)
        .u16(128)
        .u16(algorithm::CFB)
        .u16(algorithm::NULL)
        .u16(algorithm::P256)
        .u16(algorithm::NULL)
        .sized(&[0; 32])
        .sized(&[0; 32])
        .to_vec()
}

fn head(kind: u16, attributes: Attributes, policy: &[u8]) -> Writer {
    Writer::new()
        .u16(kind)
        .u16(algorithm::SHA256)
        .u32(attributes.0)
        .sized(policy)
}
