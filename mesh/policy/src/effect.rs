//! What a rule does with the packets it matches.

use signet_abi::Authentication;
use thiserror::Error;

/// The `action` of a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Let pass, subject to authentication.
    #[default]
    Allow,
    /// Drop, whatever other rules allow.
    Deny,
}

/// Why an action and an authentication mode do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EffectError {
    /// A packet that is dropped anyway cannot ask for a proof.
    #[error("a rule that denies cannot ask for authentication: leave out one of the two")]
    DenyWithAuthentication,
}

/// Action and authentication mode together, in the combinations that mean something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Let pass if the pair is authenticated as the mode asks.
    Allow(Authentication),
    /// Drop.
    Deny,
}

impl Effect {
    /// Joins the two fields of a rule.
    pub const fn new(action: Action, authentication: Authentication) -> Result<Self, EffectError> {
        match (action, authentication) {
            (Action::Allow, mode) => Ok(Self::Allow(mode)),
            (Action::Deny, Authentication::Disabled) => Ok(Self::Deny),
            (Action::Deny, Authentication::Required | Authentication::AlwaysFail) => {
                Err(EffectError::DenyWithAuthentication)
            }
        }
    }

    /// How much of a say it has where several rules match: the strictest wins.
    pub(crate) const fn rank(self) -> u8 {
        match self {
            Self::Allow(mode) => mode as u8,
            Self::Deny => u8::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strictness_is_ordered_and_deny_is_above_all() {
        let ordered = [
            Effect::Allow(Authentication::Disabled),
            Effect::Allow(Authentication::Required),
            Effect::Allow(Authentication::AlwaysFail),
            Effect::Deny,
        ];
        assert!(ordered.windows(2).all(|pair| pair[0].rank() < pair[1].rank()));
    }

    #[test]
    fn a_denying_rule_with_authentication_is_refused() {
        assert_eq!(
            Effect::new(Action::Deny, Authentication::Required),
            Err(EffectError::DenyWithAuthentication)
        );
        assert_eq!(
            Effect::new(Action::Deny, Authentication::Disabled),
            Ok(Effect::Deny)
        );
    }
}
