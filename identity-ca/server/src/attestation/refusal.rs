//! Why a node is not admitted, and what it is told.

use signet_authority::RequestError;
use signet_node_attest::{DeviceError, EndorsementError, Method, ResidencyError, SealError, SignatureError};
use signet_registry::{AdmitError, ConsumeError};
use signet_spiffe::{NodeName, NodeNameError};
use tonic::Status;

use crate::join_token::MalformedToken;
use crate::random::RandomError;
use crate::refusal::{internal, storage};

/// What everyone hears whose join token is refused, for whatever reason: the log has it.
const TOKEN: &str = "the join token was refused; ask the operator for a new one (signet ca token)";

/// Why a node is not admitted. All but the join tokens' are told to the node in full: they say nothing that it does not
/// have itself, until it has proven its key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("a node begins with its evidence")]
    NoEvidence,
    #[error("a challenge is answered by an answer")]
    NoAnswer,
    #[error("a node says its name")]
    NoName,
    #[error(transparent)]
    Name(#[from] NodeNameError),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("the exchange took too long")]
    Slow,
    #[error("another exchange is under way over this connection")]
    Busy,
    #[error("this connection cannot be told from others, so that no answer could be bound to it")]
    NoBinding,
    #[error(transparent)]
    Random(#[from] RandomError),
    #[error("this CA admits no nodes by {method}; it would be started with {option}")]
    Off { method: Method, option: &'static str },
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error("the certificate is not for the node {node}: this CA asks that {rule}")]
    OtherName { node: NodeName, rule: &'static str },
    #[error(transparent)]
    Endorsement(#[from] EndorsementError),
    #[error(transparent)]
    Residency(#[from] ResidencyError),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Signature(#[from] SignatureError),
    #[error(transparent)]
    Admit(#[from] AdmitError),
    #[error(transparent)]
    Malformed(#[from] MalformedToken),
    #[error(transparent)]
    Consume(#[from] ConsumeError),
    /// Nothing that the node did: its SVID could not be issued, or its connection broke.
    #[error("{}", .0.message())]
    Failed(#[from] Status),
}

impl Refusal {
    /// What the node is told.
    pub(crate) fn status(&self) -> Status {
        let said = self.to_string();
        match self {
            Self::Failed(status) => status.clone(),
            Self::NoEvidence | Self::NoAnswer | Self::NoName | Self::Name(_) | Self::Request(_) => {
                Status::invalid_argument(said)
            }
            Self::Slow => Status::deadline_exceeded(said),
            Self::Busy => Status::unavailable(said),
            Self::NoBinding | Self::Random(_) => internal("attest", self),
            Self::Device(_)
            | Self::Endorsement(_)
            | Self::Residency(_)
            | Self::Seal(_)
            | Self::Signature(_) => Status::unauthenticated(said),
            Self::Admit(AdmitError::Storage(error)) | Self::Consume(ConsumeError::Storage(error)) => {
                storage("attest", error)
            }
            Self::OtherName { .. }
            | Self::Admit(
                AdmitError::NotAllowed { .. }
                | AdmitError::Lacks { .. }
                | AdmitError::Unbound { .. }
                | AdmitError::Banned { .. },
            ) => Status::permission_denied(said),
            Self::Off { .. } | Self::Admit(AdmitError::Overlap(_)) => Status::failed_precondition(said),
            Self::Malformed(_)
            | Self::Consume(
                ConsumeError::Unknown
                | ConsumeError::WrongSecret
                | ConsumeError::Used { .. }
                | ConsumeError::Expired { .. }
                | ConsumeError::Banned { .. }
                | ConsumeError::Overlap(_),
            ) => Status::unauthenticated(TOKEN),
        }
    }
}
