//! What the registry keeps of a key.

use crate::kind::KeyKind;

/// Most bytes of a record: a sealed RSA key of 4096 bits has about 2,500.
pub const MAX_RECORD_BYTES: usize = 12 * 1024;

const VERSION: u8 = 1;
const MAX_NAME: usize = 32;
const MAX_PUBLIC: usize = 1024;
const MAX_BODY: usize = 8 * 1024;

/// How to find a key again: which manager made it, its public half, and what that manager needs to open it. No secret without
/// what the manager has besides: it may lie in a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    manager: String,
    kind: KeyKind,
    public_key: Vec<u8>,
    body: Vec<u8>,
}

/// Why bytes are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Written by a later version.
    #[error("the key's record has format {0}, which a later version of Signet wrote")]
    Version(u8),
    /// Cut off, too long, or never a record.
    #[error("the key's record is damaged")]
    Damaged,
}

impl KeyRecord {
    /// A record of a key whose public half is this `SubjectPublicKeyInfo`. An error if a part is too long, or the key is not of that kind.
    pub fn new(manager: &str, kind: KeyKind, public_key: &[u8], body: Vec<u8>) -> Result<Self, RecordError> {
        let named =
            (1..=MAX_NAME).contains(&manager.len()) && manager.bytes().all(|byte| byte.is_ascii_graphic());
        let fits = public_key.len() <= MAX_PUBLIC && body.len() <= MAX_BODY;
        if !named || !fits || KeyKind::of_public_key(public_key) != Some(kind) {
            return Err(RecordError::Damaged);
        }
        Ok(Self {
            manager: manager.to_owned(),
            kind,
            public_key: public_key.to_vec(),
            body,
        })
    }

    /// Name of the manager that has the key.
    pub fn manager(&self) -> &str {
        &self.manager
    }

    /// What kind of key it is.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The public half, `SubjectPublicKeyInfo` in DER.
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// What the manager needs to open it.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// For a row of the registry: version, kind, then name, public key and body, each after its length.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION, self.kind.code()];
        for part in [self.manager.as_bytes(), &self.public_key, &self.body] {
            // Parts are bounded far below by `new`.
            let length = u16::try_from(part.len()).unwrap_or(u16::MAX);
            bytes.extend(length.to_be_bytes());
            bytes.extend(part);
        }
        bytes
    }

    /// Reads what [`KeyRecord::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let [version, kind, rest @ ..] = bytes else {
            return Err(RecordError::Damaged);
        };
        if *version != VERSION {
            return Err(RecordError::Version(*version));
        }
        if bytes.len() > MAX_RECORD_BYTES {
            return Err(RecordError::Damaged);
        }
        let kind = KeyKind::from_code(*kind).ok_or(RecordError::Damaged)?;
        let (manager, rest) = part(rest)?;
        let (public_key, rest) = part(rest)?;
        let (body, rest) = part(rest)?;
        if !rest.is_empty() {
            return Err(RecordError::Damaged);
        }
        let manager = std::str::from_utf8(manager).map_err(|_| RecordError::Damaged)?;
        Self::new(manager, kind, public_key, body.to_vec())
    }
}

fn part(bytes: &[u8]) -> Result<(&[u8], &[u8]), RecordError> {
    let (length, rest) = bytes.split_first_chunk().ok_or(RecordError::Damaged)?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
        .ok_or(RecordError::Damaged)
}
