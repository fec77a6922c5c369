//! One frame, and its answer.

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::icmpv4::DestUnreachableHeader;
use etherparse::icmpv6::DestUnreachableCode;
use etherparse::{
    Ethernet2Header, Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type, IpFragOffset, IpNumber, Ipv4Header,
    Ipv4Slice, Ipv6FlowLabel, Ipv6Header, Ipv6Slice, LinkSlice, NetSlice, SlicedPacket, TcpHeader, TcpSlice,
    TransportSlice,
};

/// Bytes of an IPv4 answer at most (RFC 1812 section 4.3.2.3).
const MOST_V4: usize = 576;
/// Bytes of an IPv6 answer at most (RFC 4443 section 2.4).
const MOST_V6: usize = 1280;
/// Bytes of an ICMP error before what it is about.
const ICMP: usize = 8;
const HOPS: u8 = 64;

/// What the sender of an Ethernet frame is told, as a frame that goes back the way on which this one came: in the name of the
/// destination, a reset to TCP (RFC 9293 section 3.10.7.1), to all others an ICMP error, type 3 code 13 (RFC 1812) or type 1 code 1
/// (RFC 4443). Nothing to resets, ICMP errors, neighbour discovery, groups, broadcasts, fragments behind the first, or whom cannot
/// be written to (RFC 1122 section 3.2.2).
pub fn answer(frame: &[u8]) -> Option<Vec<u8>> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let Some(LinkSlice::Ethernet2(link)) = &packet.link else {
        return None;
    };
    if !packet.link_exts.is_empty() || is_group(link.source()) || is_group(link.destination()) {
        return None;
    }
    let back = Ethernet2Header {
        source: link.destination(),
        destination: link.source(),
        ether_type: link.ether_type(),
    };
    let tcp = match &packet.transport {
        Some(TransportSlice::Tcp(tcp)) => Some(tcp),
        Some(
            TransportSlice::Icmpv4(_)
            | TransportSlice::Icmpv6(_)
            | TransportSlice::Igmp(_)
            | TransportSlice::Udp(_),
        )
        | None => None,
    };
    if tcp.is_some_and(TcpSlice::rst) {
        return None;
    }
    let ip = match &packet.net {
        Some(NetSlice::Ipv4(ip)) => v4(ip, link.payload_slice(), tcp)?,
        Some(NetSlice::Ipv6(ip)) => v6(ip, link.payload_slice(), tcp)?,
        Some(NetSlice::Arp(_)) | None => return None,
    };
    let mut answer = back.to_bytes().to_vec();
    answer.extend(ip);
    Some(answer)
}

fn v4(ip: &Ipv4Slice<'_>, whole: &[u8], tcp: Option<&TcpSlice<'_>>) -> Option<Vec<u8>> {
    let header = ip.header();
    let ends = [header.source_addr(), header.destination_addr()];
    let later = header.fragments_offset() != IpFragOffset::ZERO;
    if later || !ends.into_iter().all(is_host_v4) || header.protocol() == IpNumber::IGMP {
        return None;
    }
    if header.protocol() == IpNumber::ICMP {
        let kind = *ip.payload().payload.first()?;
        // Errors, redirects and source quench (RFC 792).
        if matches!(kind, 3 | 4 | 5 | 11 | 12) {
            return None;
        }
    }
    let about = whole.get(..usize::from(header.total_len()))?;
    let about = about.get(..about.len().min(MOST_V4 - Ipv4Header::MIN_LEN - ICMP))?;
    let (protocol, length) = match tcp {
        Some(_) => (IpNumber::TCP, TcpHeader::MIN_LEN),
        None => (IpNumber::ICMP, ICMP + about.len()),
    };
    let mut back = Ipv4Header::new(
        u16::try_from(length).ok()?,
        HOPS,
        protocol,
        header.destination(),
        header.source(),
    )
    .ok()?;
    back.header_checksum = back.calc_header_checksum();
    let mut answer = back.to_bytes().to_vec();
    if let Some(tcp) = tcp {
        let mut reset = reset(tcp);
        reset.checksum = reset.calc_checksum_ipv4(&back, &[]).ok()?;
        answer.extend(reset.to_bytes());
    } else {
        let prohibited = Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::FilterProhibited);
        answer.extend(Icmpv4Header::with_checksum(prohibited, about).to_bytes());
        answer.extend(about);
    }
    Some(answer)
}

