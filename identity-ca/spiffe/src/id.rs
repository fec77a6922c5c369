//! SPIFFE IDs (SPIFFE-ID §2).

use std::fmt;
use std::sync::Arc;

use crate::node_name::NodeName;
use crate::trust_domain::TrustDomain;

/// Longest SPIFFE ID, bytes (SPIFFE-ID §2.3): longer ones are neither read nor made.
pub const MAX_ID_LENGTH: usize = 2048;

const SCHEME: &str = "spiffe://";
const INFRASTRUCTURE: &str = "/signet";
const CA: &str = "/signet/ca";
const NODE: &str = "/signet/node/";

/// A SPIFFE ID, always valid: `spiffe://<trust domain>` and a path that is empty or `/segment/…`.
///
/// Comparison is by bytes: paths are case-sensitive (SPIFFE-ID §2.4), scheme and trust domain are lower case by parsing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    text: Arc<str>,
    trust_domain: TrustDomain,
}

/// Why a text is no SPIFFE ID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Longer than [`MAX_ID_LENGTH`].
    #[error("a SPIFFE ID has at most {MAX_ID_LENGTH} bytes, this one has {length}")]
    TooLong {
        /// Bytes.
        length: usize,
    },
    /// Does not begin with `spiffe://`.
    #[error("a SPIFFE ID begins with spiffe:// in lower case")]
    Scheme,
    /// Nothing between `spiffe://` and the path.
    #[error("the trust domain is empty")]
    NoTrustDomain,
    /// Longer than 255 bytes.
    #[error("a trust domain has at most 255 bytes, this one has {length}")]
    TrustDomainTooLong {
        /// Bytes.
        length: usize,
    },
    /// Outside `[a-z0-9.-_]`; so are ports, user names, queries and percent-encoding.
    #[error("{character:?} must not stand in a trust domain, which is lower-case letters, digits and . - _")]
    TrustDomainCharacter {
        /// The first such character.
        character: char,
    },
    /// `//`, or a `/` at the end.
    #[error("a path has no empty segment and no / at its end")]
    EmptySegment,
    /// `.` or `..`.
    #[error("a path segment must not be . or ..")]
    DotSegment,
    /// Outside `[a-zA-Z0-9.-_]`; so are queries, fragments and percent-encoding.
    #[error("{character:?} must not stand in a path, whose segments are letters, digits and . - _")]
    PathCharacter {
        /// The first such character.
        character: char,
    },
}

impl SpiffeId {
    /// Parses `spiffe://<trust domain>[/path]`.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        if text.len() > MAX_ID_LENGTH {
            return Err(IdError::TooLong { length: text.len() });
        }
        let rest = text.strip_prefix(SCHEME).ok_or(IdError::Scheme)?;
        let path_at = rest.find('/').unwrap_or(rest.len());
        let (trust_domain, path) = rest.split_at(path_at);
        let trust_domain = TrustDomain::parse(trust_domain)?;
        check_path(path)?;
        Ok(Self {
            text: Arc::from(text),
            trust_domain,
        })
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The path with its leading `/`; empty for the trust domain's own ID.
    pub fn path(&self) -> &str {
        self.text
            .get(SCHEME.len() + self.trust_domain.as_str().len()..)
            .unwrap_or_default()
    }

    /// The whole ID.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The trust domain's own ID, without a path: what its signing certificates carry (SPIFFE-ID §3.1).
    pub fn authority(trust_domain: &TrustDomain) -> Self {
        Self::known_good(trust_domain, "")
    }

    /// The CA server's ID.
    pub fn ca(trust_domain: &TrustDomain) -> Self {
        Self::known_good(trust_domain, CA)
    }

    /// A node agent's ID.
    pub fn node(trust_domain: &TrustDomain, node: &NodeName) -> Self {
        Self::known_good(trust_domain, &format!("{NODE}{node}"))
    }

    /// The ID of a workload by default: `/ns/<namespace>/sa/<service account>`.
    pub fn workload(
        trust_domain: &TrustDomain,
        namespace: &str,
        service_account: &str,
    ) -> Result<Self, IdError> {
        check_segment(namespace)?;
        check_segment(service_account)?;
        Self::parse(&format!(
            "{SCHEME}{trust_domain}/ns/{namespace}/sa/{service_account}"
        ))
    }

    /// The node's name where this is a node agent's ID.
    pub fn node_name(&self) -> Option<NodeName> {
        NodeName::parse(self.path().strip_prefix(NODE)?).ok()
    }

    /// True for `/signet` and all below it: IDs of Signet's own parts, which no workload can have.
    pub fn is_infrastructure(&self) -> bool {
        self.path()
            .strip_prefix(INFRASTRUCTURE)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// `path` must be one that `check_path` passes; a trust domain and our own prefixes stay far below the length limit.
    fn known_good(trust_domain: &TrustDomain, path: &str) -> Self {
        Self {
            text: Arc::from(format!("{SCHEME}{trust_domain}{path}")),
            trust_domain: trust_domain.clone(),
        }
    }
}

