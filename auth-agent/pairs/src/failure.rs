//! Why a pair is not proven.

use signet_abi::SecurityIdentity;
use signet_handshake::HandshakeError;
use signet_session::{AbortCause, Detail};
use signet_spiffe::{NodeName, SpiffeId};

/// Why a pair is not proven. What `signet auth list` shows.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProveError {
    /// A number without a SPIFFE ID.
    #[error("{}", unknown(*.0))]
    UnknownIdentity(u32),
    /// A node number without a node.
    #[error("node {0} is not in the view; has it attested?")]
    UnknownNode(u32),
    /// The view has not come yet.
    #[error("the view has not come from the CA yet")]
    NoView,
    /// A node that speaks for somebody else's workload.
    #[error("{id} is not registered on node {node}")]
    NotThere {
        /// The identity.
        id: SpiffeId,
        /// The node.
        node: NodeName,
    },
    /// One of the identities, or the node, may not prove anything.
    #[error("revoked: {0}")]
    Revoked(String),
    /// Nobody can tell which of several SPIFFE IDs an address here is: in words, with the addresses and what to do.
    #[error("several SPIFFE IDs: {0}")]
    SeveralIds(String),
    /// Nobody here has the identity.
    #[error("no endpoint of this node has the local identity")]
    NoEndpoint,
    /// No certificate for it.
    #[error("this node has no SVID for the local identity yet")]
    NoSvid,
    /// No way to the node.
    #[error("no session with node {node}: {reason}")]
    NoSession {
        /// Its name.
        node: String,
        /// Why not.
        reason: String,
    },
    /// The session broke while the handshake was under way.
    #[error("the session with the node was lost")]
    SessionLost,
    /// Our own bound.
    #[error("too many handshakes at a time")]
    Busy,
    /// The peer gave up.
    #[error("the other node refused ({}): {detail}", cause.name())]
    Refused {
        /// Why.
        cause: AbortCause,
        /// In its words.
        detail: Detail,
    },
    /// The handshake itself.
    #[error("{}", chain(.0))]
    Handshake(#[from] HandshakeError),
    /// Too slow.
    #[error("no proof in time")]
    Deadline,
    /// Ours.
    #[error("signet-agent has a fault, see its log; please report it")]
    Fault,
    /// The map is full of others.
    #[error(
        "AUTH is full at {slots} entries, and packets have passed all of them within {} s: give signet-meshd a larger --map-auth",
        crate::GRACE / 1_000_000_000
    )]
    NoRoom {
        /// How many it holds.
        slots: usize,
    },
    /// The map.
    #[error("the proof could not be written: {0}")]
    Auth(String),
}

impl ProveError {
    /// What the peer is told when we give up.
    pub fn cause(&self) -> AbortCause {
        match self {
            Self::UnknownIdentity(_) | Self::UnknownNode(_) | Self::NotThere { .. } | Self::NoView => {
                AbortCause::UnknownIdentity
            }
            Self::NoEndpoint | Self::SeveralIds(_) => AbortCause::NoEndpoint,
            Self::Busy | Self::NoRoom { .. } => AbortCause::Busy,
            Self::Deadline | Self::Handshake(HandshakeError::Deadline) => AbortCause::Deadline,
            Self::Handshake(HandshakeError::Binding) => AbortCause::Binding,
            Self::NoSvid
            | Self::Revoked(_)
            | Self::Handshake(
                HandshakeError::Config(_) | HandshakeError::LocalExpired(_) | HandshakeError::LocalRevoked(_),
            ) => AbortCause::NoSvid,
            Self::Handshake(
                HandshakeError::ServerName
                | HandshakeError::Tls(_)
                | HandshakeError::WrongServerName
                | HandshakeError::PeerSvid(_)
                | HandshakeError::WrongIdentity { .. }
                | HandshakeError::TooLarge(_)
                | HandshakeError::TooManyMessages(_)
                | HandshakeError::Unexpected,
            ) => AbortCause::Tls,
            Self::NoSession { .. }
            | Self::SessionLost
            | Self::Refused { .. }
            | Self::Fault
            | Self::Auth(_) => AbortCause::Unspecified,
        }
    }

