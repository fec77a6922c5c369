//! What the daemon knows of one peer.

use std::net::SocketAddr;

use signet_abi::{NodeState, node_flags};
use signet_toggle::{Peer, State};
use signet_wireguard::{AllowedIp, PeerConfig, PublicKey};

/// One peer.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// The node's name, for people; empty if a restart left only its number.
    pub(crate) node: String,
    /// Where it stands.
    pub(crate) machine: Peer,
    /// What `NODES` is to say. Runs ahead of `machine` while a step is being done.
    pub(crate) encrypting: bool,
    /// Its key in the device.
    pub(crate) public_key: Option<PublicKey>,
    /// What this process installed, preshared key included; `None` for a peer that came with an adopted device.
    pub(crate) config: Option<PeerConfig>,
    /// Inner addresses that it may use.
    pub(crate) allowed_ips: Vec<AllowedIp>,
    /// Where it was said or found to be.
    pub(crate) endpoint: Option<SocketAddr>,
    /// Counts its keys.
    pub(crate) epoch: u32,
    /// Changes with every installation.
    pub(crate) generation: u64,
    /// The tunnel that `NODES` named when we found it, for as long as there is no device.
    pub(crate) found_ifindex: u32,
}

impl Record {
    /// What `NODES` is to say of this peer; `None`: nothing.
    pub(crate) fn node_state(&self, ifindex: Option<u32>) -> Option<NodeState> {
        if self.machine.state() == State::Off && !self.encrypting {
            return None;
        }
        Some(NodeState {
            tunnel_ifindex: ifindex.unwrap_or(self.found_ifindex),
            flags: if self.encrypting {
                node_flags::SEND_ENCRYPTED
            } else {
                0
            },
            epoch: self.epoch,
            reserved: 0,
        })
    }

    /// `NODES` is to say again what the state is.
    pub(crate) fn settle(&mut self) {
        self.encrypting = self.machine.state().is_encrypting();
    }
}