/// SPIFFE-ID §2.2.
fn check_path(path: &str) -> Result<(), IdError> {
    path.split('/').skip(1).try_for_each(check_segment)
}

fn check_segment(segment: &str) -> Result<(), IdError> {
    if let Some(character) = segment
        .chars()
        .find(|c| !matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_'))
    {
        return Err(IdError::PathCharacter { character });
    }
    match segment {
        "" => Err(IdError::EmptySegment),
        "." | ".." => Err(IdError::DotSegment),
        _ => Ok(()),
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpiffeId({})", self.text)
    }
}

impl std::str::FromStr for SpiffeId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain() -> TrustDomain {
        TrustDomain::parse("td").unwrap()
    }

    #[test]
    fn spiffe_row_01_only_the_spiffe_scheme_without_query_or_fragment() {
        for bad in [
            "http://td/a",
            "spiffe:/td/a",
            "spiffe:td",
            "td/a",
            "",
            "spiffe",
            " spiffe://td",
            "SPIFFE://td",
        ] {
            assert_eq!(SpiffeId::parse(bad), Err(IdError::Scheme), "{bad}");
        }
        for bad in [
            "spiffe://td/a?q",
            "spiffe://td/a#f",
            "spiffe://td/a?",
            "spiffe://td/a#",
        ] {
            assert!(
                matches!(SpiffeId::parse(bad), Err(IdError::PathCharacter { .. })),
                "{bad}"
            );
        }
        for bad in ["spiffe://td?q", "spiffe://td#f"] {
            assert!(
                matches!(SpiffeId::parse(bad), Err(IdError::TrustDomainCharacter { .. })),
                "{bad}"
            );
        }
    }

    #[test]
    fn spiffe_row_02_the_trust_domain_has_no_user_port_or_percent_encoding() {
        for bad in [
            "spiffe://u@td/a",
            "spiffe://td:1/a",
            "spiffe://t%64/a",
            "spiffe://TD/a",
        ] {
            assert!(
                matches!(SpiffeId::parse(bad), Err(IdError::TrustDomainCharacter { .. })),
                "{bad}"
            );
        }
        assert_eq!(SpiffeId::parse("spiffe:///a"), Err(IdError::NoTrustDomain));
    }

    #[test]
    fn spiffe_row_04_paths_have_plain_segments_only() {
        for good in [
            "spiffe://td",
            "spiffe://td/a",
            "spiffe://td/A.b-c_9/...",
            "spiffe://td/.a/b.",
        ] {
            assert_eq!(SpiffeId::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "spiffe://td/",
            "spiffe://td//a",
            "spiffe://td/a//b",
            "spiffe://td/a/",
        ] {
            assert_eq!(SpiffeId::parse(bad), Err(IdError::EmptySegment), "{bad}");
        }
        for bad in ["spiffe://td/.", "spiffe://td/..", "spiffe://td/a/../b"] {
            assert_eq!(SpiffeId::parse(bad), Err(IdError::DotSegment), "{bad}");
        }
        for bad in [
            "spiffe://td/a%2fb",
            "spiffe://td/ü",
            "spiffe://td/a b",
            "spiffe://td/a\n",
            "spiffe://td/*",
        ] {
            assert!(
                matches!(SpiffeId::parse(bad), Err(IdError::PathCharacter { .. })),
                "{bad}"
            );
        }
    }

    #[test]
    fn spiffe_row_05_ids_up_to_2048_bytes_are_read_and_longer_ones_are_neither_read_nor_made() {
        let longest = format!("spiffe://td/{}", "a".repeat(2048 - 12));
        assert_eq!(longest.len(), 2048);
        assert_eq!(SpiffeId::parse(&longest).unwrap().as_str(), longest);
        assert_eq!(
            SpiffeId::parse(&format!("{longest}a")),
            Err(IdError::TooLong { length: 2049 })
        );
        assert!(matches!(
            SpiffeId::workload(&domain(), &"n".repeat(1024), &"s".repeat(1024)),
            Err(IdError::TooLong { .. })
        ));
    }

    #[test]
    fn spiffe_row_06_paths_differ_by_case_and_upper_case_elsewhere_is_refused() {
        assert_ne!(
            SpiffeId::parse("spiffe://td/a").unwrap(),
            SpiffeId::parse("spiffe://td/A").unwrap()
        );
        assert_eq!(SpiffeId::parse("Spiffe://td/a"), Err(IdError::Scheme));
        assert_eq!(
            SpiffeId::parse("spiffe://Td/a"),
            Err(IdError::TrustDomainCharacter { character: 'T' })
        );
    }

    #[test]
    fn an_id_knows_its_parts() {
        let id = SpiffeId::parse("spiffe://td/ns/shop/sa/web").unwrap();
        assert_eq!(id.trust_domain(), &domain());
        assert_eq!(id.path(), "/ns/shop/sa/web");
        assert_eq!(id, SpiffeId::workload(&domain(), "shop", "web").unwrap());
        assert_eq!(SpiffeId::authority(&domain()).path(), "");
    }

    #[test]
    fn a_workload_name_cannot_smuggle_in_a_segment() {
        assert_eq!(
            SpiffeId::workload(&domain(), "shop/sa/web", "x"),
            Err(IdError::PathCharacter { character: '/' })
        );
        assert_eq!(SpiffeId::workload(&domain(), "..", "x"), Err(IdError::DotSegment));
        assert_eq!(
            SpiffeId::workload(&domain(), "shop", ""),
            Err(IdError::EmptySegment)
        );
    }

    #[test]
    fn infrastructure_ids_are_told_apart_from_workloads() {
        let node = SpiffeId::node(&domain(), &NodeName::parse("n1").unwrap());
        assert_eq!(node.as_str(), "spiffe://td/signet/node/n1");
        assert_eq!(node.node_name().unwrap().as_str(), "n1");
        assert_eq!(SpiffeId::ca(&domain()).node_name(), None);
        for infrastructure in [
            node.as_str(),
            "spiffe://td/signet",
            "spiffe://td/signet/ca",
            "spiffe://td/signet/x/y",
        ] {
            assert!(
                SpiffeId::parse(infrastructure).unwrap().is_infrastructure(),
                "{infrastructure}"
            );
        }
        for other in [
            "spiffe://td",
            "spiffe://td/signets",
            "spiffe://td/Signet/ca",
            "spiffe://td/a/signet/ca",
        ] {
            assert!(!SpiffeId::parse(other).unwrap().is_infrastructure(), "{other}");
        }
        for not_a_node in [
            "spiffe://td/signet/node/a/b",
            "spiffe://td/signet/node/A",
            "spiffe://td/signet/node",
        ] {
            assert_eq!(
                SpiffeId::parse(not_a_node).unwrap().node_name(),
                None,
                "{not_a_node}"
            );
        }
    }
}
