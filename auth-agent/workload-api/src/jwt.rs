use std::fmt;

use signet_spiffe::{SpiffeId, UnixTime};
use zeroize::Zeroizing;

/// A JWT-SVID, as workloads get it. `Debug` does not show the token: whoever has it is who it says.
///
/// Copies of the token that are on their way to a workload live in gRPC message buffers, which nobody wipes.
#[derive(PartialEq, Eq)]
pub struct JwtSvid {
    id: SpiffeId,
    token: Zeroizing<String>,
    expires: UnixTime,
}

/// Why there is no JWT-SVID to give, for the caller to read. It may try again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoJwtSvid(pub String);

impl JwtSvid {
    /// A token that its maker has verified to be a JWT-SVID of `id` that ends at `expires`.
    pub fn new(id: SpiffeId, token: Zeroizing<String>, expires: UnixTime) -> Self {
        Self { id, token, expires }
    }

    /// Whose it is.
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// The compact JWS. A secret.
    pub fn secret_token(&self) -> &str {
        &self.token
    }

    /// The first moment at which it is not valid any more.
    pub fn expires(&self) -> UnixTime {
        self.expires
    }
}

impl fmt::Debug for JwtSvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtSvid")
            .field("id", &self.id)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}
