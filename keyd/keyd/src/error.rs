//! Why a request failed, and what a client is told.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use signet_abi::NodeId;
use signet_maps::MapError;
use signet_toggle::Refusal;
use signet_wireguard::{AllowedIp, DeviceError};
use tonic::{Code, Status};

use crate::request::RequestError;

/// A request was refused, or it could not be done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// The request makes no sense by itself.
    #[error(transparent)]
    Invalid(#[from] RequestError),
    /// The order is wrong.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Two nodes claim the same addresses.
    #[error("{ip} overlaps {other} of node {}: remove that peer first", node.0)]
    Overlap {
        /// What was asked for.
        ip: AllowedIp,
        /// What it collides with.
        other: AllowedIp,
        /// Whose that is.
        node: NodeId,
    },
    /// Two nodes claim the same public key.
    #[error("the public key is already that of node {}: each node has its own", node.0)]
    KeyTaken {
        /// Whose it is.
        node: NodeId,
    },
    /// The peer claims to be us.
    #[error("the public key is this node's own")]
    OwnKey,
    /// No room.
    #[error("there are {0} peers already, the most that a node can have")]
    TooMany(usize),
    /// The device is not there yet.
    #[error("the tunnel is not there: {0}")]
    NoDevice(String),
    /// Somebody installed the peer anew while it was waited for.
    #[error("the peer was changed meanwhile: try again")]
    Changed,
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The kernel's map failed.
    #[error("failed to tell the kernel programs")]
    Nodes(#[from] MapError),
    /// The file that outlives a restart failed.
    #[error("failed to write {}", path.display())]
    Memory {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl From<EngineError> for Status {
    fn from(error: EngineError) -> Self {
        let code = match &error {
            EngineError::Invalid(_) | EngineError::OwnKey => Code::InvalidArgument,
            EngineError::Refused(_) | EngineError::Overlap { .. } | EngineError::KeyTaken { .. } => {
                Code::FailedPrecondition
            }
            EngineError::TooMany(_) => Code::ResourceExhausted,
            EngineError::Changed => Code::Aborted,
            EngineError::NoDevice(_) | EngineError::Device(_) | EngineError::Nodes(_) => Code::Unavailable,
            EngineError::Memory { .. } => Code::Internal,
        };
        Self::new(code, chain(&error))
    }
}

/// An error and all its causes on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // A transparent error repeats its cause.
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
