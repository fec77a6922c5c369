//! What policies say: how a workload's node judges the packets of another workload.

use std::collections::BTreeMap;

use signet_abi::SecurityIdentity;

/// What one pair is asked for, in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rule {
    /// Nothing.
    Open,
    /// A proof; who cannot have one hears nothing.
    #[default]
    Required,
    /// A proof; who cannot have one is told so (`onFailure: reject`).
    Rejecting,
    /// It may not.
    Denied,
}

impl Rule {
    /// Whether a proof can give what it asks for.
    pub fn asks_for_proof(self) -> bool {
        match self {
            Self::Required | Self::Rejecting => true,
            Self::Open | Self::Denied => false,
        }
    }
}

/// All of them. Of a pair that none names a proof is asked.
#[derive(Clone, Debug, Default)]
pub struct Rules(BTreeMap<(SecurityIdentity, SecurityIdentity), Rule>);

impl Rules {
    /// What is asked of the packets of one workload to another one.
    pub fn of(&self, sender: SecurityIdentity, receiver: SecurityIdentity) -> Rule {
        self.0.get(&(sender, receiver)).copied().unwrap_or_default()
    }

    /// From now on.
    pub fn set(&mut self, sender: SecurityIdentity, receiver: SecurityIdentity, rule: Rule) {
        self.0.insert((sender, receiver), rule);
    }
}
