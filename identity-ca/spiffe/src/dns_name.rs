//! Names of hosts in certificates.

use std::fmt;
use std::sync::Arc;

/// Most bytes of a name (RFC 1035 §2.3.4, without the root's dot).
const MAX_NAME: usize = 253;
/// Most bytes between two dots.
const MAX_LABEL: usize = 63;

/// A host's name as a dNSName SAN has it (RFC 5280 §4.2.1.6, RFC 1123 §2.1): labels of lower-case letters, digits and inner
/// dashes. No wildcard, no underscore, no dot at the end, and nothing that could be taken for an IPv4 address.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsName(Arc<str>);

/// Why a text is no name of a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DnsNameError {
    /// Empty or longer than 253 bytes.
    #[error("a DNS name has 1 to {MAX_NAME} characters, this one has {length}")]
    Length {
        /// Bytes.
        length: usize,
    },
    /// A wildcard stands for hosts that nobody has named.
    #[error("a certificate here names each host: no wildcards")]
    Wildcard,
    /// A label that is none.
    #[error(
        "a DNS name is labels of 1 to {MAX_LABEL} lower-case letters, digits and inner dashes, with dots between"
    )]
    Label,
    /// The last label is a number: clients may take the whole for an IPv4 address.
    #[error("a DNS name does not end with a number: that would be an address")]
    Address,
}

impl DnsName {
    /// Parses a name.
    pub fn parse(name: &str) -> Result<Self, DnsNameError> {
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(DnsNameError::Length { length: name.len() });
        }
        if name.contains('*') {
            return Err(DnsNameError::Wildcard);
        }
        if !name.split('.').all(is_label) {
            return Err(DnsNameError::Label);
        }
        let last = name.rsplit('.').next().unwrap_or(name);
        if last.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(DnsNameError::Address);
        }
        Ok(Self(Arc::from(name)))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL).contains(&label.len())
        && label
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && !label.starts_with('-')
        && !label.ends_with('-')
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DnsName({})", self.0)
    }
}

impl std::str::FromStr for DnsName {
    type Err = DnsNameError;

    fn from_str(text: &str) -> Result<Self, DnsNameError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_labels_in_lower_case_and_no_pattern_and_no_address() {
        let long = format!("{}{}", format!("{}.", "a".repeat(63)).repeat(3), "b".repeat(61));
        for good in [
            "web",
            "web.shop.svc",
            "a-b.example",
            "1.2.3.x4",
            "xn--bcher-kva.example",
            &long,
        ] {
            assert_eq!(DnsName::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "a..b",
            ".a",
            "a.",
            "-a.b",
            "a-.b",
            "A.b",
            "a_b",
            "a b",
            "é.example",
            "a/b",
            "a\0.b",
            "spiffe://td/a",
            &format!("{}.x", "a".repeat(64)),
        ] {
            assert_eq!(DnsName::parse(bad), Err(DnsNameError::Label), "{bad}");
        }
        for bad in ["*.example", "*", "w*.example"] {
            assert_eq!(DnsName::parse(bad), Err(DnsNameError::Wildcard), "{bad}");
        }
        for bad in ["10.0.0.1", "1", "example.1"] {
            assert_eq!(DnsName::parse(bad), Err(DnsNameError::Address), "{bad}");
        }
        for bad in [String::new(), format!("{long}b")] {
            assert_eq!(
                DnsName::parse(&bad),
                Err(DnsNameError::Length { length: bad.len() })
            );
        }
    }
}
