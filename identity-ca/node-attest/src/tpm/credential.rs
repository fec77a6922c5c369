//! `TPM2_MakeCredential` in software (TPM 2.0 Part 1, 24, and annexes B.10.3, C.6.3): what only the TPM that has both an
//! endorsement key and another key opens.

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey, UnparsedPublicKey, agree};
use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::digest;
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use signet_tpm::{Name, PublicKey, Writer};
use zeroize::{Zeroize as _, Zeroizing};

/// What the seed is for, with the final zero that TPMs count as part of a label.
const IDENTITY: &[u8] = b"IDENTITY\0";

/// A sealed secret, as a TPM takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// The inside of a `TPM2B_ID_OBJECT`.
    pub blob: Vec<u8>,
    /// The inside of a `TPM2B_ENCRYPTED_SECRET`.
    pub encrypted_secret: Vec<u8>,
}

/// Nothing can be sealed for this endorsement key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nothing can be sealed for the TPM's endorsement key: it is no key of its kind")]
pub struct SealError;

impl From<Unspecified> for SealError {
    fn from(_: Unspecified) -> Self {
        Self
    }
}

/// Seals `secret` for the TPM that has the private part of `endorsement` and a key called `name`.
///
/// `randomness` is of this one alone: the seed, or the ephemeral key that the seed comes from. What pads an RSA encryption
/// aws-lc draws itself.
pub(crate) fn seal(
    endorsement: &PublicKey,
    name: &Name,
    secret: &[u8; 32],
    randomness: &[u8; 32],
) -> Result<Credential, SealError> {
    let (seed, encrypted_secret) = match endorsement {
        PublicKey::Rsa { .. } => {
            let key = PublicEncryptingKey::from_der(&endorsement.to_spki()).map_err(|_| SealError)?;
            let key = OaepPublicEncryptingKey::new(key)?;
            let mut encrypted = vec![0; key.ciphertext_size()];
            key.encrypt(
                &OAEP_SHA256_MGF1SHA256,
                randomness,
                &mut encrypted,
                Some(IDENTITY),
            )?;
            (Zeroizing::new(*randomness), encrypted)
        }
        PublicKey::P256 { x, .. } => {
            let ephemeral = PrivateKey::from_private_key(&ECDH_P256, randomness).map_err(|_| SealError)?;
            let public = ephemeral.compute_public_key()?;
            let (ours_x, ours_y) = coordinates(public.as_ref())?;
            let theirs = UnparsedPublicKey::new(&ECDH_P256, endorsement.to_raw());
            let seed = agree(&ephemeral, theirs, SealError, |shared| {
                Ok(kdfe(shared, IDENTITY, ours_x, x))
            })?;
            (seed, Writer::new().sized(ours_x).sized(ours_y).to_vec())
        }
    };
    Ok(Credential {
        blob: wrap(&seed, name, secret)?,
        encrypted_secret,
    })
}

/// Of an uncompressed point.
fn coordinates(point: &[u8]) -> Result<(&[u8], &[u8]), SealError> {
    match point.split_first() {
        Some((4, rest)) if rest.len() == 64 => Ok(rest.split_at(32)),
        _ => Err(SealError),
    }
}

/// The outer wrap (Part 1, 24.4): encrypted, and with a MAC over that and the name.
fn wrap(seed: &[u8; 32], name: &Name, secret: &[u8; 32]) -> Result<Vec<u8>, SealError> {
    let name = name.as_bytes();
    let storage = kdfa(seed, b"STORAGE\0", name, 128);
    let cipher = EncryptingKey::cfb128(UnboundCipherKey::new(&AES_128, &storage[..16])?)?;
    let mut identity = Writer::new().sized(secret).to_vec();
    // The key is of this secret alone, so that the vector may be zero, and has to be.
    let zero = EncryptionContext::Iv128(FixedLength::from([0; 16]));
    let encrypted = cipher.less_safe_encrypt(&mut identity, zero);
    if encrypted.is_err() {
        identity.zeroize();
        return Err(SealError);
    }
    let integrity = kdfa(seed, b"INTEGRITY\0", &[], 256);
    let key = hmac::Key::new(HMAC_SHA256, &*integrity);
    let mac = hmac::sign(&key, &[&identity, &name[..]].concat());
    Ok(Writer::new().sized(mac.as_ref()).raw(&identity).to_vec())
}

/// Part 1, 11.4.10.2: SP800-108 in counter mode, of one block, without a second context.
fn kdfa(key: &[u8; 32], label: &[u8], context: &[u8], bits: u32) -> Zeroizing<[u8; 32]> {
    let key = hmac::Key::new(HMAC_SHA256, key);
    let mut mac = hmac::Context::with_key(&key);
    for part in [&1_u32.to_be_bytes(), label, context, &bits.to_be_bytes()] {
        mac.update(part);
    }
    block(mac.sign().as_ref())
}

/// Part 1, 11.4.10.3: SP800-56A, of one block.
fn kdfe(shared: &[u8], label: &[u8], ours: &[u8], theirs: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut hash = digest::Context::new(&digest::SHA256);
    for part in [&1_u32.to_be_bytes(), shared, label, ours, theirs] {
        hash.update(part);
    }
    block(hash.finish().as_ref())
}

fn block(output: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut block = Zeroizing::new([0; 32]);
    block.copy_from_slice(output);
    block
}

#[cfg(test)]
#[path = "credential_tests.rs"]
mod tests;
