//! Drops proofs because an operator says so. Whatever needs them asks anew.

use signet_abi::{AuthKey, SecurityIdentity};
use signet_maps::boottime_now;

use super::Actor;
use crate::auth::AuthStore;

/// Which proofs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// All of this node.
    All,
    /// Those in which an identity has a part, on either side.
    Of(SecurityIdentity),
    /// Those of two identities, whichever of them is here, on whatever nodes.
    Between(SecurityIdentity, SecurityIdentity),
}

impl Which {
    /// Whether a proof is meant.
    pub fn means(self, key: &AuthKey) -> bool {
        match self {
            Self::All => true,
            Self::Of(identity) => key.local == identity || key.remote == identity,
            Self::Between(one, other) => {
                (key.local, key.remote) == (one, other) || (key.local, key.remote) == (other, one)
            }
        }
    }
}

impl<A: AuthStore> Actor<A> {
    /// Drops proofs; says how many. A handshake that is under way goes on: what it proves is new.
    pub(super) fn flush(&mut self, which: Which) -> usize {
        let gone = self.table.flush(boottime_now(), |key| which.means(key));
        self.tell_gone(&gone, |_, _| "an operator has dropped it".to_owned());
        self.doomed.extend(&gone);
        self.finish_revoking();
        self.look_ahead();
        self.go_ahead();
        gone.len()
    }
}

#[cfg(test)]
mod tests {
    use signet_abi::NodeId;

    use super::*;

    #[test]
    fn a_pair_is_meant_from_either_side_and_no_other_one() {
        let key = |local, remote| AuthKey {
            local: SecurityIdentity(local),
            remote: SecurityIdentity(remote),
            node: NodeId(2),
        };
        let pair = Which::Between(SecurityIdentity(300), SecurityIdentity(400));
        assert!(pair.means(&key(300, 400)) && pair.means(&key(400, 300)));
        assert!(!pair.means(&key(300, 401)) && !pair.means(&key(401, 400)) && !pair.means(&key(300, 300)));
        let one = Which::Of(SecurityIdentity(300));
        assert!(one.means(&key(300, 400)) && one.means(&key(1, 300)) && !one.means(&key(301, 400)));
    }
}
