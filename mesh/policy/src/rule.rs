//! One rule: who, what, and what then.

use signet_abi::SecurityIdentity;
use thiserror::Error;

use crate::effect::Effect;
use crate::identities::Identities;
use crate::peer::Peer;
use crate::traffic::Traffic;

/// Most peers in one rule.
pub const MAX_PEERS: usize = 256;
/// Most kinds of traffic (items of `ports`) in one rule.
pub const MAX_TRAFFIC: usize = 64;

/// Why parts do not make a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RuleError {
    /// Everyone must be said, not left out.
    #[error("the rule names no peer: write `- entity: all` to mean everyone")]
    NoPeer,
    /// More than [`MAX_PEERS`].
    #[error("{0} peers are too many for one rule: split it, at most {MAX_PEERS} are allowed")]
    TooManyPeers(usize),
    /// More than [`MAX_TRAFFIC`].
    #[error("{0} ports are too many for one rule: use ranges or split it, at most {MAX_TRAFFIC} are allowed")]
    TooManyPorts(usize),
}

/// A rule that is always valid: it has a peer, and its size is bounded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    peers: Vec<Peer>,
    traffic: Vec<Traffic>,
    effect: Effect,
}

impl Rule {
    /// Puts a rule together. No `traffic` means all of it.
    pub fn new(peers: Vec<Peer>, mut traffic: Vec<Traffic>, effect: Effect) -> Result<Self, RuleError> {
        if peers.is_empty() {
            return Err(RuleError::NoPeer);
        }
        if peers.len() > MAX_PEERS {
            return Err(RuleError::TooManyPeers(peers.len()));
        }
        if traffic.len() > MAX_TRAFFIC {
            return Err(RuleError::TooManyPorts(traffic.len()));
        }
        if traffic.is_empty() {
            traffic.push(Traffic::ANY);
        }
        Ok(Self {
            peers,
            traffic,
            effect,
        })
    }

    /// Whom it names; at least one.
    pub fn peers(&self) -> &[Peer] {
        &self.peers
    }

    /// Which packets it speaks of; at least one kind.
    pub fn traffic(&self) -> &[Traffic] {
        &self.traffic
    }

    /// What it does with them.
    pub fn effect(&self) -> Effect {
        self.effect
    }

    /// Whether one of its peers names this identity.
    pub fn names(&self, identity: SecurityIdentity, identities: &Identities) -> bool {
        self.peers.iter().any(|peer| peer.matches(identity, identities))
    }

    /// Whether it speaks of packets with this protocol number and destination port.
    pub fn covers(&self, protocol: u8, port: u16) -> bool {
        self.traffic.iter().any(|traffic| traffic.covers(protocol, port))
    }
}

#[cfg(test)]
mod tests {
    use signet_abi::Authentication;

    use super::*;
    use crate::peer::Entity;

    #[test]
    fn everyone_must_be_said_and_not_left_out() {
        let allow = Effect::Allow(Authentication::Disabled);
        assert_eq!(Rule::new(vec![], vec![], allow), Err(RuleError::NoPeer));
        let all = || Peer::Entity(Entity::All);
        let rule = Rule::new(vec![all()], vec![], allow).unwrap();
        assert!(rule.covers(132, 9) && rule.names(SecurityIdentity::WORLD, &Identities::default()));
        assert_eq!(
            Rule::new(vec![all(); 257], vec![], allow),
            Err(RuleError::TooManyPeers(257))
        );
        assert_eq!(
            Rule::new(vec![all()], vec![Traffic::ANY; 65], allow),
            Err(RuleError::TooManyPorts(65))
        );
    }
}
