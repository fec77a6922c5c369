//! Where in its life an authority is.

use std::fmt;
use std::str::FromStr;

/// Where in its life an authority is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Published, and signs nothing yet.
    Prepared,
    /// Signs. Of each kind there is one.
    Active,
    /// Signs no more; what it signed counts.
    Old,
    /// Signs no more, and what it signed is to be replaced at once.
    Tainted,
    /// Out of the bundle, after all that it signed has ended. Its key is gone.
    Retired,
    /// Out of the bundle, and what it signed counts no more. Its key is gone.
    Revoked,
}

/// None of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("that is no state of an authority")]
pub struct StateError;

impl State {
    const ALL: [Self; 6] = [
        Self::Prepared,
        Self::Active,
        Self::Old,
        Self::Tainted,
        Self::Retired,
        Self::Revoked,
    ];

    /// For people, columns and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Active => "active",
            Self::Old => "old",
            Self::Tainted => "tainted",
            Self::Retired => "retired",
            Self::Revoked => "revoked",
        }
    }

    /// Whether it is in the bundle.
    pub fn is_published(self) -> bool {
        match self {
            Self::Prepared | Self::Active | Self::Old | Self::Tainted => true,
            Self::Retired | Self::Revoked => false,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for State {
    type Err = StateError;

    fn from_str(text: &str) -> Result<Self, StateError> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(StateError)
    }
}
