//! Datagrams in pieces.

use std::net::IpAddr;

use signet_abi::{Authentication, Direction, Reason, Verdict};

use crate::parking::with_parking;
use crate::support::node::{Node, capacities, everywhere};
use crate::support::packet;
use crate::support::scene::{BOTH_ENFORCED, Family, MINUTE, Origin, PEER_NODE, REMOTE, Transport, ends};

/// Bytes of each piece but the last.
const PIECE: usize = 32;

/// A datagram of `transport`, cut up.
fn pieces(whole: &[u8], family: Family, id: u16) -> Vec<Vec<u8>> {
    cut(whole, family, id, PIECE)
}

fn cut(whole: &[u8], family: Family, id: u16, size: usize) -> Vec<Vec<u8>> {
    let header = packet::ETHERNET + if family == Family::V4 { 20 } else { 40 };
    let chunks: Vec<&[u8]> = whole[header..].chunks(size).collect();
    let last = chunks.len() - 1;
    let piece = |(index, chunk): (usize, &&[u8])| {
        fragment(&whole[..header], family, id, index * size, index < last, chunk)
    };
    chunks.iter().enumerate().map(piece).collect()
}

/// One fragment: `header` is a whole packet's.
fn fragment(header: &[u8], family: Family, id: u16, offset: usize, more: bool, data: &[u8]) -> Vec<u8> {
    let mut frame = header.to_vec();
    let units = u16::try_from(offset / 8).unwrap();
    let start = packet::ETHERNET;
    match family {
        Family::V4 => {
            let length = u16::try_from(20 + data.len()).unwrap();
            frame[start + 2..start + 4].copy_from_slice(&length.to_be_bytes());
            frame[start + 4..start + 6].copy_from_slice(&id.to_be_bytes());
            let place = units | if more { 0x2000 } else { 0 };
            frame[start + 6..start + 8].copy_from_slice(&place.to_be_bytes());
        }
        Family::V6 => {
            let length = u16::try_from(8 + data.len()).unwrap();
            frame[start + 4..start + 6].copy_from_slice(&length.to_be_bytes());
            let next = std::mem::replace(&mut frame[start + 6], 44);
            frame.extend([next, 0]);
            frame.extend((units << 3 | u16::from(more)).to_be_bytes());
            frame.extend(u32::from(id).to_be_bytes());
        }
    }
    frame.extend(data);
    frame
}

fn large(transport: Transport, family: Family, direction: Direction) -> Vec<u8> {
    let (source, destination) = ends(family, direction);
    grown(&transport.between(source, destination, true), family, 80)
}

/// The packet with as many bytes more.
fn grown(packet: &[u8], family: Family, more: usize) -> Vec<u8> {
    let mut frame = packet.to_vec();
    frame.resize(frame.len() + more, 7);
    let start = packet::ETHERNET;
    let (at, length) = match family {
        Family::V4 => (start + 2, frame.len() - start),
        Family::V6 => (start + 4, frame.len() - start - 40),
    };
    frame[at..at + 2].copy_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
    frame
}

#[test]
fn all_pieces_of_an_allowed_datagram_pass_and_are_one_connection() {
    everywhere(|node, family, direction| {
        for transport in [
            Transport::Tcp,
            Transport::Udp,
            Transport::Sctp,
            Transport::Echo,
            Transport::Gre,
        ] {
            node.reset();
            node.enforce(BOTH_ENFORCED);
            let allow = (Verdict::Allow as u8, Authentication::Disabled as u8);
            node.rule_at(&transport.rule(family, direction), allow.0, allow.1);
            let whole = large(transport, family, direction);
            for piece in pieces(&whole, family, 9) {
                assert_eq!(node.judge(direction, &piece), Reason::Forwarded, "{transport:?}");
            }
            let _ = node.connection();
        }
    });
}

#[test]
fn pieces_of_a_refused_datagram_do_not_pass() {
    everywhere(|node, family, direction| {
        node.enforce(BOTH_ENFORCED);
        let pieces = pieces(&large(Transport::Udp, family, direction), family, 9);
        assert_eq!(node.judge(direction, &pieces[0]), Reason::PolicyDenied);
        for later in &pieces[1..] {
            assert_eq!(node.judge(direction, later), Reason::FragmentNotFound);
        }
    });
}