fn v6(ip: &Ipv6Slice<'_>, whole: &[u8], tcp: Option<&TcpSlice<'_>>) -> Option<Vec<u8>> {
    let header = ip.header();
    let ends = [header.source_addr(), header.destination_addr()];
    let payload = ip.payload();
    // The first fragment begins with the transport header; no later one is told from its bytes alone.
    if !ends.into_iter().all(is_host_v6) || payload.fragmented && !is_first(whole) {
        return None;
    }
    if payload.ip_number == IpNumber::IPV6_ICMP {
        let kind = *payload.payload.first()?;
        // Errors (RFC 4443 section 2.1), groups (RFC 2710), neighbours (RFC 4861), groups once more (RFC 3810).
        if kind < 128 || matches!(kind, 130..=137 | 143) {
            return None;
        }
    }
    let fixed = Ipv6Header::LEN;
    let about = whole.get(..fixed + usize::from(header.payload_length()))?;
    let about = about.get(..about.len().min(MOST_V6 - fixed - ICMP))?;
    let (next_header, length) = match tcp {
        Some(_) => (IpNumber::TCP, TcpHeader::MIN_LEN),
        None => (IpNumber::IPV6_ICMP, ICMP + about.len()),
    };
    let back = Ipv6Header {
        traffic_class: 0,
        flow_label: Ipv6FlowLabel::ZERO,
        payload_length: u16::try_from(length).ok()?,
        next_header,
        hop_limit: HOPS,
        source: header.destination(),
        destination: header.source(),
    };
    let mut answer = back.to_bytes().to_vec();
    if let Some(tcp) = tcp {
        let mut reset = reset(tcp);
        reset.checksum = reset.calc_checksum_ipv6(&back, &[]).ok()?;
        answer.extend(reset.to_bytes());
    } else {
        let prohibited = Icmpv6Type::DestinationUnreachable(DestUnreachableCode::Prohibited);
        let icmp = Icmpv6Header::with_checksum(prohibited, back.source, back.destination, about).ok()?;
        answer.extend(icmp.to_bytes());
        answer.extend(about);
    }
    Some(answer)
}

/// The answer to a segment for a connection that does not exist (RFC 9293 section 3.10.7.1).
fn reset(tcp: &TcpSlice<'_>) -> TcpHeader {
    let mut reset = TcpHeader::new(tcp.destination_port(), tcp.source_port(), 0, 0);
    reset.rst = true;
    if tcp.ack() {
        reset.sequence_number = tcp.acknowledgment_number();
    } else {
        let data = u32::try_from(tcp.payload().len()).unwrap_or(0);
        let length = data + u32::from(tcp.syn()) + u32::from(tcp.fin());
        reset.ack = true;
        reset.acknowledgment_number = tcp.sequence_number().wrapping_add(length);
    }
    reset
}

/// Whether an IPv6 packet in pieces is the first of them: its fragment header is the only one (the kernel programs see to it), or
/// stands behind options.
fn is_first(packet: &[u8]) -> bool {
    const FRAGMENT: u8 = 44;
    const OPTIONS: [u8; 2] = [0, 60];
    let mut next = packet.get(6).copied();
    let mut at = Ipv6Header::LEN;
    while let Some(header) = next {
        let Some([following, length, high, low]) = packet.get(at..).and_then(|rest| rest.first_chunk())
        else {
            return false;
        };
        if header == FRAGMENT {
            return u16::from_be_bytes([*high, *low]) >> 3 == 0;
        }
        if !OPTIONS.contains(&header) {
            return false;
        }
        next = Some(*following);
        at += (usize::from(*length) + 1) * 8;
    }
    false
}

/// Whether an Ethernet address is a group's, or everybody's.
fn is_group(address: [u8; 6]) -> bool {
    let [first, ..] = address;
    first & 1 != 0
}

/// Whether an address is one host's, and not this one's own.
fn is_host_v4(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    // 0/8, 127/8, and from 224 on groups, reserved ones and broadcasts.
    !matches!(first, 0 | 127 | 224..)
}

fn is_host_v6(address: Ipv6Addr) -> bool {
    !address.is_multicast() && !address.is_unspecified() && !address.is_loopback()
}
