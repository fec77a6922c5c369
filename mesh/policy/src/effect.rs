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

/// The `onFailure` of a rule: what a sender hears whose packets there can be no proof for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// Nothing.
    #[default]
    Drop,
    /// TCP: the end of the connection; else an ICMP message that it is prohibited.
    Reject,
}

/// Why an action and an authentication mode do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EffectError {
    /// A packet that is dropped anyway cannot ask for a proof.
    #[error("a rule that denies cannot ask for authentication: leave out one of the two")]
    DenyWithAuthentication,
    /// Nothing can fail where nothing is asked for.
    #[error(
        "`onFailure: reject` needs `authentication: required`: nothing else waits for a proof that may not come"
    )]
    RejectWithoutProof,
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
            (
                Action::Deny,
                Authentication::RequiredOrRejected | Authentication::Required | Authentication::AlwaysFail,
            ) => Err(EffectError::DenyWithAuthentication),
        }
    }

    /// Joins the three fields of a rule.
    pub const fn with(
        action: Action,
        authentication: Authentication,
        on_failure: OnFailure,
    ) -> Result<Self, EffectError> {
        match (on_failure, authentication) {
            (OnFailure::Drop, mode) => Self::new(action, mode),
            (OnFailure::Reject, Authentication::RequiredOrRejected | Authentication::Required) => {
                Self::new(action, Authentication::RequiredOrRejected)
            }
            (OnFailure::Reject, Authentication::Disabled | Authentication::AlwaysFail) => {
                Err(EffectError::RejectWithoutProof)
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
            Effect::Allow(Authentication::RequiredOrRejected),
            Effect::Allow(Authentication::Required),
            Effect::Allow(Authentication::AlwaysFail),
            Effect::Deny,
        ];
        assert!(ordered.windows(2).all(|pair| pair[0].rank() < pair[1].rank()));
    }

    #[test]
    fn only_a_rule_that_asks_for_a_proof_can_tell_whom_it_refuses() {
        let with = |mode| Effect::with(Action::Allow, mode, OnFailure::Reject);
        assert_eq!(
            with(Authentication::Required),
            Ok(Effect::Allow(Authentication::RequiredOrRejected))
        );
        for mode in [Authentication::Disabled, Authentication::AlwaysFail] {
            assert_eq!(with(mode), Err(EffectError::RejectWithoutProof), "{mode:?}");
        }
        assert_eq!(
            Effect::with(Action::Deny, Authentication::Required, OnFailure::Reject),
            Err(EffectError::DenyWithAuthentication)
        );
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
