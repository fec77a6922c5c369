//! What a supervised process is for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a role was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no process of a lab; there are ca, agent, meshd, keyd and workload")]
pub struct RoleError(String);

/// What a supervised process is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// signet-ca.
    Ca,
    /// signet-agent.
    Agent,
    /// signet-meshd.
    Meshd,
    /// signet-keyd.
    Keyd,
    /// A workload's command.
    Workload,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Ca, Self::Agent, Self::Meshd, Self::Keyd, Self::Workload];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ca => "ca",
            Self::Agent => "agent",
            Self::Meshd => "meshd",
            Self::Keyd => "keyd",
            Self::Workload => "workload",
        }
    }

    /// The daemon's binary; a workload has a command of its own.
    pub(crate) const fn binary(self) -> Option<&'static str> {
        match self {
            Self::Ca => Some("signet-ca"),
            Self::Agent => Some("signet-agent"),
            Self::Meshd => Some("signet-meshd"),
            Self::Keyd => Some("signet-keyd"),
            Self::Workload => None,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Role {
    type Err = RoleError;

    /// The role's word, or its binary's name.
    fn from_str(text: &str) -> Result<Self, RoleError> {
        Self::ALL
            .into_iter()
            .find(|role| role.name() == text || role.binary() == Some(text))
            .ok_or_else(|| RoleError(text.to_owned()))
    }
}
