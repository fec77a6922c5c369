//! Packets, byte by byte. Checksums are left out: the programs do not look at them.

use std::net::IpAddr;

pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMP: u8 = 1;
pub(crate) const ICMPV6: u8 = 58;
pub(crate) const GRE: u8 = 47;
pub(crate) const SCTP: u8 = 132;

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const ACK: u8 = 16;

pub(crate) const ETHERNET: usize = 14;

/// A frame with this ethertype.
pub(crate) fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

/// An IP packet between two addresses of one family.
pub(crate) fn ip(source: IpAddr, destination: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    ip_hops(source, destination, protocol, 64, payload)
}

/// The same with a chosen TTL or hop limit.
pub(crate) fn ip_hops(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    hops: u8,
    payload: &[u8],
) -> Vec<u8> {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let length = u16::try_from(20 + payload.len()).unwrap();
            let mut header = vec![0x45, 0];
            header.extend(length.to_be_bytes());
            header.extend([0, 1, 0, 0, hops, protocol, 0, 0]);
            header.extend(source.octets());
            header.extend(destination.octets());
            header.extend(payload);
            ethernet(0x0800, &header)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let mut header = vec![0x60, 0, 0, 0];
            header.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
            header.extend([protocol, hops]);
            header.extend(source.octets());
            header.extend(destination.octets());
            header.extend(payload);
            ethernet(0x86dd, &header)
        }
        _ => panic!("two families in one packet"),
    }
}

/// A TCP header.
pub(crate) fn tcp(source: u16, destination: u16, flags: u8) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend(source.to_be_bytes());
    header.extend(destination.to_be_bytes());
    header.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    header
}

/// A UDP header without data. SCTP's common header starts alike.
pub(crate) fn udp(source: u16, destination: u16) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend(source.to_be_bytes());
    header.extend(destination.to_be_bytes());
    header.extend([0, 8, 0, 0]);
    header
}

/// An ICMP or `ICMPv6` message of 8 bytes and more.
pub(crate) fn icmp(kind: u8, code: u8, rest: [u8; 4], body: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0];
    message.extend(rest);
    message.extend(body);
    message
}

/// An echo request or reply of the address's family.
pub(crate) fn echo(source: IpAddr, destination: IpAddr, identifier: u16, request: bool) -> Vec<u8> {
    let [a, b] = identifier.to_be_bytes();
    let (protocol, kind) = match (source, request) {
        (IpAddr::V4(_), true) => (ICMP, 8),
        (IpAddr::V4(_), false) => (ICMP, 0),
        (IpAddr::V6(_), true) => (ICMPV6, 128),
        (IpAddr::V6(_), false) => (ICMPV6, 129),
    };
    ip(source, destination, protocol, &icmp(kind, 0, [a, b, 0, 1], &[]))
}

/// A "port unreachable" about `about`, a whole frame.
pub(crate) fn unreachable(source: IpAddr, destination: IpAddr, about: &[u8]) -> Vec<u8> {
    error(source, destination, if source.is_ipv4() { 3 } else { 1 }, about)
}

/// An ICMP error of this type about `about`, a whole frame.
pub(crate) fn error(source: IpAddr, destination: IpAddr, kind: u8, about: &[u8]) -> Vec<u8> {
    let protocol = if source.is_ipv4() { ICMP } else { ICMPV6 };
    ip(
        source,
        destination,
        protocol,
        &icmp(kind, 0, [0; 4], &about[ETHERNET..]),
    )
}

/// An IPv4 packet with these options; their length is a multiple of 4.
pub(crate) fn with_options(packet: &[u8], options: &[u8]) -> Vec<u8> {
    let mut whole = packet[..ETHERNET + 20].to_vec();
    whole.extend(options);
    whole.extend(&packet[ETHERNET + 20..]);
    whole[ETHERNET] = 0x45 + u8::try_from(options.len() / 4).unwrap();
    let length = u16::try_from(whole.len() - ETHERNET).unwrap();
    whole[ETHERNET + 2..ETHERNET + 4].copy_from_slice(&length.to_be_bytes());
    whole
}

/// The IPv6 packet with these extension headers, each of 8 bytes.
pub(crate) fn extended(packet: &[u8], headers: &[u8]) -> Vec<u8> {
    let mut whole = packet[..ETHERNET + 40].to_vec();
    let upper = std::mem::replace(&mut whole[ETHERNET + 6], headers[0]);
    for next in headers[1..].iter().chain([&upper]) {
        // The rest is one option, PadN.
        whole.extend([*next, 0, 1, 4, 0, 0, 0, 0]);
    }
    whole.extend(&packet[ETHERNET + 40..]);
    let length = u16::try_from(whole.len() - ETHERNET - 40).unwrap();
    whole[ETHERNET + 4..ETHERNET + 6].copy_from_slice(&length.to_be_bytes());
    whole
}

/// An ARP packet (RFC 826): 1 asks, 2 answers.
pub(crate) fn arp(operation: u8, sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let mut body = vec![0, 1, 8, 0, 6, 4, 0, operation];
    body.extend([2, 0, 0, 0, 0, 1]);
    body.extend(sender);
    body.extend([0; 6]);
    body.extend(target);
    ethernet(0x0806, &body)
}

/// A neighbour discovery message (RFC 4861) about `about`.
pub(crate) fn neighbour(kind: u8, source: &str, destination: &str, about: &str) -> Vec<u8> {
    let about: std::net::Ipv6Addr = about.parse().unwrap();
    let message = icmp(kind, 0, [0; 4], &about.octets());
    ip_hops(
        source.parse().unwrap(),
        destination.parse().unwrap(),
        ICMPV6,
        255,
        &message,
    )
}
