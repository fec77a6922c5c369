use std::io;
use std::path::PathBuf;

use signet_tpm::{Malformed, ResponseCode, ResponseError};

use crate::Address;

/// Why there is no device identity, or it cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DevidError {
    /// No such device, or no right to it.
    #[error(
        "failed to open the TPM at {address}; is it there, and may this user write to it? (Debian: the group tss; see docs/attestation.md)"
    )]
    Open {
        /// Where it should be.
        address: Address,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It went away, or took too long.
    #[error("failed to talk to the TPM")]
    Talk(#[from] io::Error),
    /// It refused, or said nonsense.
    #[error("failed to {what}: {why}")]
    Command {
        /// What it was told to do.
        what: &'static str,
        /// What it said.
        why: ResponseError,
    },
    /// The key's blob is another TPM's.
    #[error(
        "{0} is not of this TPM: of another machine, or its owner hierarchy was cleared; make a new one (signet-agent devid create)"
    )]
    Foreign(&'static str),
    /// A file.
    #[error("failed to {what} {path}")]
    File {
        /// What was tried.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file that is none of ours.
    #[error("{path}: {why}")]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// No certificate of the maker's.
    #[error(
        "the TPM has no endorsement certificate for a P-256 or RSA-2048 key; get it from the maker and put it into {0} (PEM, with its \
         intermediates)"
    )]
    NoEndorsement(PathBuf),
    /// It has one that is not of its key.
    #[error("the endorsement certificate is not of this TPM's endorsement key")]
    OtherEndorsement,
    /// The certificate's key is neither of the two kinds.
    #[error("the endorsement certificate is of a key that is neither P-256 nor RSA of 2048 bits")]
    EndorsementKind,
    /// The request was not made.
    #[error("failed to make the request for a certificate")]
    Request(#[from] rcgen::Error),
}

impl DevidError {
    pub(crate) fn of(what: &'static str) -> impl Fn(ResponseError) -> Self {
        move |why| Self::Command { what, why }
    }

    pub(crate) fn malformed(what: &'static str) -> impl Fn(Malformed) -> Self {
        move |why| Self::Command {
            what,
            why: why.into(),
        }
    }

    /// The same, if a blob of ours is what it is about.
    pub(crate) fn about(self, which: &'static str) -> Self {
        if self.is_refused_as(ResponseCode::INTEGRITY) {
            Self::Foreign(which)
        } else {
            self
        }
    }

    fn is_refused_as(&self, base: u32) -> bool {
        matches!(self, Self::Command { why: ResponseError::Refused(code), .. } if code.base() == base)
    }

    /// The index is not defined.
    pub(crate) fn is_nothing_there(&self) -> bool {
        self.is_refused_as(ResponseCode::HANDLE)
    }
}
