//! Hints: what an identity is for, in the operator's words (Workload API §5.2.1).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Most bytes of a hint (Workload API §8).
pub const MAX_HINT_BYTES: usize = 1024;

/// A hint. Never empty: "no hint" is the absence of one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hint(Arc<str>);

/// Why a text is no hint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HintError {
    /// Empty, or more than [`MAX_HINT_BYTES`].
    #[error("a hint has 1 to {MAX_HINT_BYTES} bytes, this one has {length}")]
    Length {
        /// Bytes.
        length: usize,
    },
    /// Line feeds and the like.
    #[error("a hint has no control characters")]
    Control,
}

impl Hint {
    /// Checks a text.
    pub fn parse(text: &str) -> Result<Self, HintError> {
        if text.is_empty() || text.len() > MAX_HINT_BYTES {
            return Err(HintError::Length { length: text.len() });
        }
        if text.contains(char::is_control) {
            return Err(HintError::Control);
        }
        Ok(Self(Arc::from(text)))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hint({})", self.0)
    }
}

impl FromStr for Hint {
    type Err = HintError;

    fn from_str(text: &str) -> Result<Self, HintError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_is_one_line_of_1_to_1024_bytes() {
        for good in ["internal", "für außen", &"h".repeat(1024)] {
            assert_eq!(Hint::parse(good).unwrap().as_str(), good);
        }
        for bad in [String::new(), "h".repeat(1025), "ü".repeat(513)] {
            assert_eq!(Hint::parse(&bad), Err(HintError::Length { length: bad.len() }));
        }
        assert_eq!(Hint::parse("a\nb"), Err(HintError::Control));
    }
}
