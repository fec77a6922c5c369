//! What a registration says beside who and where: of its SVIDs, and of what their holder may do.

use std::fmt;
use std::str::FromStr;

use signet_spiffe::{DnsName, Hint, KeyType};

/// Most DNS names of one registration.
pub const MAX_DNS_NAMES: usize = 16;

/// What the SVIDs of a registration are like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SvidTerms {
    /// What the identity is for; workloads with several get it beside the SVID (Workload API §5.2.1).
    pub hint: Option<Hint>,
    /// Hosts that an X.509-SVID also speaks for, in order, none twice.
    pub dns_names: Vec<DnsName>,
    /// Kind of key of X.509-SVIDs.
    pub key_type: KeyType,
    /// Life of JWT-SVIDs, seconds; 0: the CA's default, and no longer than X.509-SVIDs live.
    pub jwt_ttl: u32,
    /// Whether their holder may run a CA below this one.
    pub downstream: bool,
}

/// What somebody may do as an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Look at everything, change nothing.
    Reader,
    /// Everything.
    Admin,
}

/// Why a text is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a role is one of reader and admin")]
pub struct RoleError;

impl Role {
    /// Its one spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        match text {
            "reader" => Ok(Self::Reader),
            "admin" => Ok(Self::Admin),
            _ => Err(RoleError),
        }
    }
}
