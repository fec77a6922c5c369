//! For whom a JWT-SVID is (JWT-SVID §3.2).

use std::fmt;
use std::sync::Arc;

/// Most audiences of a token that we make.
pub const MAX_AUDIENCES: usize = 16;

/// Longest audience of a token that we make, bytes.
pub const MAX_AUDIENCE_BYTES: usize = 512;

/// The audiences of a token to be made: at least one, none empty, each once, in order. Two requests for the same
/// audiences are equal, however they spelled them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Audience(Arc<[String]>);

/// Why texts are no audience.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AudienceError {
    /// None at all.
    #[error("name at least one audience: the service that the token is for")]
    None,
    /// An empty text.
    #[error("an audience must not be empty")]
    Empty,
    /// More than [`MAX_AUDIENCES`].
    #[error("a token has at most {MAX_AUDIENCES} audiences, {count} were named")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// More than [`MAX_AUDIENCE_BYTES`].
    #[error("an audience has at most {MAX_AUDIENCE_BYTES} bytes, one of {bytes} was named")]
    TooLong {
        /// Its size.
        bytes: usize,
    },
    /// A control character, which no name has.
    #[error("an audience must not have control characters")]
    Control,
}

impl Audience {
    /// Takes audiences in any order, also repeated.
    pub fn new(audiences: &[String]) -> Result<Self, AudienceError> {
        match audiences.len() {
            0 => return Err(AudienceError::None),
            count if count > MAX_AUDIENCES => return Err(AudienceError::TooMany { count }),
            _ => {}
        }
        audiences.iter().try_for_each(|audience| check(audience))?;
        let mut sorted = audiences.to_vec();
        sorted.sort();
        sorted.dedup();
        Ok(Self(sorted.into()))
    }

    /// In order; never empty.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }

    /// One of them, to verify a token against.
    pub fn first(&self) -> &str {
        self.0.first().map(String::as_str).unwrap_or_default()
    }
}

fn check(audience: &str) -> Result<(), AudienceError> {
    if audience.is_empty() {
        return Err(AudienceError::Empty);
    }
    if audience.len() > MAX_AUDIENCE_BYTES {
        return Err(AudienceError::TooLong {
            bytes: audience.len(),
        });
    }
    if audience.chars().any(char::is_control) {
        return Err(AudienceError::Control);
    }
    Ok(())
}

impl fmt::Debug for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audience(texts: &[&str]) -> Result<Audience, AudienceError> {
        Audience::new(&texts.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn the_same_audiences_are_equal_in_any_order_and_repeated() {
        let first = audience(&["b", "a"]).unwrap();
        assert_eq!(first, audience(&["a", "b", "a"]).unwrap());
        assert_eq!(first.as_slice(), ["a", "b"]);
        assert_ne!(first, audience(&["a"]).unwrap());
        assert_ne!(audience(&["ab"]).unwrap(), first);
    }

    #[test]
    fn spiffe_row_27_a_token_that_we_make_has_one_to_sixteen_audiences() {
        assert_eq!(audience(&[]), Err(AudienceError::None));
        assert_eq!(audience(&["a", ""]), Err(AudienceError::Empty));
        assert_eq!(audience(&["a\n"]), Err(AudienceError::Control));
        assert!(audience(&["a"; MAX_AUDIENCES]).is_ok());
        assert!(matches!(
            audience(&["a"; MAX_AUDIENCES + 1]),
            Err(AudienceError::TooMany { .. })
        ));
        assert!(audience(&[&"a".repeat(MAX_AUDIENCE_BYTES)]).is_ok());
        assert!(matches!(
            audience(&[&"a".repeat(MAX_AUDIENCE_BYTES + 1)]),
            Err(AudienceError::TooLong { .. })
        ));
    }
}
