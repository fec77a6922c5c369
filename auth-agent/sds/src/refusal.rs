use signet_spiffe::MAX_ID_LENGTH;
use tonic::Status;

use crate::secret::SECRET;

/// Most names that one stream asks for.
pub const MAX_NAMES: usize = 64;
/// Most of a client's complaint that is logged, characters.
const MAX_COMPLAINT: usize = 300;

/// Why a request is not followed. It ends the stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// Another type than secrets.
    #[error("resources here are of type {SECRET} alone")]
    Type,
    /// More names than [`MAX_NAMES`].
    #[error("at most {MAX_NAMES} names can be asked for on one stream")]
    TooManyNames,
    /// A name that is longer than any SPIFFE ID.
    #[error("names have at most {MAX_ID_LENGTH} bytes")]
    LongName,
}

/// What a client said of a response that it rejected, cut to a length that logs bear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Complaint(pub(crate) String);

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        Self::invalid_argument(refusal.to_string())
    }
}

impl Complaint {
    pub(crate) fn new(text: &str) -> Self {
        Self(text.chars().take(MAX_COMPLAINT).collect())
    }
}

pub(crate) fn check_type(type_url: &str) -> Result<(), Refusal> {
    // It goes without saying where the service has but one.
    if type_url.is_empty() || type_url == SECRET {
        return Ok(());
    }
    Err(Refusal::Type)
}

pub(crate) fn check_name(name: &str) -> Result<(), Refusal> {
    if name.len() > MAX_ID_LENGTH {
        return Err(Refusal::LongName);
    }
    Ok(())
}
