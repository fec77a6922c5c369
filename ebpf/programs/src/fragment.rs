//! Datagrams in pieces. The first piece has the ports; the later ones are judged as if they had them too, for as long as the entry
//! that the first has left in `FRAGMENTS` lives. Each piece is judged anew: the entry permits nothing.
//!
//! Only a first piece that passes, or is parked, leaves an entry. So later ones of a refused datagram, and those that overtake their
//! first, are dropped, and the receiver never has a whole.
//!
//! In IPv6 the first piece also says what the whole carries: what the others say of it means nothing (RFC 8200 section 4.5). Two first
//! pieces that contradict each other make the others nobody's: which of the two a receiver takes them to belong to, nobody knows.

use signet_abi::{Direction, FragmentKey, FragmentValue, Reason};

use crate::conntrack::Change;
use crate::maps::FRAGMENTS;
use crate::parse::{Family, Kind, Packet, Piece, protocol};
use crate::verdict::Scene;

/// How long later pieces are known by their first, ns. A parked datagram's pieces come back in order, and begin anew.
const LIFE: u64 = 5_000_000_000;

/// Gives a later fragment the ports of the first.
#[inline(always)]
pub fn complete(packet: &mut Packet, scene: &Scene, direction: Direction) -> Result<(), Reason> {
    if packet.piece != Piece::Later || signet_complete(packet, direction as u32, scene.now) == 0 {
        Ok(())
    } else {
        Err(Reason::FragmentNotFound)
    }
}

/// Notes what the later pieces of a datagram need, if its first may go on.
#[inline(always)]
pub fn remember(packet: &Packet, scene: &Scene, direction: Direction, outcome: &Result<Change, Reason>) {
    if packet.piece == Piece::First && matches!(outcome, Ok(_) | Err(Reason::Parked)) {
        let _ = signet_remember(packet, direction as u32, scene.now);
    }
}

/// In the place of a [`Kind`]: the first pieces contradict each other.
const CONTRADICTED: u8 = u8::MAX;

#[inline(always)]
fn key(packet: &Packet, direction: u32) -> FragmentKey {
    FragmentKey {
        source: packet.tuple.source.abi(),
        destination: packet.tuple.destination.abi(),
        id: packet.fragment_id,
        protocol: match packet.family {
            Family::V6 => 0,
            Family::V4 | Family::Arp | Family::Other => packet.tuple.protocol,
        },
        direction: direction.to_le_bytes()[0],
        reserved: 0,
    }
}

/// A function that the verifier looks at once, as in `parse`.
#[expect(unsafe_code, reason = "a name that stays makes the function global")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn signet_complete(packet: *mut Packet, direction: u32, now: u64) -> u32 {
    const FORWARD: u8 = Kind::Forward as u8;
    const REPLY: u8 = Kind::Reply as u8;
    #[expect(unsafe_code, reason = "the verifier asks for a pointer that may be null")]
    // SAFETY: `complete` is the only caller and passes an exclusive reference.
    let Some(packet) = (unsafe { packet.as_mut() }) else {
        return 1;
    };
    let key = key(packet, direction);
    #[expect(unsafe_code, reason = "map values are shared with other processors")]
    // SAFETY: the kernel keeps the memory valid while the program runs, and any bits are a value. Should the map give it to
    // another datagram meanwhile (it is an LRU), then this one piece is judged by that one's ports: it is let through to where
    // its first piece was not, and is nothing there.
    let Some(first) = (unsafe { FRAGMENTS.get(&key) }) else {
        return 1;
    };
    if now >= first.expires || first.kind == CONTRADICTED {
        return 1;
    }
    packet.tuple.protocol = first.protocol;
    packet.tuple.source_port = u16::from_ne_bytes(first.source_port);
    packet.tuple.destination_port = u16::from_ne_bytes(first.destination_port);
    packet.icmp_type = first.icmp_type;
    packet.kind = match first.kind {
        FORWARD => Kind::Forward,
        REPLY => Kind::Reply,
        _ => Kind::Segment,
    };
    0
}

/// Whether another first piece says something else of the same datagram. Not asked in IPv4, whose 16 bits of identification come round
/// within the life of an entry on a busy path; in IPv6 they are 32.
#[inline(always)]
fn contradicts(key: &FragmentKey, value: &FragmentValue, now: u64) -> bool {
    #[expect(unsafe_code, reason = "map values are shared with other processors")]
    // SAFETY: the kernel keeps the memory valid while the program runs, and any bits are a value.
    let Some(before) = (unsafe { FRAGMENTS.get(key) }) else {
        return false;
    };
    let is_same = before.protocol == value.protocol
        && before.kind == value.kind
        && before.source_port == value.source_port
        && before.destination_port == value.destination_port;
    now < before.expires && !is_same
}

/// As above.
#[expect(unsafe_code, reason = "a name that stays makes the function global")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn signet_remember(packet: *const Packet, direction: u32, now: u64) -> u32 {
    #[expect(unsafe_code, reason = "the verifier asks for a pointer that may be null")]
    // SAFETY: `remember` is the only caller and passes a reference.
    let Some(packet) = (unsafe { packet.as_ref() }) else {
        return 1;
    };
    let kind = match packet.tuple.protocol {
        protocol::ICMP | protocol::ICMPV6 => packet.kind as u8,
        // A later piece opens nothing.
        _ => Kind::Segment as u8,
    };
    let key = key(packet, direction);
    let mut value = FragmentValue {
        expires: now + LIFE,
        source_port: packet.tuple.source_port.to_ne_bytes(),
        destination_port: packet.tuple.destination_port.to_ne_bytes(),
        kind,
        icmp_type: packet.icmp_type,
        protocol: packet.tuple.protocol,
        reserved: 0,
    };
    if packet.family == Family::V6 && contradicts(&key, &value, now) {
        value.kind = CONTRADICTED;
    }
    // If there is no room the later pieces are dropped.
    u32::from(FRAGMENTS.insert(&key, &value, 0).is_err())
}