#[test]
fn a_piece_that_overtakes_the_first_is_dropped_and_so_is_one_of_another_datagram() {
    everywhere(|node, family, direction| {
        let whole = large(Transport::Udp, family, direction);
        let pieces = pieces(&whole, family, 9);
        assert_eq!(node.judge(direction, &pieces[1]), Reason::FragmentNotFound);
        assert_eq!(node.judge(direction, &pieces[0]), Reason::Forwarded);
        assert_eq!(node.judge(direction, &pieces[1]), Reason::Forwarded);
        let other = cut(&whole, family, 10, PIECE);
        assert_eq!(
            node.judge(direction, &other[1]),
            Reason::FragmentNotFound,
            "other number"
        );
        let (source, destination) = ends(family, direction);
        let ends: [(IpAddr, IpAddr); 1] = match direction {
            Direction::Ingress => [(family.stranger(), destination)],
            Direction::Egress => [(source, family.stranger())],
        };
        for (source, destination) in ends {
            let strange = grown(&Transport::Udp.between(source, destination, true), family, 80);
            let strange = cut(&strange, family, 9, PIECE);
            assert_eq!(
                node.judge(direction, &strange[1]),
                Reason::FragmentNotFound,
                "other ends"
            );
            let tcp = cut(&large(Transport::Tcp, family, direction), family, 9, PIECE);
            // In IPv6 the first piece says what the whole carries.
            let other_protocol = match family {
                Family::V4 => Reason::FragmentNotFound,
                Family::V6 => Reason::Forwarded,
            };
            assert_eq!(node.judge(direction, &tcp[1]), other_protocol, "other protocol");
        }
    });
}

/// RFC 8200 section 4.5: of the next headers that the pieces of one datagram name, the first one's counts. A rule that lets one
/// protocol pass lets nothing pass into a datagram of another.
#[test]
fn a_later_ipv6_piece_is_what_the_first_one_says_whatever_it_says_itself() {
    let mut node = Node::new();
    let family = Family::V6;
    for direction in [Direction::Ingress, Direction::Egress] {
        node.reset();
        node.enforce(BOTH_ENFORCED);
        let allow = |node: &mut Node, transport: Transport, mode: Authentication| {
            node.rule_at(
                &transport.rule(family, direction),
                Verdict::Allow as u8,
                mode as u8,
            );
        };
        allow(&mut node, Transport::Udp, Authentication::Required);
        allow(&mut node, Transport::Tcp, Authentication::Disabled);
        node.prove(MINUTE.cast_signed());
        let udp = pieces(&large(Transport::Udp, family, direction), family, 9);
        let posing = as_if(&udp[1], packet::TCP);
        assert_eq!(node.judge(direction, &udp[0]), Reason::Forwarded);
        assert_eq!(
            node.judge(direction, &posing),
            Reason::Forwarded,
            "as the UDP that it is"
        );
        let _ = node.flows();
        // The datagram's own rule has to be kept to, also by a piece that calls itself something that needs no proof.
        node.prove(-1);
        assert_eq!(node.judge(direction, &posing), Reason::AuthenticationRequired);
        assert_eq!(node.flows()[0].protocol, packet::UDP);
    }
}

/// A stack that does not drop what overlaps could put the pieces of the one into the other.
#[test]
fn two_first_ipv6_pieces_that_contradict_each_other_leave_the_rest_nobodys() {
    let mut node = Node::new();
    let family = Family::V6;
    for direction in [Direction::Ingress, Direction::Egress] {
        node.reset();
        node.enforce(BOTH_ENFORCED);
        for (transport, mode) in [
            (Transport::Udp, Authentication::Required),
            (Transport::Tcp, Authentication::Disabled),
        ] {
            node.rule_at(
                &transport.rule(family, direction),
                Verdict::Allow as u8,
                mode as u8,
            );
        }
        node.prove(MINUTE.cast_signed());
        let udp = pieces(&large(Transport::Udp, family, direction), family, 9);
        let tcp = pieces(&large(Transport::Tcp, family, direction), family, 9);
        assert_eq!(node.judge(direction, &udp[0]), Reason::Forwarded);
        // The same once more is no contradiction: it has waited, or was sent again.
        assert_eq!(node.judge(direction, &udp[0]), Reason::Forwarded);
        assert_eq!(node.judge(direction, &udp[1]), Reason::Forwarded);
        assert_eq!(node.judge(direction, &tcp[0]), Reason::Forwarded);
        for later in [&udp[1], &udp[2], &tcp[1], &as_if(&udp[1], packet::TCP)] {
            assert_eq!(node.judge(direction, later), Reason::FragmentNotFound);
        }
        // Nor does a third one mend it.
        assert_eq!(node.judge(direction, &udp[0]), Reason::Forwarded);
        assert_eq!(node.judge(direction, &udp[1]), Reason::FragmentNotFound);
    }
}

