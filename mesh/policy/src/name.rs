//! Names of namespaces and of the objects in them, as Kubernetes writes them.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// Longest [`Namespace`], bytes (RFC 1123 section 2.1, one label).
const MAX_LABEL: usize = 63;
/// Longest [`Name`], bytes (RFC 1123 section 2.1).
const MAX_SUBDOMAIN: usize = 253;

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// Nothing was written.
    #[error("the name is empty: write at least one letter or digit")]
    Empty,
    /// Longer than DNS allows.
    #[error("{found} characters are too many: at most {max} are allowed")]
    TooLong {
        /// How many it has.
        found: usize,
        /// How many it may have.
        max: usize,
    },
    /// A character that DNS names have not.
    #[error("{0:?} is not allowed: use lower-case letters, digits and '-'")]
    Character(char),
    /// A label begins or ends with a hyphen, or is empty.
    #[error("each part must begin and end with a letter or digit")]
    Edge,
}

/// A namespace: one DNS label of at most 63 characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(Arc<str>);

/// The name of a workload, a policy or a service account: a DNS subdomain of at most 253 characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Namespace {
    /// Parses a DNS label.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check_length(text, MAX_LABEL)?;
        check_label(text)?;
        Ok(Self(text.into()))
    }

    /// The name as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Name {
    /// Parses a DNS subdomain: labels joined by dots.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check_length(text, MAX_SUBDOMAIN)?;
        text.split('.').try_for_each(check_label)?;
        Ok(Self(text.into()))
    }

    /// The name as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check_length(text: &str, max: usize) -> Result<(), NameError> {
    match text.len() {
        0 => Err(NameError::Empty),
        found if found > max => Err(NameError::TooLong { found, max }),
        _ => Ok(()),
    }
}

fn check_label(label: &str) -> Result<(), NameError> {
    let plain = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit();
    if let Some(strange) = label
        .chars()
        .find(|&character| !plain(character) && character != '-')
    {
        return Err(NameError::Character(strange));
    }
    if label.starts_with(plain) && label.ends_with(plain) {
        Ok(())
    } else {
        Err(NameError::Edge)
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dns_names_are_accepted() {
        for good in ["a", "shop", "a-b", "0", &"x".repeat(63)] {
            assert_eq!(Namespace::parse(good).unwrap().as_str(), good);
            assert_eq!(Name::parse(good).unwrap().as_str(), good);
        }
        assert!(Name::parse("web-0.shop").is_ok());
        assert_eq!(Namespace::parse("web.shop"), Err(NameError::Character('.')));
    }

    #[test]
    fn what_dns_refuses_is_refused_with_its_cause() {
        assert_eq!(Namespace::parse(""), Err(NameError::Empty));
        assert_eq!(Namespace::parse("Shop"), Err(NameError::Character('S')));
        assert_eq!(Name::parse("a/b"), Err(NameError::Character('/')));
        assert_eq!(Name::parse("a..b"), Err(NameError::Edge));
        assert_eq!(Name::parse("-a"), Err(NameError::Edge));
        assert_eq!(Name::parse("a-"), Err(NameError::Edge));
        assert_eq!(
            Namespace::parse(&"x".repeat(64)),
            Err(NameError::TooLong { found: 64, max: 63 })
        );
        assert_eq!(
            Name::parse(&"x".repeat(254)),
            Err(NameError::TooLong { found: 254, max: 253 })
        );
    }
}
