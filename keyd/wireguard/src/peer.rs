//! One peer of a device: what it should be, and how it is.

use std::net::SocketAddr;
use std::time::SystemTime;

use crate::{AllowedIp, Endpoint, PresharedKey, PublicKey};

/// What a peer should be.
#[derive(Clone, Debug)]
pub struct PeerConfig {
    /// Names the peer: a device has at most one peer of a public key.
    pub public_key: PublicKey,
    /// Mixed into every handshake. A change affects the next handshake and leaves a running session alone.
    pub preshared_key: PresharedKey,
    /// Where to send.
    pub endpoint: Endpoint,
    /// Inner addresses that the peer may use. No two peers of a device may overlap.
    pub allowed_ips: Vec<AllowedIp>,
}

/// How a peer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Names the peer.
    pub public_key: PublicKey,
    /// Where it was last heard from, or where it is configured to be.
    pub endpoint: Option<SocketAddr>,
    /// Inner addresses that it may use.
    pub allowed_ips: Vec<AllowedIp>,
    /// When the last handshake was completed; `None`: never since the peer was added.
    pub last_handshake: Option<SystemTime>,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
}