/// An IPv6 piece that names another protocol.
fn as_if(piece: &[u8], protocol: u8) -> Vec<u8> {
    let mut piece = piece.to_vec();
    piece[packet::ETHERNET + 40] = protocol;
    piece
}

#[test]
fn a_later_ipv6_piece_never_reaches_into_the_first_ones_header_whatever_it_calls_itself() {
    let mut node = Node::new();
    let family = Family::V6;
    for direction in [Direction::Ingress, Direction::Egress] {
        node.reset();
        let whole = large(Transport::Tcp, family, direction);
        let header = &whole[..packet::ETHERNET + 40];
        let first = fragment(header, family, 9, 0, true, &whole[header.len()..][..32]);
        assert_eq!(node.judge(direction, &first), Reason::Forwarded);
        for offset in [8, 16] {
            let piece = fragment(header, family, 9, offset, true, &[0; 32]);
            let piece = as_if(&piece, packet::UDP);
            assert_eq!(node.judge(direction, &piece), Reason::InvalidPacket, "{offset}");
        }
    }
}

#[test]
fn every_piece_needs_the_proof_and_a_revoked_one_stops_the_rest() {
    everywhere(|node, family, direction| {
        with_parking(node, direction);
        let pieces = pieces(&large(Transport::Udp, family, direction), family, 9);
        for piece in &pieces {
            assert_eq!(
                node.judge(direction, piece),
                Reason::Parked,
                "in order, behind its first"
            );
        }
        node.prove(MINUTE.cast_signed());
        assert_eq!(node.judge(direction, &pieces[0]), Reason::Forwarded);
        assert_eq!(node.judge(direction, &pieces[1]), Reason::Forwarded);
        node.prove(-1);
        assert_eq!(node.judge(direction, &pieces[2]), Reason::Parked);
    });
}

#[test]
fn the_ports_of_a_first_piece_count_for_its_own_datagram_alone() {
    everywhere(|node, family, direction| {
        node.enforce(BOTH_ENFORCED);
        let (allow, disabled) = (Verdict::Allow as u8, Authentication::Disabled as u8);
        node.rule_at(&Transport::Udp.rule(family, direction), allow, disabled);
        let allowed = cut(&large(Transport::Udp, family, direction), family, 9, PIECE);
        let mut denied = large(Transport::Udp, family, direction);
        let port = packet::ETHERNET + if family == Family::V4 { 22 } else { 42 };
        denied[port..port + 2].copy_from_slice(&9_999_u16.to_be_bytes());
        let denied = cut(&denied, family, 9, PIECE);
        assert_eq!(node.judge(direction, &allowed[0]), Reason::Forwarded);
        // The same number, other ports: no first piece of it gets through, so the receiver makes nothing of the others.
        assert_eq!(node.judge(direction, &denied[0]), Reason::PolicyDenied);
        assert_eq!(node.judge(direction, &allowed[1]), Reason::Forwarded);
    });
}

#[test]
fn pieces_that_would_rewrite_the_first_or_reach_beyond_a_datagram_are_refused() {
    everywhere(|node, family, direction| {
        let whole = large(Transport::Tcp, family, direction);
        let header = &whole[..packet::ETHERNET + if family == Family::V4 { 20 } else { 40 }];
        assert_eq!(
            node.judge(
                direction,
                &fragment(header, family, 9, 0, true, &whole[header.len()..][..32])
            ),
            Reason::Forwarded
        );
        for offset in [8, 16] {
            let piece = fragment(header, family, 9, offset, true, &[0; 32]);
            assert_eq!(
                node.judge(direction, &piece),
                Reason::InvalidPacket,
                "over the flags at {offset}"
            );
        }
        let beyond = fragment(header, family, 9, 65_528, false, &[0; 32]);
        assert_eq!(
            node.judge(direction, &beyond),
            Reason::InvalidPacket,
            "ping of death"
        );
        let tiny = fragment(header, family, 9, 0, true, &whole[header.len()..][..16]);
        assert_eq!(
            node.judge(direction, &tiny),
            Reason::InvalidPacket,
            "flags in the second piece"
        );
    });
}

