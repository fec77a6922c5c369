//! One attempt to learn what a trust domain publishes now, and what becomes of it.

use signet_federation::{Document, DocumentError, Relationship, Verdict};
use signet_log::Caller;
use signet_registry::StoreDocumentError;
use tracing::{debug, info, warn};

use crate::ca::Ca;

use super::fetch::{FetchError, fetch};
use super::trust::{TrustError, trust};

/// Why there is nothing newer than what is stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RefreshError {
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Document(#[from] DocumentError),
    #[error(transparent)]
    Store(#[from] StoreDocumentError),
}

impl Ca {
    /// Asks the endpoint of a relationship, and keeps what it says if it counts. What is stored stays where that fails.
    pub(crate) async fn refresh(&self, relationship: &Relationship) -> Result<Document, RefreshError> {
        let trust_domain = relationship.trust_domain();
        match self.attempt(relationship).await {
            Ok((document, verdict)) => {
                let sequence = document.bundle().sequence;
                match verdict {
                    Verdict::New => {
                        info!(foreign.trust.domain = %trust_domain, sequence, "got a new bundle of another trust domain");
                    }
                    Verdict::Same => {
                        debug!(foreign.trust.domain = %trust_domain, sequence, "another trust domain's bundle is as it was");
                    }
                }
                Ok(document)
            }
            Err(error) => {
                warn!(
                    foreign.trust.domain = %trust_domain, url = %relationship.url(), %error,
                    "failed to fetch the bundle of another trust domain; the stored one stays"
                );
                let (text, now) = (error.to_string(), self.clock.now());
                if let Err(error) = self.registry.note_failure(relationship, &text, now).await {
                    warn!(%error, "failed to take that down");
                }
                Err(error)
            }
        }
    }

    async fn attempt(&self, relationship: &Relationship) -> Result<(Document, Verdict), RefreshError> {
        let tls = trust(self, relationship).await?;
        let bytes = fetch(relationship.url(), tls).await?;
        let document = Document::read(relationship.trust_domain(), &bytes)?;
        let now = self.clock.now();
        let registry = self.registry.acting(Caller::Ca, now);
        let verdict = registry.store_document(relationship, &document, now).await?;
        Ok((document, verdict))
    }
}
