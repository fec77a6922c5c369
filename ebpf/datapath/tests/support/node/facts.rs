//! What daemons write into a node's maps.

use std::net::IpAddr;

use signet_abi::{
    ABI_VERSION, Address, AuthKey, AuthValue, Authentication, Direction, Endpoint, IpcacheValue, Lease,
    LeaseEnd, LeaseEndKey, LeaseKey, MeshConfig, NodeId, NodeState, PolicyValue, SecurityIdentity, Verdict,
};
use signet_maps::{IpcachePrefix, PolicyPrefix, boottime_now};

use super::Node;
use crate::support::scene::{Family, INTERFACE, LOCAL, OWN_NODE, PEER_NODE, POLICY, REMOTE};

impl Node {
    /// Writes the settings: this version's, node 1, epoch 1, and what `change` makes of them.
    pub(crate) fn configure(&mut self, change: impl FnOnce(&mut MeshConfig)) {
        let mut config = MeshConfig {
            abi_version: ABI_VERSION,
            node: OWN_NODE,
            policy_epoch: 1,
            ..MeshConfig::default()
        };
        change(&mut config);
        self.config.set(&config).unwrap();
    }

    /// Says that endpoints, addresses or rules have changed.
    pub(crate) fn next_epoch(&mut self) {
        let mut config = self.config.get().unwrap();
        config.policy_epoch += 1;
        self.config.set(&config).unwrap();
    }

    /// Writes a local endpoint: the workload's interface and identity, no policy, and what `change` makes of it.
    pub(crate) fn endpoint(&mut self, address: IpAddr, change: impl FnOnce(&mut Endpoint)) {
        let mut endpoint = Endpoint {
            ifindex: INTERFACE,
            identity: LOCAL,
            policy: POLICY,
            ..Endpoint::default()
        };
        change(&mut endpoint);
        self.endpoints.insert(&Address::from(address), &endpoint).unwrap();
    }

    /// Makes both directions of the local endpoint subject to rules.
    pub(crate) fn enforce(&mut self, flags: u32) {
        for family in Family::BOTH {
            self.endpoint(family.local(), |endpoint| endpoint.flags = flags);
        }
    }

    /// Says who an address is.
    pub(crate) fn know(&mut self, address: IpAddr, identity: SecurityIdentity, node: NodeId) {
        let value = IpcacheValue { identity, node };
        self.ipcache
            .insert(&IpcachePrefix::host(address), &value)
            .unwrap();
    }

    /// Writes that `node` says of an address that it is a workload with this identity.
    pub(crate) fn lease(&mut self, address: IpAddr, identity: SecurityIdentity, node: NodeId) {
        let lease = Lease { identity, node };
        self.leases
            .insert(&LeaseKey(Address::from(address)), &lease)
            .unwrap();
    }

    /// Lets the word of `node` count for `ns` from now (negative: no more since then).
    pub(crate) fn grant(&mut self, node: NodeId, ns: i64) {
        let not_after = boottime_now().checked_add_signed(ns).unwrap();
        self.lease_ends
            .insert(&LeaseEndKey(node), &LeaseEnd { not_after })
            .unwrap();
    }

    /// A rule for the remote workload, all traffic.
    pub(crate) fn rule(&mut self, direction: Direction, verdict: Verdict, authentication: Authentication) {
        let prefix = PolicyPrefix::everything(POLICY, REMOTE, direction);
        self.rule_at(&prefix, verdict as u8, authentication as u8);
    }

    /// A rule with number 5 at any prefix, known values or not.
    pub(crate) fn rule_at(&mut self, prefix: &PolicyPrefix, verdict: u8, authentication: u8) {
        let value = PolicyValue {
            verdict,
            authentication,
            rule: 5,
            ..PolicyValue::default()
        };
        self.policy.insert(prefix, &value).unwrap();
    }

    /// Takes away the rule that [`Node::rule`] wrote.
    pub(crate) fn no_rule(&mut self, direction: Direction) {
        assert!(
            self.policy
                .remove(&PolicyPrefix::everything(POLICY, REMOTE, direction))
                .unwrap()
        );
    }

    /// Writes the proof of the pair with the peer's node, good for `ns` from now (negative: void since then).
    pub(crate) fn prove(&mut self, ns: i64) {
        self.prove_pair(
            AuthKey {
                local: LOCAL,
                remote: REMOTE,
                node: PEER_NODE,
            },
            ns,
        );
    }

    pub(crate) fn prove_pair(&mut self, pair: AuthKey, ns: i64) {
        let not_after = boottime_now().checked_add_signed(ns).unwrap();
        self.auth
            .insert(
                &pair,
                &AuthValue {
                    not_after,
                    epoch: 1,
                    made: 0,
                    used: 0,
                },
            )
            .unwrap();
    }

    pub(crate) fn tunnel(&mut self, tunnel_ifindex: u32, flags: u32) {
        self.nodes
            .insert(
                &PEER_NODE,
                &NodeState {
                    tunnel_ifindex,
                    flags,
                    ..NodeState::default()
                },
            )
            .unwrap();
    }
}
