//! Which error of ours is which gRPC status. The one who is to blame is told why; of our own failures, only that there
//! was one.

use std::fmt::Display;

use signet_authority::{IssueError, RequestError};
use signet_registry::{
    AnnounceError, AppendError, CreateTokenError, DeregisterError, RegisterError, StorageError, Withheld,
};
use signet_spiffe::NodeName;
use tonic::Status;
use tracing::error;

use crate::log::HeadError;

/// Something broke on our side: the log knows what.
pub(crate) fn internal(operation: &'static str, error: &dyn Display) -> Status {
    error!(operation, %error, "a call failed inside the CA");
    Status::internal("the CA failed; its log says why")
}

pub(crate) fn storage(operation: &'static str, error: &StorageError) -> Status {
    if error.is_disk_full() {
        error!(operation, %error, "the disk is full");
        return Status::resource_exhausted("the CA's disk is full, so nothing was done; make room there");
    }
    if matches!(error, StorageError::Resealed | StorageError::Clock { .. }) {
        error!(operation, %error, "a step was refused");
        return Status::failed_precondition(error.to_string());
    }
    if error.is_unavailable() {
        error!(operation, %error, "the registry's database is out of reach");
        return Status::unavailable("the CA cannot reach its database; try again, or another CA");
    }
    internal(operation, error)
}

/// The SVID of a node that has a newer one. Either the node attested anew, or somebody has a copy of its key.
pub(crate) fn replaced(node: &NodeName) -> Status {
    Status::unauthenticated(format!(
        "this SVID of {node} has been replaced by a newer one; if {node} does not have the newer one, somebody else does: \
         make a new join token for it (signet ca token {node})"
    ))
}

/// What was to be handed out is not: its entry is not in the log.
pub(crate) fn append(operation: &'static str, error: &AppendError) -> Status {
    let why = match error {
        AppendError::Withheld(Withheld::Superseded) => {
            "another authority took over again and again; try again"
        }
        AppendError::Withheld(reason) => return withheld(reason),
        AppendError::Serial => "the CA made a serial number that is none; its own log says more",
        AppendError::Full => "the CA has more to do than it can keep up with; try again",
        AppendError::Closed => "the CA is shutting down",
        AppendError::Storage(error) if error.is_disk_full() => {
            "the CA's disk is full: nothing is issued that cannot be logged; make room there"
        }
        AppendError::Storage(_) => {
            "the CA cannot write its issuance log, and issues nothing without; its own log says why"
        }
    };
    error!(operation, %error, "nothing is issued: the issuance log cannot take it");
    Status::unavailable(why)
}

pub(crate) fn head(error: &HeadError) -> Status {
    match error {
        HeadError::Contradiction { .. }
        | HeadError::Checkpoint(_)
        | HeadError::Restored { .. }
        | HeadError::Head(_) => {
            error!(%error, "the issuance log is not what was signed");
            Status::data_loss(error.to_string())
        }
        HeadError::Interrupted => Status::unavailable(error.to_string()),
        HeadError::File(error) => {
            error!(%error, "the issuance log's checkpoint cannot be kept");
            Status::unavailable(error.to_string())
        }
        HeadError::Storage(StorageError::Log(missing)) => {
            error!(error = %missing, "the issuance log is damaged");
            Status::data_loss(format!("the issuance log is damaged: {missing}"))
        }
        HeadError::Storage(error) => storage("log", error),
    }
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

/// The key that signs for the trust domain cannot be used by this CA. Another one may have it.
pub(crate) fn unusable(why: &str) -> Status {
    error!(
        error = why,
        "nothing can be issued: the active authority cannot be used here"
    );
    Status::unavailable("this CA cannot use the key that signs now; its log says why; try another CA")
}

/// A certificate that may not be.
pub(crate) fn withheld(withheld: &Withheld) -> Status {
    Status::permission_denied(withheld.to_string())
}

pub(crate) fn announce(error: &AnnounceError) -> Status {
    match error {
        AnnounceError::UnknownNode(_) => Status::unauthenticated(error.to_string()),
        AnnounceError::Count { .. }
        | AnnounceError::NoPort
        | AnnounceError::NotDialable(_)
        | AnnounceError::Twice(_)
        | AnnounceError::Pod { .. } => invalid(error),
        AnnounceError::Foreign { .. } => Status::permission_denied(error.to_string()),
        AnnounceError::Taken { .. } => Status::failed_precondition(error.to_string()),
        AnnounceError::Storage(error) => storage("announce", error),
    }
}

pub(crate) fn create_token(error: &CreateTokenError) -> Status {
    match error {
        CreateTokenError::TooManyCidrs { .. }
        | CreateTokenError::TooManyAddresses { .. }
        | CreateTokenError::NotDialable(_)
        | CreateTokenError::OverlapWithin { .. } => invalid(error),
        CreateTokenError::Overlap { .. } | CreateTokenError::Banned { .. } => {
            Status::failed_precondition(error.to_string())
        }
        CreateTokenError::TooMany => Status::resource_exhausted(error.to_string()),
        CreateTokenError::Storage(error) => storage("create token", error),
    }
}

pub(crate) fn register(error: &RegisterError) -> Status {
    match error {
        RegisterError::Selectors { .. }
        | RegisterError::DnsNames { .. }
        | RegisterError::Infrastructure { .. }
        | RegisterError::TrustDomains { .. } => invalid(error),
        RegisterError::UnknownNode(_) | RegisterError::UnknownTrustDomain(_) => {
            Status::failed_precondition(error.to_string())
        }
        RegisterError::Downstream { .. } => Status::failed_precondition(error.to_string()),
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
