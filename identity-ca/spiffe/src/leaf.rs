//! What a certificate must be to authenticate: the leaf rules of X509-SVID §2 to §5.2.

use crate::certificate::{CertificateError, Facts, UriError};
use crate::id::{IdError, SpiffeId};

/// Why the first certificate of a chain cannot authenticate anyone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeafError {
    /// It could not be read.
    #[error("it {0}")]
    Unreadable(#[from] CertificateError),
    /// `cA` is true (§4.1): a signing certificate never authenticates (§3.2).
    #[error("it is a CA certificate, which never authenticates")]
    Ca,
    /// No key usage extension (§4.3).
    #[error("it has no key usage")]
    NoKeyUsage,
    /// Key usage not marked critical (§4.3).
    #[error("its key usage is not critical")]
    KeyUsageNotCritical,
    /// Key usage without `digitalSignature` (§4.3).
    #[error("its key usage lacks digitalSignature")]
    NoDigitalSignature,
    /// Key usage with `keyCertSign` or `cRLSign` (§4.3, §5.2).
    #[error("its key usage has keyCertSign or cRLSign, which only signing certificates have")]
    SigningKeyUsage,
    /// Extended key usage without both of serverAuth and clientAuth (§4.4).
    #[error("its extended key usage lacks serverAuth or clientAuth")]
    ExtendedKeyUsage,
    /// No URI SAN (§2).
    #[error("it has no URI SAN, so no SPIFFE ID")]
    NoUri,
    /// More than one URI SAN (§2, §5.2).
    #[error("it has {count} URI SANs, an X.509-SVID has exactly one")]
    SeveralUris {
        /// How many.
        count: usize,
    },
    /// The URI SAN is no SPIFFE ID (§5.2).
    #[error("its URI SAN is no SPIFFE ID: {0}")]
    Id(#[source] IdError),
    /// The ID has no path (§3.1): it is the trust domain's own.
    #[error("its SPIFFE ID has no path, so it is a signing authority's")]
    RootPath,
    /// Subject empty and SAN not critical (§3.1, RFC 5280 §4.1.2.6).
    #[error("its subject is empty and its SAN not critical")]
    SanNotCritical,
}

impl From<UriError> for LeafError {
    fn from(error: UriError) -> Self {
        match error {
            UriError::Several { count } => Self::SeveralUris { count },
            UriError::NotSpiffe(error) => Self::Id(error),
        }
    }
}

/// Checks every rule that needs the leaf alone, and tells the ID that it claims.
pub(crate) fn check(leaf: &Facts<'_>) -> Result<SpiffeId, LeafError> {
    if leaf.ca {
        return Err(LeafError::Ca);
    }
    check_key_usage(leaf)?;
    if leaf
        .extended
        .is_some_and(|usage| !(usage.server_auth && usage.client_auth))
    {
        return Err(LeafError::ExtendedKeyUsage);
    }
    let id = leaf.spiffe_id()?.ok_or(LeafError::NoUri)?;
    if id.path().is_empty() {
        return Err(LeafError::RootPath);
    }
    if leaf.subject_empty && !leaf.san_critical.0 {
        return Err(LeafError::SanNotCritical);
    }
    Ok(id)
}

/// webpki looks at no key usage, so this is its only check.
fn check_key_usage(leaf: &Facts<'_>) -> Result<(), LeafError> {
    let (critical, usage) = leaf.key_usage.as_ref().ok_or(LeafError::NoKeyUsage)?;
    if usage.key_cert_sign() || usage.crl_sign() {
        return Err(LeafError::SigningKeyUsage);
    }
    if !critical.0 {
        return Err(LeafError::KeyUsageNotCritical);
    }
    if !usage.digital_signature() {
        return Err(LeafError::NoDigitalSignature);
    }
    Ok(())
}
