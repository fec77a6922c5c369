//! The hashes of RFC 6962 §2.1.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256, digest};
use data_encoding::{BASE64, HEXLOWER};

/// Bytes of a hash.
pub const HASH_BYTES: usize = 32;

/// The SHA-256 hash of a leaf, of an inner node, or of a whole tree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; HASH_BYTES]);

/// Keeps leaves and inner nodes apart, so that neither can be passed off as the other (RFC 6962 §2.1).
const LEAF: [u8; 1] = [0];
const NODE: [u8; 1] = [1];

impl Hash {
    /// The hash of a tree without leaves: that of nothing.
    pub fn empty_tree() -> Self {
        Self::from_digest(digest(&SHA256, &[]).as_ref())
    }

    /// The hash of a leaf.
    pub fn leaf(data: &[u8]) -> Self {
        Self::of(&[&LEAF, data])
    }

    /// The hash of an inner node.
    pub fn node(left: &Self, right: &Self) -> Self {
        Self::of(&[&NODE, &left.0, &right.0])
    }

    /// SHA-256 of anything, without a prefix: for digests inside leaves.
    pub fn sha256(data: &[u8]) -> Self {
        Self::from_digest(digest(&SHA256, data).as_ref())
    }

    /// Exactly [`HASH_BYTES`] bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Standard base 64 of exactly one hash.
    pub fn from_base64(text: &str) -> Option<Self> {
        if text.len() != BASE64.encode_len(HASH_BYTES) {
            return None;
        }
        Self::from_slice(&BASE64.decode(text.as_bytes()).ok()?)
    }

    /// Standard base 64, as checkpoints have it.
    pub fn to_base64(&self) -> String {
        BASE64.encode(&self.0)
    }

    fn of(parts: &[&[u8]]) -> Self {
        let mut context = Context::new(&SHA256);
        for part in parts {
            context.update(part);
        }
        Self::from_digest(context.finish().as_ref())
    }

    fn from_digest(digest: &[u8]) -> Self {
        let mut hash = [0; HASH_BYTES];
        hash.copy_from_slice(digest);
        Self(hash)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
