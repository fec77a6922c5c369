//! Messages of the "wireguard" generic netlink family: built from and parsed into our types. Pure.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "enums of the netlink crates, whose variants are the kernel's to add"
)]

use std::time::{Duration, SystemTime};

use netlink_packet_wireguard::{
    WireguardAddressFamily, WireguardAllowedIp, WireguardAllowedIpAttr, WireguardAttribute, WireguardCmd,
    WireguardMessage, WireguardPeer, WireguardPeerAttribute, WireguardPeerFlags,
};
use zeroize::Zeroize;

use crate::{AllowedIp, PeerConfig, PeerStatus, PrivateKey, PublicKey};

/// What the kernel says of a device, without its secrets.
#[derive(Debug, Default)]
pub(super) struct State {
    /// `None`: no private key was set yet.
    pub(super) public_key: Option<PublicKey>,
    pub(super) port: u16,
    pub(super) fwmark: u32,
    /// In the order of their keys.
    pub(super) peers: Vec<PeerStatus>,
}

pub(super) fn get(ifindex: u32) -> WireguardMessage {
    WireguardMessage {
        cmd: WireguardCmd::GetDevice,
        attributes: vec![WireguardAttribute::IfIndex(ifindex)],
    }
}

pub(super) fn set_key(ifindex: u32, key: &PrivateKey) -> WireguardMessage {
    set(ifindex, vec![WireguardAttribute::PrivateKey(*key.expose())])
}

pub(super) fn set_port(ifindex: u32, port: u16) -> WireguardMessage {
    set(ifindex, vec![WireguardAttribute::ListenPort(port)])
}

pub(super) fn set_fwmark(ifindex: u32, fwmark: u32) -> WireguardMessage {
    set(ifindex, vec![WireguardAttribute::Fwmark(fwmark)])
}

/// Adds or changes a peer. AllowedIPs are sent only if they are to change: the kernel replaces them by removing all
/// of them first, and a packet in that gap would be lost.
pub(super) fn set_peer(ifindex: u32, peer: &PeerConfig, with_allowed_ips: bool) -> WireguardMessage {
    let mut attributes = vec![
        WireguardPeerAttribute::PublicKey(*peer.public_key.as_bytes()),
        WireguardPeerAttribute::PresharedKey(*peer.preshared_key.expose()),
        WireguardPeerAttribute::Endpoint(peer.endpoint.socket_addr()),
    ];
    if with_allowed_ips {
        attributes.push(WireguardPeerAttribute::Flags(
            WireguardPeerFlags::ReplaceAllowedIps,
        ));
        attributes.push(WireguardPeerAttribute::AllowedIps(
            peer.allowed_ips.iter().map(allowed_ip).collect(),
        ));
    }
    set_one(ifindex, attributes)
}

pub(super) fn remove_peer(ifindex: u32, key: &PublicKey) -> WireguardMessage {
    let attributes = vec![
        WireguardPeerAttribute::PublicKey(*key.as_bytes()),
        WireguardPeerAttribute::Flags(WireguardPeerFlags::RemoveMe),
    ];
    set_one(ifindex, attributes)
}

/// Sets the interval of keepalives, in seconds, of an existing peer. The step from 0 to another value makes the
/// kernel send one at once, and so start a handshake if there is no session (`set_peer` in drivers/net/wireguard).
pub(super) fn set_keepalive(ifindex: u32, key: &PublicKey, seconds: u16) -> WireguardMessage {
    let attributes = vec![
        WireguardPeerAttribute::PublicKey(*key.as_bytes()),
        WireguardPeerAttribute::Flags(WireguardPeerFlags::UpdateOnly),
        WireguardPeerAttribute::PersistentKeepalive(seconds),
    ];
    set_one(ifindex, attributes)
}

/// Overwrites the secrets in a message with zeros.
pub(super) fn wipe(message: &mut WireguardMessage) {
    for attribute in &mut message.attributes {
        match attribute {
            WireguardAttribute::PrivateKey(key) => key.zeroize(),
            WireguardAttribute::Peers(peers) => {
                for attribute in peers.iter_mut().flat_map(|peer| peer.0.iter_mut()) {
                    if let WireguardPeerAttribute::PresharedKey(key) = attribute {
                        key.zeroize();
                    }
                }
            }
            _ => {}
        }
    }
}

/// Puts together the messages of one dump, and wipes them. A peer with many AllowedIPs is spread over several.
pub(super) fn parse(mut messages: Vec<WireguardMessage>) -> State {
    messages.iter_mut().for_each(wipe);
    let mut state = State::default();
    for attribute in messages.into_iter().flat_map(|message| message.attributes) {
        match attribute {
            WireguardAttribute::PublicKey(key) => state.public_key = PublicKey::from_slice(&key).ok(),
            WireguardAttribute::ListenPort(port) => state.port = port,
            WireguardAttribute::Fwmark(fwmark) => state.fwmark = fwmark,
            WireguardAttribute::Peers(peers) => {
                for peer in peers.into_iter().filter_map(parse_peer) {
                    merge(&mut state.peers, peer);
                }
            }
            _ => {}
        }
    }
    for peer in &mut state.peers {
        peer.allowed_ips.sort_unstable();
    }
    state.peers.sort_by_key(|peer| peer.public_key);
    state
}

fn set(ifindex: u32, mut attributes: Vec<WireguardAttribute>) -> WireguardMessage {
    attributes.insert(0, WireguardAttribute::IfIndex(ifindex));
    WireguardMessage {
        cmd: WireguardCmd::SetDevice,
        attributes,
    }
}