#[test]
fn icmp_errors_and_discovery_do_not_come_in_pieces() {
    everywhere(|node, family, direction| {
        let (source, destination) = ends(family, direction);
        let error = packet::unreachable(
            source,
            destination,
            &Transport::Udp.opening(family, direction.opposite()),
        );
        let piece = &cut(&error, family, 9, 16)[0];
        assert_eq!(node.judge(direction, piece), Reason::FragmentNotSupported);
    });
    let mut node = Node::new();
    let solicitation = packet::neighbour(135, "fd00:244:1::10", "fd00:244:2::10", "fd00:244:2::10");
    let piece = &cut(&solicitation, Family::V6, 9, 16)[0];
    assert_eq!(node.judge(Direction::Egress, piece), Reason::FragmentNotSupported);
}

#[test]
fn a_whole_packet_with_a_fragment_header_is_a_whole_packet() {
    let mut node = Node::new();
    for direction in [Direction::Ingress, Direction::Egress] {
        node.reset();
        let whole = Transport::Udp.opening(Family::V6, direction);
        let atomic = packet::extended(&whole, &[44]);
        let atomic = zeroed(atomic, packet::ETHERNET + 42, 2);
        assert_eq!(node.judge(direction, &atomic), Reason::Forwarded, "RFC 6946");
        let behind = packet::extended(&whole, &[60, 44]);
        let behind = zeroed(behind, packet::ETHERNET + 50, 2);
        assert_eq!(
            node.judge(direction, &behind),
            Reason::Forwarded,
            "behind options"
        );
        for headers in [[44, 60], [44, 44], [44, 43]] {
            let hidden = zeroed(packet::extended(&whole, &headers), packet::ETHERNET + 42, 2);
            assert_eq!(
                node.judge(direction, &hidden),
                Reason::InvalidExtensionHeader,
                "{headers:?}"
            );
        }
    }
}

fn zeroed(mut frame: Vec<u8>, at: usize, length: usize) -> Vec<u8> {
    frame[at..at + length].fill(0);
    frame
}

#[test]
fn a_forged_first_piece_leaves_nothing_behind() {
    let mut node = Node::new();
    for family in Family::BOTH {
        node.reset();
        // From the wire, with the address of a workload of this node.
        let whole = grown(
            &Transport::Udp.between(family.local(), family.local(), true),
            family,
            80,
        );
        let forged = cut(&whole, family, 9, PIECE);
        for piece in &forged {
            let reason = node.judge_from(Origin::NOWHERE, Direction::Ingress, piece);
            assert_eq!(reason, Reason::InvalidSourceIp);
        }
        assert!(node.fragments.entries().unwrap().is_empty());
    }
}

#[test]
fn pieces_are_remembered_for_seconds_and_within_bounds() {
    let mut node = Node::new();
    let room = usize::try_from((capacities().connections / 16).max(64)).unwrap();
    let (family, direction) = (Family::V4, Direction::Ingress);
    node.know(family.remote(), REMOTE, PEER_NODE);
    let whole = large(Transport::Udp, family, direction);
    for id in 0..u16::try_from(room * 4).unwrap() {
        assert_eq!(
            node.judge(direction, &cut(&whole, family, id, PIECE)[0]),
            Reason::Forwarded
        );
    }
    let entries = node.fragments.entries().unwrap();
    assert!(entries.len() <= room, "{} of {room}", entries.len());
    let now = signet_maps::boottime_now();
    assert!(entries.iter().all(|(_, value)| value.expires <= now + MINUTE / 6));
    // Its time has come.
    let id = u16::try_from(room * 4 - 1).unwrap();
    for (key, mut value) in entries {
        value.expires = now;
        node.fragments.insert(&key, &value).unwrap();
    }
    assert_eq!(
        node.judge(direction, &cut(&whole, family, id, PIECE)[1]),
        Reason::FragmentNotFound
    );
}
