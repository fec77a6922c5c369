use std::fmt;
use std::str::FromStr;

/// How a node proves who it is, other than by a join token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// It has the key of an X.509 certificate.
    X509Pop,
    /// The same, with a key that cannot leave the TPM of a certain endorsement key (TCG, TPM 2.0 Keys for Device Identity
    /// and Attestation).
    TpmDevid,
}

/// Not the name of a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a way to attest is one of x509pop, tpm_devid")]
pub struct MethodError;

impl Method {
    /// As SPIRE's plugins of the same purpose are called.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::X509Pop => "x509pop",
            Self::TpmDevid => "tpm_devid",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Method {
    type Err = MethodError;

    fn from_str(text: &str) -> Result<Self, MethodError> {
        [Self::X509Pop, Self::TpmDevid]
            .into_iter()
            .find(|method| method.as_str() == text)
            .ok_or(MethodError)
    }
}
