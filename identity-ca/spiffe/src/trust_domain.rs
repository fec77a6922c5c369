//! Trust domains (SPIFFE-ID §2.1).

use std::fmt;
use std::sync::Arc;

use crate::id::IdError;

/// Longest trust domain name, bytes (SPIFFE-ID §2.3).
pub const MAX_TRUST_DOMAIN_LENGTH: usize = 255;

/// The name of a trust domain, always valid.
///
/// A name is opaque: one that looks like an IP address or a DNS name is treated like any other (SPIFFE-ID §2.1). Upper
/// case is refused rather than folded: §2.4 compares names without regard to case, §2.1 allows lower case only, and one
/// spelling per identity leaves nothing to confuse.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// Parses a bare name such as `cluster.local`, not a `spiffe://` ID.
    pub fn parse(name: &str) -> Result<Self, IdError> {
        if name.is_empty() {
            return Err(IdError::NoTrustDomain);
        }
        if name.len() > MAX_TRUST_DOMAIN_LENGTH {
            return Err(IdError::TrustDomainTooLong { length: name.len() });
        }
        match name.chars().find(|c| !is_trust_domain_character(*c)) {
            Some(character) => Err(IdError::TrustDomainCharacter { character }),
            None => Ok(Self(Arc::from(name))),
        }
    }

    /// The bare name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_trust_domain_character(c: char) -> bool {
    matches!(c, 'a'..='z' | '0'..='9' | '.' | '-' | '_')
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustDomain({})", self.0)
    }
}

impl std::str::FromStr for TrustDomain {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spiffe_row_02_a_trust_domain_is_lower_case_letters_digits_dots_dashes_and_underscores() {
        for good in ["cluster.local", "a", "a_b-c.9", "xn--e1afmkfd"] {
            assert_eq!(TrustDomain::parse(good).unwrap().as_str(), good);
        }
        assert_eq!(TrustDomain::parse(""), Err(IdError::NoTrustDomain));
        for bad in [
            "Cluster.local",
            "a b",
            "user@td",
            "td:80",
            "t%61",
            "тд",
            "a/b",
            "a\0",
        ] {
            assert!(
                matches!(TrustDomain::parse(bad), Err(IdError::TrustDomainCharacter { .. })),
                "{bad:?} was let through"
            );
        }
    }

    #[test]
    fn spiffe_row_03_names_that_look_like_addresses_or_dns_names_are_nothing_special() {
        for name in ["127.0.0.1", "1.2.3.4.", ".example..org.", "-._"] {
            assert_eq!(TrustDomain::parse(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn spiffe_row_05_a_trust_domain_has_at_most_255_bytes() {
        assert!(TrustDomain::parse(&"a".repeat(255)).is_ok());
        assert_eq!(
            TrustDomain::parse(&"a".repeat(256)),
            Err(IdError::TrustDomainTooLong { length: 256 })
        );
    }
}