    /// The cause in one word, for metrics and events: there are as many as there are here.
    pub fn label(&self) -> &'static str {
        match self {
            Self::UnknownIdentity(_) => "unknown-identity",
            Self::UnknownNode(_) => "unknown-node",
            Self::NoView => "no-view",
            Self::NotThere { .. } => "not-registered-there",
            Self::Revoked(_) => "revoked",
            Self::SeveralIds(_) => "several-ids",
            Self::NoEndpoint => "no-endpoint",
            Self::NoSvid => "no-svid",
            Self::NoSession { .. } => "no-session",
            Self::SessionLost => "session-lost",
            Self::Busy => "busy",
            Self::Refused { cause, .. } => match cause {
                AbortCause::Unspecified => "peer-unspecified",
                AbortCause::NoEndpoint => "peer-no-endpoint",
                AbortCause::NoSvid => "peer-no-svid",
                AbortCause::UnknownIdentity => "peer-unknown-identity",
                AbortCause::Busy => "peer-busy",
                AbortCause::Tls => "peer-tls",
                AbortCause::Binding => "peer-binding",
                AbortCause::Deadline => "peer-deadline",
                AbortCause::Yield => "peer-yield",
            },
            Self::Handshake(_) => "handshake",
            Self::Deadline => "deadline",
            Self::Fault => "fault",
            Self::NoRoom { .. } => "no-room",
            Self::Auth(_) => "map",
        }
    }

    /// Whether the pair is refused for what it is: its packets need not wait for another attempt. Everything else may be over
    /// before they have waited for long: a restart, an SVID or a view on its way.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Revoked(_) | Self::SeveralIds(_) => true,
            // A number that no SPIFFE ID ever gets: whoever it is, is not registered.
            Self::UnknownIdentity(number) => !SecurityIdentity(*number).is_workload(),
            Self::Refused { cause, .. } => match cause {
                AbortCause::Tls | AbortCause::Binding => true,
                AbortCause::Unspecified
                | AbortCause::NoEndpoint
                | AbortCause::NoSvid
                | AbortCause::Busy
                | AbortCause::Deadline
                | AbortCause::Yield
                | AbortCause::UnknownIdentity => false,
            },
            Self::Handshake(error) => match error {
                HandshakeError::PeerSvid(_)
                | HandshakeError::WrongIdentity { .. }
                | HandshakeError::WrongServerName
                | HandshakeError::Tls(_)
                | HandshakeError::Binding
                | HandshakeError::LocalRevoked(_) => true,
                HandshakeError::ServerName
                | HandshakeError::Config(_)
                | HandshakeError::LocalExpired(_)
                | HandshakeError::TooLarge(_)
                | HandshakeError::TooManyMessages(_)
                | HandshakeError::Unexpected
                | HandshakeError::Deadline => false,
            },
            Self::UnknownNode(_)
            | Self::NoView
            | Self::NotThere { .. }
            | Self::NoEndpoint
            | Self::NoSvid
            | Self::NoSession { .. }
            | Self::SessionLost
            | Self::Busy
            | Self::Deadline
            | Self::Fault
            | Self::NoRoom { .. }
            | Self::Auth(_) => false,
        }
    }

    /// Whether trying again at once makes sense.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::SessionLost)
    }
}

/// Says of a number without a SPIFFE ID who that is, and what to do.
fn unknown(number: u32) -> String {
    match SecurityIdentity(number) {
        SecurityIdentity::WORLD => "addresses outside the cluster (world) can prove nothing; allow them without authentication, or not at all".to_owned(),
        SecurityIdentity::UNMANAGED => "an address of the cluster without a registration (unmanaged) can prove nothing; register its workload (`signet ca register`)".to_owned(),
        SecurityIdentity::INGRESS => "there is no ingress gateway with an SVID in this version (ingress): it can prove nothing".to_owned(),
        SecurityIdentity::HOST | SecurityIdentity::REMOTE_NODE => "the node behind this address is not in the view; has it attested?".to_owned(),
        _ => format!("identity {number} is not in the view; is it registered?"),
    }
}

/// An error with all that is behind it, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
