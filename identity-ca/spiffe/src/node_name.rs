//! Names of nodes.

use std::fmt;
use std::sync::Arc;

/// A node's name, always a DNS label (RFC 1123 §2.1): lower-case letters, digits and inner dashes, at most 63 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(Arc<str>);

/// Why a text is no node name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeNameError {
    /// Empty or longer than 63 bytes.
    #[error("a node name has 1 to 63 characters, this one has {length}")]
    Length {
        /// Bytes.
        length: usize,
    },
    /// Not a DNS label.
    #[error("a node name is a DNS label: lower-case letters, digits and inner dashes")]
    NotALabel,
}

impl NodeName {
    /// Parses a DNS label.
    pub fn parse(name: &str) -> Result<Self, NodeNameError> {
        if name.is_empty() || name.len() > 63 {
            return Err(NodeNameError::Length { length: name.len() });
        }
        let characters = name
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if !characters || name.starts_with('-') || name.ends_with('-') {
            return Err(NodeNameError::NotALabel);
        }
        Ok(Self(Arc::from(name)))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeName({})", self.0)
    }
}

impl std::str::FromStr for NodeName {
    type Err = NodeNameError;

    fn from_str(text: &str) -> Result<Self, NodeNameError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_name_is_a_dns_label() {
        for good in ["n1", "a", "worker-07", &"n".repeat(63)] {
            assert_eq!(NodeName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["-a", "a-", "A", "a.b", "a_b", "a/b", "é"] {
            assert_eq!(NodeName::parse(bad), Err(NodeNameError::NotALabel), "{bad}");
        }
        for bad in [String::new(), "n".repeat(64)] {
            assert_eq!(
                NodeName::parse(&bad),
                Err(NodeNameError::Length { length: bad.len() })
            );
        }
    }
}
