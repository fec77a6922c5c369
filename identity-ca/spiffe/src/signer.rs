//! What a signing certificate must be, root or intermediate: X509-SVID §3.2, §4.1 and §4.3.

use crate::certificate::{CertificateError, Facts, UriError};
use crate::id::IdError;
use crate::trust_domain::TrustDomain;

/// Why a certificate cannot sign for a trust domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignerError {
    /// It could not be read.
    #[error("it {0}")]
    Unreadable(#[from] CertificateError),
    /// `cA` is false or absent (§4.1).
    #[error("it is not a CA certificate")]
    NotCa,
    /// Key usage absent, not critical, or without `keyCertSign` (§4.3).
    #[error("its key usage is not a critical one with keyCertSign")]
    KeyUsage,
    /// More than one URI SAN.
    #[error("it has {count} URI SANs, an X.509-SVID has exactly one")]
    SeveralUris {
        /// How many.
        count: usize,
    },
    /// The URI SAN is no SPIFFE ID.
    #[error("its URI SAN is no SPIFFE ID: {0}")]
    Id(#[source] IdError),
    /// The ID has a path (§3.2).
    #[error("its SPIFFE ID has a path, a signing authority's has none")]
    Path,
    /// The ID is of another trust domain than what it signs for (§3.2).
    #[error("its SPIFFE ID is of the trust domain {found}")]
    TrustDomain {
        /// The trust domain of the certificate.
        found: TrustDomain,
    },
}

impl From<UriError> for SignerError {
    fn from(error: UriError) -> Self {
        match error {
            UriError::Several { count } => Self::SeveralUris { count },
            UriError::NotSpiffe(error) => Self::Id(error),
        }
    }
}

/// Checks every rule that needs the signing certificate alone. An ID is not required (§3.2 says "should"), but one that
/// is there must be the trust domain's own.
pub(crate) fn check(signer: &Facts<'_>, trust_domain: &TrustDomain) -> Result<(), SignerError> {
    if !signer.ca {
        return Err(SignerError::NotCa);
    }
    let signs = signer
        .key_usage
        .as_ref()
        .is_some_and(|(critical, usage)| critical.0 && usage.key_cert_sign());
    if !signs {
        return Err(SignerError::KeyUsage);
    }
    let Some(id) = signer.spiffe_id()? else {
        return Ok(());
    };
    if id.trust_domain() != trust_domain {
        return Err(SignerError::TrustDomain {
            found: id.trust_domain().clone(),
        });
    }
    if !id.path().is_empty() {
        return Err(SignerError::Path);
    }
    Ok(())
}
