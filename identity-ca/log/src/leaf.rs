//! What a leaf says, and its bytes.
//!
//! A leaf is, in order: version (1 byte), kind (1 byte), moment (8 bytes, Unix seconds), caller, and what the kind has.
//! Numbers are big-endian; strings have their length in front, two bytes. Each entry has one encoding, and a leaf that
//! is not the encoding of what was read from it is refused.

use std::fmt;

use data_encoding::HEXLOWER;
use signet_spiffe::{NodeName, SpiffeId};

use crate::bytes::{Reader, put_string};
use crate::change::Change;
use crate::hash::Hash;

/// Most bytes of a leaf: a SPIFFE ID of the greatest length and all else.
pub const MAX_LEAF_BYTES: usize = 4096;

/// Most bytes of a serial number (RFC 5280 §4.1.2.2).
pub const MAX_SERIAL_BYTES: usize = 20;

const VERSION: u8 = 1;

/// An entry of the log: who caused what, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Unix seconds, by the clock of who wrote it.
    pub at: u64,
    /// Who caused it.
    pub caller: Caller,
    /// What happened.
    pub record: Record,
}

/// Who caused an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// The CA itself, as for its own SVID.
    Ca,
    /// A process on the operator's socket, by its Unix user.
    Operator {
        /// The user id.
        uid: u32,
    },
    /// A node, by its SVID.
    Node(NodeName),
    /// Who showed a join token, by the token's id.
    JoinToken([u8; 8]),
    /// Who proved to have the key of a certificate, by that one's SHA-256.
    X509Pop([u8; 32]),
    /// The same, with a key that cannot leave its TPM.
    TpmDevid([u8; 32]),
    /// An operator, by an SVID.
    Identity(SpiffeId),
}

/// What an entry is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An SVID was issued.
    Issuance(Issuance),
    /// The registry changed.
    Change(Change),
}

/// What kind of document an SVID is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Document {
    /// An X.509-SVID; its digest is over the certificate's DER.
    X509,
    /// A JWT-SVID; its digest is over the token's text.
    Jwt,
    /// A WIT-SVID; its digest is over the token's text.
    Wit,
}

/// That an SVID was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuance {
    /// What kind of SVID.
    pub document: Document,
    /// Its serial number, big-endian, 1 to [`MAX_SERIAL_BYTES`] bytes; of a JWT or WIT its `jti`.
    pub serial: Vec<u8>,
    /// Whose it is.
    pub spiffe_id: SpiffeId,
    /// The node that it was issued to; `None`: the CA itself.
    pub node: Option<NodeName>,
    /// Unix seconds.
    pub not_before: u64,
    /// Unix seconds.
    pub not_after: u64,
    /// SHA-256 of the document.
    pub sha256: Hash,
}

/// Why bytes are no leaf that this version reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeafError {
    /// More than [`MAX_LEAF_BYTES`].
    #[error("the entry has {bytes} bytes, at most {MAX_LEAF_BYTES} are read")]
    TooLong {
        /// Its size.
        bytes: usize,
    },
    /// Written by a later version of Signet. Its place in the tree can be checked all the same.
    #[error("the entry is of version {version}, kind {kind}, which this program does not know")]
    Unknown {
        /// The version.
        version: u8,
        /// The kind.
        kind: u8,
    },
    /// Not the encoding of anything.
    #[error("the entry is malformed")]
    Malformed,
}

