//! What nodes may attest with beside join tokens.

use std::path::PathBuf;

/// What nodes may attest with beside join tokens. Each is off unless given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AttestationConfig {
    /// By the key of a certificate.
    pub x509pop: Option<X509Pop>,
    /// By a device identity in a TPM.
    pub tpm_devid: Option<TpmDevid>,
}

/// By a device identity in a TPM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TpmDevid {
    /// A file with the authorities of device identities, PEM.
    pub authorities: PathBuf,
    /// A file with the authorities of the TPMs' makers, PEM.
    pub endorsements: PathBuf,
    /// Where a certificate carries the node's name.
    pub name: Option<NameRule>,
}

/// By the key of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct X509Pop {
    /// A file with the authorities of such certificates, PEM.
    pub authorities: PathBuf,
    /// Where a certificate carries the node's name.
    pub name: Option<NameRule>,
}

/// Where a certificate carries the name of the node that it is for. Another node's is refused then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameRule {
    /// It is the one common name of the subject.
    CommonName,
    /// It is the first label of its one DNS name.
    Dns,
}
