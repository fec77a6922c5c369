//! What a broker is told when a reference leads to nothing (Broker API §4.8).

use prost::Message as _;
use signet_attest::Process;
use signet_proto::rpc;
use tonic::{Code, Status};

/// Who defines the reasons.
const DOMAIN: &str = "spiffe.io";

/// The standard's reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Left out, malformed, or of a kind that we do not resolve.
    Invalid,
    /// There is no such workload, or not any more.
    NotFound,
    /// It is there, and nothing is for it.
    NotEntitled,
}

impl Reason {
    fn code(self) -> Code {
        match self {
            Self::Invalid => Code::InvalidArgument,
            Self::NotFound => Code::NotFound,
            Self::NotEntitled => Code::PermissionDenied,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Invalid => "WORKLOAD_REFERENCE_INVALID",
            Self::NotFound => "WORKLOAD_NOT_FOUND",
            Self::NotEntitled => "WORKLOAD_NOT_ENTITLED",
        }
    }

    /// The status, with the reason as `google.rpc.ErrorInfo`.
    pub(crate) fn status(self, message: impl Into<String>) -> Status {
        let message = message.into();
        let info = rpc::ErrorInfo {
            reason: self.name().to_owned(),
            domain: DOMAIN.to_owned(),
            ..rpc::ErrorInfo::default()
        };
        let details = rpc::Status {
            code: self.code().into(),
            message: message.clone(),
            details: vec![prost_types::Any {
                type_url: "type.googleapis.com/google.rpc.ErrorInfo".to_owned(),
                value: info.encode_to_vec(),
            }],
        };
        Status::with_details(self.code(), message, details.encode_to_vec().into())
    }
}

/// What the Workload API would have told the process itself, as it is told to whoever acts for it.
pub(crate) fn of_workload(process: &Process, status: Status) -> Status {
    if status.code() != Code::PermissionDenied {
        return status;
    }
    // Where nobody can tell, the code says at least that nothing is to be had.
    let reason = match process.is_alive() {
        Ok(false) => Reason::NotFound,
        Ok(true) | Err(_) => Reason::NotEntitled,
    };
    reason.status(status.message())
}
