//! Which error of ours is which gRPC status. The one who is to blame is told why; of our own failures, only that there
//! was one.

use std::fmt::Display;

use signet_authority::{IssueError, RequestError};
use signet_registry::{AnnounceError, CreateTokenError, DeregisterError, RegisterError, StorageError};
use tonic::Status;
use tracing::error;

use crate::ledger::LedgerError;

/// Something broke on our side: the log knows what.
pub(crate) fn internal(operation: &'static str, error: &dyn Display) -> Status {
    error!(operation, %error, "a call failed inside the CA");
    Status::internal("the CA failed; its log says why")
}

pub(crate) fn storage(operation: &'static str, error: &StorageError) -> Status {
    internal(operation, error)
}

pub(crate) fn invalid(error: impl Display) -> Status {
    Status::invalid_argument(error.to_string())
}

pub(crate) fn request(error: &RequestError) -> Status {
    invalid(error)
}

pub(crate) fn issue(operation: &'static str, error: &IssueError) -> Status {
    match error {
        IssueError::RootNotValid => {
            error!(operation, %error, "nothing can be issued");
            Status::unavailable("the CA's root certificate is not valid now; look at its clock")
        }
        IssueError::NotYet => Status::unavailable(error.to_string()),
        IssueError::TrustDomain { .. }
        | IssueError::RootPath { .. }
        | IssueError::NoLife
        | IssueError::Time
        | IssueError::Sign(_) => internal(operation, error),
    }
}

/// A certificate that is not handed out.
pub(crate) fn ledger(error: &LedgerError) -> Status {
    match error {
        LedgerError::Withheld(withheld) => Status::permission_denied(withheld.to_string()),
        LedgerError::Failed => {
            Status::unavailable("the CA could not take the certificate down; its log says why")
        }
    }
}

pub(crate) fn announce(error: &AnnounceError) -> Status {
    match error {
        AnnounceError::UnknownNode(_) => Status::unauthenticated(error.to_string()),
        AnnounceError::Count { .. }
        | AnnounceError::NoPort
        | AnnounceError::NotDialable(_)
        | AnnounceError::Twice(_)
        | AnnounceError::Pod { .. } => invalid(error),
        AnnounceError::Taken { .. } => Status::failed_precondition(error.to_string()),
        AnnounceError::Storage(error) => storage("announce", error),
    }
}

pub(crate) fn create_token(error: &CreateTokenError) -> Status {
    match error {
        CreateTokenError::TooManyCidrs { .. } | CreateTokenError::OverlapWithin { .. } => invalid(error),
        CreateTokenError::Overlap { .. } | CreateTokenError::Banned { .. } => {
            Status::failed_precondition(error.to_string())
        }
        CreateTokenError::TooMany => Status::resource_exhausted(error.to_string()),
        CreateTokenError::Storage(error) => storage("create token", error),
    }
}

pub(crate) fn register(error: &RegisterError) -> Status {
    match error {
        RegisterError::Selectors { .. } | RegisterError::Infrastructure { .. } => invalid(error),
        RegisterError::UnknownNode(_) => Status::failed_precondition(error.to_string()),
        RegisterError::Exists { .. } => Status::already_exists(error.to_string()),
        RegisterError::TooMany => Status::resource_exhausted(error.to_string()),
        RegisterError::Storage(error) => storage("register", error),
    }
}

pub(crate) fn deregister(error: &DeregisterError) -> Status {
    match error {
        DeregisterError::Unknown(_) => Status::not_found(error.to_string()),
        DeregisterError::Storage(error) => storage("deregister", error),
    }
}
