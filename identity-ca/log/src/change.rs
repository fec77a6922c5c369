//! What a leaf says of a change of the registry.

use crate::bytes::{Reader, put_string};
use crate::hash::Hash;
use crate::leaf::LeafError;

/// What kind of thing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// Which workloads have a SPIFFE ID; the subject is the registration's id, and after a space the SPIFFE ID (entries of
    /// earlier versions have the id alone).
    Registration,
    /// A node: attested, or reached elsewhere; the subject is its name.
    Node,
    /// A join token; the subject is its id, never its secret.
    JoinToken,
    /// A setting of the trust domain; the subject is its name.
    Setting,
    /// A revocation; the subject is `<kind>:<what>`.
    Revocation,
    /// A trust domain whose bundle is followed, and that bundle; the subject is its name.
    Federation,
    /// A signing authority of the trust domain; the subject is `<kind>:<id>`.
    Authority,
    /// What a node may attest with other than a join token; the subject is its name.
    NodeEntry,
}

/// Which registration a change is of: its id, and whose it is where the entry says so.
pub fn registration(subject: &str) -> (&str, Option<&str>) {
    match subject.split_once(' ') {
        Some((id, spiffe_id)) => (id, Some(spiffe_id)),
        None => (subject, None),
    }
}

/// That something in the registry changed: what it was and what it is, as digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What kind of thing.
    pub kind: ChangeKind,
    /// Which one. At most [`Change::MAX_SUBJECT`] bytes.
    pub subject: String,
    /// Digest of what it was; `None`: it was not there.
    pub before: Option<Hash>,
    /// Digest of what it is; `None`: it is gone.
    pub after: Option<Hash>,
}

impl Change {
    /// Most bytes of a subject.
    pub const MAX_SUBJECT: usize = 2304;

    /// The digest of a thing: SHA-256 over its fields, each with its length in front.
    pub fn digest(fields: &[&str]) -> Hash {
        let mut bytes = Vec::new();
        for field in fields {
            bytes.extend(u64::try_from(field.len()).unwrap_or(u64::MAX).to_be_bytes());
            bytes.extend(field.as_bytes());
        }
        Hash::sha256(&bytes)
    }

    pub(crate) fn write(&self, to: &mut Vec<u8>) {
        to.push(self.kind.code());
        put_string(to, self.subject.as_bytes());
        for digest in [self.before, self.after] {
            match digest {
                None => to.push(0),
                Some(digest) => {
                    to.push(1);
                    to.extend(digest.0);
                }
            }
        }
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, LeafError> {
        let kind = from.u8().ok_or(LeafError::Malformed)?;
        let kind = ChangeKind::from_code(kind).ok_or(LeafError::Malformed)?;
        let subject = from.text().ok_or(LeafError::Malformed)?;
        if subject.len() > Self::MAX_SUBJECT {
            return Err(LeafError::Malformed);
        }
        Ok(Self {
            kind,
            subject: subject.to_owned(),
            before: read_digest(from)?,
            after: read_digest(from)?,
        })
    }
}

fn read_digest(from: &mut Reader<'_>) -> Result<Option<Hash>, LeafError> {
    match from.u8() {
        Some(0) => Ok(None),
        Some(1) => from.array().map(Hash).map(Some).ok_or(LeafError::Malformed),
        Some(_) | None => Err(LeafError::Malformed),
    }
}

impl ChangeKind {
    /// For people and for JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registration => "registration",
            Self::Node => "node",
            Self::JoinToken => "join token",
            Self::Setting => "setting",
            Self::Revocation => "revocation",
            Self::Federation => "federation",
            Self::Authority => "authority",
            Self::NodeEntry => "node entry",
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Registration => 1,
            Self::Node => 2,
            Self::JoinToken => 3,
            Self::Setting => 4,
            Self::Revocation => 5,
            Self::Federation => 6,
            Self::Authority => 40,
            Self::NodeEntry => 60,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Registration),
            2 => Some(Self::Node),
            3 => Some(Self::JoinToken),
            4 => Some(Self::Setting),
            5 => Some(Self::Revocation),
            6 => Some(Self::Federation),
            40 => Some(Self::Authority),
            60 => Some(Self::NodeEntry),
            _ => None,
        }
    }
}