fn set_one(ifindex: u32, attributes: Vec<WireguardPeerAttribute>) -> WireguardMessage {
    set(
        ifindex,
        vec![WireguardAttribute::Peers(vec![WireguardPeer(attributes)])],
    )
}

fn allowed_ip(ip: &AllowedIp) -> WireguardAllowedIp {
    let family = if ip.address().is_ipv4() {
        WireguardAddressFamily::Ipv4
    } else {
        WireguardAddressFamily::Ipv6
    };
    WireguardAllowedIp(vec![
        WireguardAllowedIpAttr::Family(family),
        WireguardAllowedIpAttr::IpAddr(ip.address()),
        WireguardAllowedIpAttr::Cidr(ip.prefix_len()),
    ])
}

fn parse_peer(peer: WireguardPeer) -> Option<PeerStatus> {
    let mut status = None;
    let mut endpoint = None;
    let mut last_handshake = None;
    let (mut rx_bytes, mut tx_bytes) = (0, 0);
    let mut allowed_ips = Vec::new();
    for attribute in peer.0 {
        match attribute {
            WireguardPeerAttribute::PublicKey(key) => status = PublicKey::from_slice(&key).ok(),
            WireguardPeerAttribute::Endpoint(address) => endpoint = Some(address),
            WireguardPeerAttribute::LastHandshake(at) => {
                last_handshake = time(at.seconds, at.nano_seconds);
            }
            WireguardPeerAttribute::RxBytes(bytes) => rx_bytes = bytes,
            WireguardPeerAttribute::TxBytes(bytes) => tx_bytes = bytes,
            WireguardPeerAttribute::AllowedIps(ips) => {
                allowed_ips = ips.iter().filter_map(parse_allowed_ip).collect();
            }
            _ => {}
        }
    }
    Some(PeerStatus {
        public_key: status?,
        endpoint,
        allowed_ips,
        last_handshake,
        rx_bytes,
        tx_bytes,
    })
}

fn parse_allowed_ip(ip: &WireguardAllowedIp) -> Option<AllowedIp> {
    let address = ip.0.iter().find_map(|attribute| match attribute {
        WireguardAllowedIpAttr::IpAddr(address) => Some(*address),
        _ => None,
    })?;
    let prefix_len = ip.0.iter().find_map(|attribute| match attribute {
        WireguardAllowedIpAttr::Cidr(len) => Some(*len),
        _ => None,
    })?;
    AllowedIp::from_parts(address, prefix_len)
}

/// All zero means never.
fn time(seconds: i64, nanoseconds: i64) -> Option<SystemTime> {
    let since = Duration::new(u64::try_from(seconds).ok()?, u32::try_from(nanoseconds).ok()?);
    if since.is_zero() {
        return None;
    }
    SystemTime::UNIX_EPOCH.checked_add(since)
}

/// A continued peer repeats its key and brings AllowedIPs alone.
fn merge(peers: &mut Vec<PeerStatus>, peer: PeerStatus) {
    match peers.last_mut() {
        Some(last) if last.public_key == peer.public_key => last.allowed_ips.extend(peer.allowed_ips),
        Some(_) | None => peers.push(peer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PresharedKey;

    fn key(byte: u8) -> PublicKey {
        PublicKey::from_slice(&[byte; 32]).unwrap()
    }

    fn config(byte: u8) -> PeerConfig {
        PeerConfig {
            public_key: key(byte),
            preshared_key: PresharedKey::take(vec![9; 32]).unwrap(),
            endpoint: "192.0.2.1:51871".parse().unwrap(),
            allowed_ips: vec![
                "10.244.1.0/24".parse().unwrap(),
                "fd00:244:1::/64".parse().unwrap(),
            ],
        }
    }

    #[test]
    fn wiping_leaves_no_byte_of_a_secret() {
        let mut request = set_key(1, &PrivateKey::generate().unwrap());
        wipe(&mut request);
        assert!(
            request
                .attributes
                .contains(&WireguardAttribute::PrivateKey([0; 32]))
        );
        let mut request = set_peer(1, &config(3), true);
        wipe(&mut request);
        let WireguardAttribute::Peers(peers) = &request.attributes[1] else {
            panic!("no peers")
        };
        assert!(peers[0].contains(&WireguardPeerAttribute::PresharedKey([0; 32])));
    }

    #[test]
    fn a_peer_spread_over_two_messages_is_one_peer() {
        let first = set_peer(1, &config(3), true);
        let second = set_one(
            1,
            vec![
                WireguardPeerAttribute::PublicKey([3; 32]),
                WireguardPeerAttribute::AllowedIps(vec![allowed_ip(&"10.1.0.0/16".parse().unwrap())]),
            ],
        );
        let state = parse(vec![first, second, set_peer(1, &config(2), true)]);
        let keys: Vec<_> = state.peers.iter().map(|peer| peer.public_key).collect();
        assert_eq!(keys, [key(2), key(3)]);
        let ips: Vec<_> = state.peers[1]
            .allowed_ips
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(ips, ["10.1.0.0/16", "10.244.1.0/24", "fd00:244:1::/64"]);
    }

    #[test]
    fn a_device_without_key_has_none_and_a_peer_without_handshake_too() {
        let state = parse(vec![set_peer(1, &config(3), false)]);
        assert_eq!(state.public_key, None);
        assert_eq!(state.peers[0].last_handshake, None);
        assert_eq!(time(0, 0), None);
        assert!(time(5, 0).is_some());
    }
}
