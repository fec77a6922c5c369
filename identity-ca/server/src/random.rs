//! The one place that draws random numbers.

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand;

/// The system's random source failed. There is nothing to fall back to.
#[derive(Debug, thiserror::Error)]
#[error("the system's random source failed")]
pub(crate) struct RandomError;

impl From<Unspecified> for RandomError {
    fn from(_: Unspecified) -> Self {
        Self
    }
}

/// Bytes from a cryptographic random source.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], RandomError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes)?;
    Ok(bytes)
}
