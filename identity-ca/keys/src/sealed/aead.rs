//! AES-256-GCM with a random nonce in front.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

/// Bytes of a key.
pub(super) const KEY: usize = 32;

/// Bytes that sealing adds.
pub(super) const OVERHEAD: usize = NONCE_LEN + 16;

/// A key of 256 bits, overwritten on drop.
pub(super) type Key = Zeroizing<[u8; KEY]>;

/// Nonce, ciphertext, tag. A random nonce of 96 bits is good for 2^32 messages; ours are counted in dozens.
pub(super) fn seal(key: &[u8; KEY], aad: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
    let cipher = RandomizedNonceKey::new(&AES_256_GCM, key).ok()?;
    let mut sealed = Zeroizing::new(Vec::with_capacity(plain.len() + OVERHEAD));
    sealed.extend_from_slice(plain);
    let nonce = cipher
        .seal_in_place_append_tag(Aad::from(aad), &mut *sealed)
        .ok()?;
    let mut whole = nonce.as_ref().to_vec();
    whole.extend_from_slice(&sealed);
    Some(whole)
}

/// What was sealed, if key and additional data are the same and nothing was changed.
pub(super) fn open(key: &[u8; KEY], aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let cipher = RandomizedNonceKey::new(&AES_256_GCM, key).ok()?;
    let mut plain = Zeroizing::new(body.to_vec());
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let length = cipher
        .open_in_place(nonce, Aad::from(aad), &mut plain)
        .ok()?
        .len();
    plain.truncate(length);
    Some(plain)
}
