//! What a trust domain publishes, as it was fetched, and which of two counts.

use signet_spiffe::{JwksError, MAX_JWKS_BYTES, SpiffeBundle, TrustDomain};

/// A bundle as it was fetched: the text, and what it means for the trust domain that it was fetched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    trust_domain: TrustDomain,
    text: String,
    bundle: SpiffeBundle,
}

/// Why bytes are no document.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// More than [`MAX_JWKS_BYTES`].
    #[error("the document has more than {MAX_JWKS_BYTES} bytes")]
    TooLong,
    /// Not UTF-8 (Federation §5.2).
    #[error("the document is not UTF-8")]
    Text,
    /// No bundle of that trust domain.
    #[error("the document is no bundle of {trust_domain}: {source}")]
    Bundle {
        /// Which one was configured.
        trust_domain: TrustDomain,
        /// What is wrong.
        source: JwksError,
    },
}

/// What to do with a document that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It takes the place of what is stored.
    New,
    /// It says what is stored already.
    Same,
}

/// Why a document does not take the place of the stored one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SequenceError {
    /// An old one, shown again.
    #[error("the document is an older one: its sequence is {fetched}, the stored one's is {stored}")]
    Older {
        /// Of the stored one.
        stored: u64,
        /// Of this one.
        fetched: u64,
    },
    /// It cannot be told whether it is an old one.
    #[error(
        "the document has no sequence, so it may be older than the stored one, whose sequence is {stored}"
    )]
    None {
        /// Of the stored one.
        stored: u64,
    },
}

impl Document {
    /// Reads a document for a trust domain, which the document itself has no say in (Federation §5.1).
    pub fn read(trust_domain: &TrustDomain, bytes: &[u8]) -> Result<Self, DocumentError> {
        if bytes.len() > MAX_JWKS_BYTES {
            return Err(DocumentError::TooLong);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| DocumentError::Text)?;
        let bundle = SpiffeBundle::from_jwks(trust_domain, text).map_err(|source| DocumentError::Bundle {
            trust_domain: trust_domain.clone(),
            source,
        })?;
        Ok(Self {
            trust_domain: trust_domain.clone(),
            text: text.to_owned(),
            bundle,
        })
    }

    /// Whose it is: the trust domain that it was fetched for.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// As it came.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it means.
    pub fn bundle(&self) -> &SpiffeBundle {
        &self.bundle
    }
}

/// Whether `fetched` takes the place of `stored`, by their sequences (Federation §4.2, Trust Domain and Bundle §4.1.1).
///
/// Where neither has one, or both the same with other contents, nobody can tell which is older: the latest counts.
pub fn judge(stored: Option<&Document>, fetched: &Document) -> Result<Verdict, SequenceError> {
    let Some(stored) = stored else {
        return Ok(Verdict::New);
    };
    match (stored.bundle.sequence, fetched.bundle.sequence) {
        (Some(stored), Some(fetched)) if fetched < stored => {
            return Err(SequenceError::Older { stored, fetched });
        }
        (Some(stored), None) => return Err(SequenceError::None { stored }),
        (Some(_) | None, Some(_)) | (None, None) => {}
    }
    if stored.bundle == fetched.bundle {
        Ok(Verdict::Same)
    } else {
        Ok(Verdict::New)
    }
}
