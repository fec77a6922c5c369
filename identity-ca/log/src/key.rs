//! The log's key: Ed25519, in the encodings that <https://pkg.go.dev/golang.org/x/mod/sumdb/note> uses for its keys.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use data_encoding::{BASE64, HEXLOWER};
use signet_spiffe::TrustDomain;
use zeroize::Zeroizing;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::hash::Hash;
use crate::note::{self, Note, NoteError};

/// Signature type of Ed25519 in <https://c2sp.org/signed-note>.
const ED25519_TYPE: u8 = 1;

const PRIVATE: &str = "PRIVATE+KEY+";

/// Bytes of an Ed25519 public key, and of a seed.
const KEY_BYTES: usize = 32;

/// What the log of a trust domain is called: the origin of its checkpoints, and the name of its key.
pub fn origin(trust_domain: &TrustDomain) -> String {
    format!("{trust_domain}/signet/log")
}

/// Why a text is no key of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not in the form of signed notes.
    #[error("a log's key is written name+8 hex digits+base 64, as `signet ca log key` shows it")]
    Malformed,
    /// The id in the middle is not of this name and key.
    #[error("the id in the key does not belong to its name and value")]
    Id,
    /// Another kind than Ed25519.
    #[error("the key is of a kind other than Ed25519")]
    Kind,
}

/// The key that signs checkpoints. `Debug` shows nothing of it.
pub struct LogKey {
    pair: Ed25519KeyPair,
    verifier: VerifierKey,
}

/// The public half, by which checkpoints are checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    public: [u8; KEY_BYTES],
}

impl LogKey {
    /// A key of this seed, which must come from a cryptographic random source.
    pub fn from_seed(name: &str, seed: &[u8; KEY_BYTES]) -> Result<Self, KeyError> {
        if !note::is_name(name) {
            return Err(KeyError::Malformed);
        }
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::Malformed)?;
        let public = pair.public_key().as_ref().try_into();
        let verifier = VerifierKey {
            name: name.to_owned(),
            public: public.map_err(|_| KeyError::Malformed)?,
        };
        Ok(Self { pair, verifier })
    }

    /// Reads what [`LogKey::secret_text`] wrote.
    pub fn from_secret_text(text: &str) -> Result<Self, KeyError> {
        let rest = text.trim_end().strip_prefix(PRIVATE).ok_or(KeyError::Malformed)?;
        let (name, id, encoded) = split(rest)?;
        let seed = Zeroizing::new(decode(encoded)?);
        let key = Self::from_seed(name, &seed)?;
        if key.verifier.id() != id {
            return Err(KeyError::Id);
        }
        Ok(key)
    }

    /// The secret, to be kept where nobody else can read: `PRIVATE+KEY+name+id+seed`.
    pub fn secret_text(name: &str, seed: &[u8; KEY_BYTES]) -> Result<Zeroizing<String>, KeyError> {
        let key = Self::from_seed(name, seed)?;
        let mut typed = Zeroizing::new([ED25519_TYPE; KEY_BYTES + 1]);
        if let Some(value) = typed.get_mut(1..) {
            value.copy_from_slice(seed);
        }
        let encoded = Zeroizing::new(BASE64.encode(&*typed));
        let id = HEXLOWER.encode(&key.verifier.id());
        // In one allocation: a string that grows leaves copies of its beginning behind.
        let mut text = Zeroizing::new(String::with_capacity(256 + name.len()));
        for part in [PRIVATE, name, "+", &id, "+", &encoded, "\n"] {
            text.push_str(part);
        }
        Ok(text)
    }

    /// The public half.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Signs a tree head: the whole checkpoint. Who signs must have made sure that it agrees with all that were signed
    /// before.
    pub fn sign(&self, size: u64, root: Hash) -> Result<String, CheckpointError> {
        let text = Checkpoint::new(self.verifier.name(), size, root).text();
        let signature = self
            .pair
            .try_sign(text.as_bytes())
            .map_err(|_| CheckpointError::Sign)?;
        let id = self.verifier.id();
        Ok(note::write(&text, self.verifier.name(), id, signature.as_ref()))
    }
}

impl fmt::Debug for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogKey").field(&self.verifier).finish()
    }
}

impl VerifierKey {
    /// Reads `name+id+key`.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let (name, id, encoded) = split(text.trim_end())?;
        let key = Self {
            name: name.to_owned(),
            public: decode(encoded)?,
        };
        if key.id() != id {
            return Err(KeyError::Id);
        }
        Ok(key)
    }

    /// The key's name, and so the log's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A checkpoint, after checking that this key signed it and that it is of this log. Signatures of others are ignored.
    pub fn open(&self, note: &str) -> Result<Checkpoint, CheckpointError> {
        let note = Note::parse(note)?;
        let mut ours = note
            .signatures
            .iter()
            .filter(|signature| signature.name == self.name && signature.key_id == self.id())
            .peekable();
        if ours.peek().is_none() {
            return Err(NoteError::Unsigned.into());
        }
        let public = UnparsedPublicKey::new(&ED25519, &self.public);
        if ours.any(|signature| public.verify(note.text.as_bytes(), &signature.bytes).is_err()) {
            return Err(NoteError::Signature.into());
        }
        let checkpoint = Checkpoint::parse(note.text)?;
        if checkpoint.origin() != self.name {
            return Err(CheckpointError::Origin);
        }
        Ok(checkpoint)
    }

    /// The first four bytes of SHA-256 over name, line feed, type and key.
    fn id(&self) -> [u8; 4] {
        let mut bytes = self.name.clone().into_bytes();
        bytes.extend([b'\n', ED25519_TYPE]);
        bytes.extend(self.public);
        let [a, b, c, d, ..] = Hash::sha256(&bytes).0;
        [a, b, c, d]
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut typed = vec![ED25519_TYPE];
        typed.extend(self.public);
        let id = HEXLOWER.encode(&self.id());
        write!(f, "{}+{id}+{}", self.name, BASE64.encode(&typed))
    }
}

impl std::str::FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::parse(text)
    }
}

fn split(text: &str) -> Result<(&str, [u8; 4], &str), KeyError> {
    // Base 64 has plus signs too, names have none.
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(KeyError::Malformed);
    };
    if !note::is_name(name) || id.len() != 8 {
        return Err(KeyError::Malformed);
    }
    let id = HEXLOWER.decode(id.as_bytes()).map_err(|_| KeyError::Malformed)?;
    Ok((name, id.try_into().map_err(|_| KeyError::Malformed)?, encoded))
}

fn decode(encoded: &str) -> Result<[u8; KEY_BYTES], KeyError> {
    if encoded.len() > 64 {
        return Err(KeyError::Malformed);
    }
    let bytes = Zeroizing::new(
        BASE64
            .decode(encoded.as_bytes())
            .map_err(|_| KeyError::Malformed)?,
    );
    let (kind, key) = bytes.split_first().ok_or(KeyError::Malformed)?;
    if *kind != ED25519_TYPE {
        return Err(KeyError::Kind);
    }
    key.try_into().map_err(|_| KeyError::Malformed)
}
