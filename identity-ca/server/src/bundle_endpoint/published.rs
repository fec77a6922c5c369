//! The pages of the authorities that there are now.

use std::sync::{Arc, Mutex, PoisonError};

use tracing::error;

use crate::authorities::Current;
use crate::ca::Ca;

use super::config::JwtIssuer;
use super::pages::{Oidc, Pages};

/// Pages, written anew when the authorities have changed.
#[derive(Debug)]
pub(super) struct Published {
    ca: Arc<Ca>,
    issuer: Option<JwtIssuer>,
    written: Mutex<(Arc<Current>, Arc<Pages>)>,
}

impl Published {
    pub(super) fn new(ca: &Arc<Ca>, issuer: Option<JwtIssuer>) -> anyhow::Result<Self> {
        let current = ca.signing.latest();
        let pages = Arc::new(write(&current, issuer.as_ref())?);
        Ok(Self {
            ca: Arc::clone(ca),
            issuer,
            written: Mutex::new((current, pages)),
        })
    }

    /// For the next connection.
    pub(super) fn current(&self) -> Arc<Pages> {
        let current = self.ca.signing.latest();
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&written.0, &current) {
            match write(&current, self.issuer.as_ref()) {
                Ok(pages) => *written = (current, Arc::new(pages)),
                Err(error) => error!(%error, "the bundle endpoint goes on with the old bundle"),
            }
        }
        Arc::clone(&written.1)
    }
}

fn write(current: &Current, issuer: Option<&JwtIssuer>) -> Result<Pages, serde_json::Error> {
    let oidc = issuer.map(|issuer| Oidc {
        issuer,
        algorithm: current.jwt().map_or("ES256", |(_, jwt)| jwt.algorithm().as_str()),
        keys: current.bundle.jwt.to_plain_jwks(),
    });
    Pages::new(&current.spiffe, oidc)
}
