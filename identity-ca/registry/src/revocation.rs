//! Revocations as values.

use std::fmt;
use std::str::FromStr;

use signet_log::{Change as Logged, Entry, Hash};
use signet_rotation::{AuthorityId, AuthorityKind, StepError};
use signet_spiffe::{KeyId, NodeName, SerialNumber, SpiffeId, UnixTime};

use crate::database::StorageError;
use crate::nodes::NodeNumber;

/// Most revocations that are kept at a time, beside those of nodes, of which there are no more than nodes. Each is in every
/// node's memory.
pub const MAX_REVOCATIONS: usize = 100_000;

/// Most SPIFFE IDs that an effect names.
pub const MAX_NAMED: usize = 64;

/// What is revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// One certificate.
    Serial(SerialNumber),
    /// Everything issued to a SPIFFE ID so far.
    Id(SpiffeId),
    /// A node's own SVIDs so far, and every workload's that was issued to it: their serial numbers name it.
    Node(NodeName),
    /// Everything below a signing key.
    Authority(KeyId),
}

impl Target {
    /// As the table has it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Serial(_) => "serial",
            Self::Id(_) => "spiffe-id",
            Self::Node(_) => "node",
            Self::Authority(_) => "authority",
        }
    }

    /// As the table has it.
    pub(crate) fn subject(&self) -> String {
        match self {
            Self::Serial(serial) => serial.to_string(),
            Self::Id(id) => id.to_string(),
            Self::Node(name) => name.to_string(),
            Self::Authority(key) => key.to_string(),
        }
    }

    pub(crate) fn parse(kind: &str, subject: &str) -> Result<Self, StorageError> {
        let corrupt = StorageError::Corrupt {
            column: "revocations.subject",
        };
        let parsed = match kind {
            "serial" => subject.parse().ok().map(Self::Serial),
            "spiffe-id" => SpiffeId::parse(subject).ok().map(Self::Id),
            "node" => NodeName::parse(subject).ok().map(Self::Node),
            "authority" => subject.parse().ok().map(Self::Authority),
            _ => None,
        };
        parsed.ok_or(corrupt)
    }
}

/// `<kind>:<subject>`: the name of a revocation.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind(), self.subject())
    }
}

impl FromStr for Target {
    type Err = StorageError;

    fn from_str(text: &str) -> Result<Self, StorageError> {
        let (kind, subject) = text.split_once(':').ok_or(StorageError::Corrupt {
            column: "changes.key",
        })?;
        Self::parse(kind, subject)
    }
}

/// Certificates that count no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Which.
    pub target: Target,
    /// Of an ID or a node: certificates whose validity begins then or before.
    pub cut: UnixTime,
    /// In the operator's words.
    pub reason: String,
    /// Who asked for it.
    pub asker: String,
    /// When, by the clock that was ahead: tokens that were issued then or before do not count. Never goes down.
    pub at: UnixTime,
    /// When the last certificate that it revokes has expired.
    pub until: UnixTime,
    /// Nothing new is issued for the target until the operator says so.
    pub closed: bool,
    /// Of a node: it may not come back.
    pub banned: bool,
    /// Goes up with every change.
    pub version: u64,
    /// Of a serial: whose certificate it was, where that is known.
    pub owner: Option<SpiffeId>,
    /// Of a serial that was revoked with its node, which it does not name: the name of that revocation.
    pub cause: Option<String>,
    /// Of a node: its number, where it ever had one.
    pub node_number: Option<NodeNumber>,
}

impl Revocation {
    /// What the issuance log has of it.
    pub fn digest(&self) -> Hash {
        let number = |at: UnixTime| at.as_secs().to_string();
        Logged::digest(&[
            &self.target.to_string(),
            &number(self.cut),
            &self.reason,
            &self.asker,
            &number(self.at),
            &number(self.until),
            &self.closed.to_string(),
            &self.banned.to_string(),
            &self.version.to_string(),
            self.owner.as_ref().map_or("", SpiffeId::as_str),
            self.cause.as_deref().unwrap_or_default(),
        ])
    }
}

