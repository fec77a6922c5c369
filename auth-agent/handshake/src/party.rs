//! One side of a handshake, before it begins.

use std::sync::Arc;

use signet_spiffe::SpiffeId;
use signet_tls::BundleSource;

use crate::binding::Binding;
use crate::credentials::Credentials;
use crate::error::HandshakeError;
use crate::limits::{Limits, Now};

/// Who we are, whom we want, and over which session.
#[derive(Debug)]
pub struct Party {
    /// Our workload's SVID.
    pub local: Arc<Credentials>,
    /// The other workload: nobody else will do.
    pub remote: SpiffeId,
    /// What its SVID is verified against.
    pub bundles: Arc<dyn BundleSource>,
    /// The node session.
    pub binding: Binding,
    /// Bounds.
    pub limits: Limits,
}

impl Party {
    /// An expired or revoked SVID is not even shown.
    pub(crate) fn check_local(&self, now: Now) -> Result<(), HandshakeError> {
        if now.unix >= self.local.not_after() {
            return Err(HandshakeError::LocalExpired(self.local.id().clone()));
        }
        let bundles = self.bundles.bundles();
        Ok(bundles.revocations().check(self.local.svid())?)
    }
}