impl Entry {
    /// The leaf's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut leaf = Vec::with_capacity(256);
        leaf.push(VERSION);
        leaf.push(match &self.record {
            Record::Issuance(_) => 1,
            Record::Change(_) => 2,
        });
        leaf.extend(self.at.to_be_bytes());
        self.caller.write(&mut leaf);
        match &self.record {
            Record::Issuance(issuance) => issuance.write(&mut leaf),
            Record::Change(change) => change.write(&mut leaf),
        }
        leaf
    }

    /// Reads a leaf.
    pub fn decode(leaf: &[u8]) -> Result<Self, LeafError> {
        if leaf.len() > MAX_LEAF_BYTES {
            return Err(LeafError::TooLong { bytes: leaf.len() });
        }
        let mut from = Reader(leaf);
        let version = from.u8().ok_or(LeafError::Malformed)?;
        let kind = from.u8().ok_or(LeafError::Malformed)?;
        if version != VERSION || !matches!(kind, 1 | 2) {
            return Err(LeafError::Unknown { version, kind });
        }
        let at = from.u64().ok_or(LeafError::Malformed)?;
        let caller = Caller::read(&mut from).ok_or(LeafError::Malformed)?;
        let record = if kind == 1 {
            Record::Issuance(Issuance::read(&mut from).ok_or(LeafError::Malformed)?)
        } else {
            Record::Change(Change::read(&mut from)?)
        };
        if !from.0.is_empty() {
            return Err(LeafError::Malformed);
        }
        Ok(Self { at, caller, record })
    }
}

impl Caller {
    fn write(&self, to: &mut Vec<u8>) {
        match self {
            Self::Ca => to.push(0),
            Self::Operator { uid } => {
                to.push(1);
                to.extend(uid.to_be_bytes());
            }
            Self::Node(name) => {
                to.push(2);
                put_string(to, name.as_str().as_bytes());
            }
            Self::JoinToken(id) => {
                to.push(3);
                to.extend(id);
            }
            Self::X509Pop(certificate) => {
                to.push(60);
                to.extend(certificate);
            }
            Self::TpmDevid(certificate) => {
                to.push(61);
                to.extend(certificate);
            }
            Self::Identity(id) => {
                to.push(4);
                put_string(to, id.as_str().as_bytes());
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        match from.u8()? {
            0 => Some(Self::Ca),
            1 => Some(Self::Operator { uid: from.u32()? }),
            2 => NodeName::parse(from.text()?).ok().map(Self::Node),
            3 => from.array().map(Self::JoinToken),
            60 => from.array().map(Self::X509Pop),
            61 => from.array().map(Self::TpmDevid),
            4 => SpiffeId::parse(from.text()?).ok().map(Self::Identity),
            _ => None,
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ca => f.write_str("ca"),
            Self::Operator { uid } => write!(f, "uid {uid}"),
            Self::Node(name) => write!(f, "node {name}"),
            Self::JoinToken(id) => write!(f, "token {}", HEXLOWER.encode(id)),
            Self::X509Pop(certificate) => write!(f, "x509pop {}", HEXLOWER.encode(certificate)),
            Self::TpmDevid(certificate) => write!(f, "tpm_devid {}", HEXLOWER.encode(certificate)),
            Self::Identity(id) => f.write_str(id.as_str()),
        }
    }
}

impl Document {
    /// For people and for JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::X509 => "x509",
            Self::Jwt => "jwt",
            Self::Wit => "wit",
        }
    }
}

impl Issuance {
    /// The serial number as text.
    pub fn serial_hex(&self) -> String {
        HEXLOWER.encode(&self.serial)
    }

    fn write(&self, to: &mut Vec<u8>) {
        to.push(match self.document {
            Document::X509 => 1,
            Document::Jwt => 2,
            Document::Wit => 110,
        });
        put_string(to, &self.serial);
        put_string(to, self.spiffe_id.as_str().as_bytes());
        // No node has an empty name.
        put_string(to, self.node.as_ref().map_or("", NodeName::as_str).as_bytes());
        to.extend(self.not_before.to_be_bytes());
        to.extend(self.not_after.to_be_bytes());
        to.extend(self.sha256.0);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let document = match from.u8()? {
            1 => Document::X509,
            2 => Document::Jwt,
            110 => Document::Wit,
            _ => return None,
        };
        let serial = from.string()?;
        if serial.is_empty() || serial.len() > MAX_SERIAL_BYTES {
            return None;
        }
        let spiffe_id = SpiffeId::parse(from.text()?).ok()?;
        let node = match from.text()? {
            "" => None,
            name => Some(NodeName::parse(name).ok()?),
        };
        Some(Self {
            document,
            serial: serial.to_vec(),
            spiffe_id,
            node,
            not_before: from.u64()?,
            not_after: from.u64()?,
            sha256: from.array().map(Hash)?,
        })
    }
}