/// A revocation to be.
#[derive(Debug, Clone)]
pub struct NewRevocation {
    /// Which certificates.
    pub target: Target,
    /// Of an ID or a node: certificates whose validity begins then or before, and all that the registry knows of.
    pub cut: UnixTime,
    /// It matters at least so long, for certificates that the registry does not know.
    pub until: UnixTime,
    /// In the operator's words.
    pub reason: String,
    /// Who asks for it.
    pub asker: String,
    /// Nothing new is to be issued for the target until the operator says so.
    pub closed: bool,
}

/// What happens to a node beside the revocation of its certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeFate {
    /// Nothing: it may attest anew.
    Stays,
    /// It is kept out.
    Banned,
    /// It is forgotten, and may attest anew.
    Evicted,
}

/// A certificate that was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// Its serial number.
    pub serial: SerialNumber,
    /// Whose it is.
    pub spiffe_id: SpiffeId,
    /// The node that asked for it.
    pub node: NodeName,
    /// Start of its validity.
    pub not_before: UnixTime,
    /// End of its validity.
    pub not_after: UnixTime,
}

/// The SVID that a node showed when it asked for something. What it gets is issued only while this counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Whose it is.
    pub node: NodeName,
    /// Its serial number; nothing where that is none that could be revoked.
    pub serial: Option<SerialNumber>,
    /// Start of its validity.
    pub not_before: UnixTime,
}

/// An entry for the issuance log, with what decides whether it may be there.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The entry.
    pub entry: Entry,
    /// The certificate that it is about, where it can be revoked.
    pub issued: Option<Issued>,
    /// Who asked, if a node did.
    pub shown: Option<Shown>,
    /// What signed it; nothing where that is no authority of the trust domain.
    pub signer: Option<SignedBy>,
}

/// What signed a document, and where in its life that has to be when the document is logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignedBy {
    /// The authority of its kind that signs: once another one has taken over, nothing more of this one is handed out.
    Active(AuthorityKind, AuthorityId),
    /// An X.509 authority that signed before, and is neither tainted nor revoked nor retired. For SVIDs of the CA itself alone.
    Former(AuthorityId),
}

/// What a revocation does, or would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// The revocation, merged with an earlier one of the same target.
    pub revocation: Revocation,
    /// How many it revokes of the certificates that the registry knows and that have not expired.
    pub certificates: usize,
    /// Whose they are, sorted; at most [`MAX_NAMED`].
    pub spiffe_ids: Vec<SpiffeId>,
}

/// Why nothing was revoked. The operator is to blame.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// Neither attested nor expected nor banned.
    #[error("the node {0} is not known; `signet ca list --nodes` shows those that are")]
    UnknownNode(NodeName),
    /// More than [`MAX_REVOCATIONS`].
    #[error("there would be more than {MAX_REVOCATIONS} revocations, which is the limit")]
    TooMany,
    /// Not revoked, so nothing to reopen.
    #[error("{0} is not closed: nothing keeps it from new certificates")]
    NotClosed(SpiffeId),
    /// An authority of the trust domain's own that cannot be revoked as things are.
    #[error(transparent)]
    Step(StepError),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a certificate must not be handed out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Withheld {
    /// No new ones for this SPIFFE ID.
    #[error("{id} is revoked and closed ({reason}); `signet ca reopen {id}` lets it have certificates again")]
    Closed {
        /// Whose it would have been.
        id: SpiffeId,
        /// In the operator's words.
        reason: String,
    },
    /// The node is kept out.
    #[error("the node {node} is banned: {reason}")]
    Banned {
        /// Which.
        node: NodeName,
        /// In the operator's words.
        reason: String,
    },
    /// Another authority signs since its making.
    #[error("another authority signs now; ask again")]
    Superseded,
    /// It was revoked between its making and now.
    #[error("it was revoked while it was being made: {reason}")]
    Overtaken {
        /// In the operator's words.
        reason: String,
    },
}
