//! How authorities come and go.

use std::time::Duration;

use signet_authority::MAX_JWT_SVID_LIFE;
use signet_rotation::{AuthorityKind, PUBLISH_INTERVAL, Policy};

use crate::config::{MAX_NODE_SVID_TTL, MAX_SVID_TTL};

/// How far clocks of those who verify may be behind ours: what has ended by our clock may count by theirs.
const SKEW: Duration = Duration::from_hours(1);

/// How much longer than its publication an authority has to live, at least: it is prepared at half of its predecessor's life.
const SHARE: u32 = 8;

/// How authorities come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// How long an X.509 authority's certificate is good. Another one takes over after half of it.
    pub authority_life: Duration,
    /// How long a JWT key may sign at most, or a WIT key. Another one takes over after half of it.
    pub jwt_key_life: Duration,
    /// How long an authority is published before it signs.
    pub publish_interval: Duration,
    /// Whether the CA takes the steps that are due by itself.
    pub automatic: bool,
    /// How long the authority of a CA below this one is good at most.
    pub downstream_life: Duration,
    /// Whether there are WIT-SVIDs, and keys that sign them: an experiment.
    pub wit_svids: bool,
}

/// Lives that leave no time for a successor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "authorities live at least {SHARE} times as long as they are published before they sign (--publish-interval), and at most \
     87600h"
)]
pub struct RotationError;

impl Default for Rotation {
    fn default() -> Self {
        Self {
            authority_life: Duration::from_hours(365 * 24),
            jwt_key_life: Duration::from_hours(90 * 24),
            publish_interval: PUBLISH_INTERVAL,
            automatic: true,
            downstream_life: Duration::from_hours(30 * 24),
            wit_svids: false,
        }
    }
}

impl Rotation {
    /// Whether there is time for a successor.
    pub fn check(&self) -> Result<(), RotationError> {
        let most = Duration::from_hours(87_600);
        let least = self.publish_interval * SHARE;
        let fits = |life: Duration| life >= least.max(Duration::from_secs(1)) && life <= most;
        let fit = fits(self.authority_life) && fits(self.jwt_key_life);
        fit.then_some(()).ok_or(RotationError)
    }

    /// Whether authorities of a kind are to be.
    pub(crate) fn has(&self, kind: AuthorityKind) -> bool {
        match kind {
            AuthorityKind::X509 | AuthorityKind::Jwt => true,
            AuthorityKind::Wit => self.wit_svids,
        }
    }

    /// The policy for a kind.
    pub(crate) fn policy(&self, kind: AuthorityKind) -> Policy {
        let (life, longest) = match kind {
            AuthorityKind::X509 => (self.authority_life, MAX_SVID_TTL.max(MAX_NODE_SVID_TTL)),
            AuthorityKind::Jwt => (self.jwt_key_life, MAX_JWT_SVID_LIFE),
            AuthorityKind::Wit => (self.jwt_key_life, MAX_SVID_TTL),
        };
        Policy {
            life,
            publish_interval: self.publish_interval,
            longest: longest + SKEW,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_leaves_time_for_the_next_one() {
        assert_eq!(Rotation::default().check(), Ok(()));
        let with = |hours, minutes| Rotation {
            authority_life: Duration::from_hours(hours),
            publish_interval: Duration::from_mins(minutes),
            ..Rotation::default()
        };
        assert_eq!(with(4, 30).check(), Ok(()));
        assert_eq!(with(4, 31).check(), Err(RotationError));
        assert_eq!(with(87_601, 1).check(), Err(RotationError));
        assert_eq!(with(0, 0).check(), Err(RotationError));
    }
}
