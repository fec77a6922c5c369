//! Packets as bytes: what the kernel programs send to the parking device, and what comes back from it.

use std::net::{IpAddr, Ipv4Addr};

use signet_abi::{AuthKey, Direction, PARKING_PREFIX, ParkingTicket, ticket_flags};
use signet_session::NodeNumber;

use crate::kernel::Packet;

/// Ethertype of IPv4.
const IPV4: [u8; 2] = [8, 0];
const ETHERNET: usize = 14;
const IP: usize = 20;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Who is told that he is refused, in whose name, and of which packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// In whose name.
    pub from: IpAddr,
    /// Who.
    pub to: IpAddr,
    /// His packet.
    pub number: u64,
}

/// A packet behind its ticket. `tell`: its rule wants the sender to be told if there can be no proof.
pub fn park(packet: &Packet, key: &AuthKey, secret: u64, tell: bool) -> Vec<u8> {
    let mut bytes = vec![0; 12];
    bytes.extend(IPV4);
    bytes.extend(secret.to_ne_bytes());
    for word in [key.local.0, key.remote.0, key.node.0, 1, 0] {
        bytes.extend(word.to_ne_bytes());
    }
    let flags = if tell { ticket_flags::TELL } else { 0 };
    bytes.extend([Direction::Ingress as u8, flags, 0, 0]);
    debug_assert_eq!(bytes.len(), PARKING_PREFIX);
    bytes.extend(frame(packet));
    bytes
}

/// The packet on its interface. Who has sent it, and how, stands in the Ethernet header. Every other one is TCP's first.
fn frame(packet: &Packet) -> Vec<u8> {
    let [_, _, high, low] = u32::try_from(packet.interface).unwrap_or(u32::MAX).to_be_bytes();
    let mut bytes = vec![2, 0, 0, 0, high, low];
    bytes.extend([2, 0]);
    bytes.extend(packet.from.get().to_be_bytes());
    bytes.extend(IPV4);
    let number = u32::try_from(packet.number).unwrap_or(u32::MAX).to_be_bytes();
    let (protocol, transport) = if packet.number.is_multiple_of(2) {
        let mut syn = vec![0x80, 1, 0x1f, 0x90];
        syn.extend(number);
        syn.extend([0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
        (TCP, syn)
    } else {
        let mut datagram = vec![0x80, 1, 0x1f, 0x90, 0, 12, 0, 0];
        datagram.extend(number);
        (UDP, datagram)
    };
    let length = u16::try_from(IP + transport.len())
        .unwrap_or(u16::MAX)
        .to_be_bytes();
    bytes.extend([0x45, 0, length[0], length[1], 0, 0, 0x40, 0, 64, protocol, 0, 0]);
    for address in [packet.source, packet.destination] {
        if let IpAddr::V4(address) = address {
            bytes.extend(address.octets());
        }
    }
    bytes.extend(transport);
    bytes
}

/// The packet of a frame behind its ticket.
pub fn read(parked: &[u8]) -> Option<Packet> {
    let frame = ParkingTicket::frame(parked)?;
    let (destination, source) = (frame.get(4..6)?, frame.get(8..12)?);
    let interface: [u8; 2] = *destination.first_chunk()?;
    let from: [u8; 4] = *source.first_chunk()?;
    let [source, destination] = addresses(frame)?;
    let transport = frame.get(ETHERNET + IP..)?;
    let number = match *frame.get(ETHERNET + 9)? {
        TCP => transport.get(4..)?,
        _ => transport.get(8..)?,
    };
    Some(Packet {
        source,
        destination,
        from: NodeNumber::new(u32::from_be_bytes(from))?,
        interface: u16::from_be_bytes(interface).into(),
        number: u32::from_be_bytes(*number.first_chunk()?).into(),
    })
}

/// What a sender is told, behind the ticket of his packet.
pub fn read_told(answer: &[u8]) -> Option<Told> {
    let frame = ParkingTicket::frame(answer)?;
    let [from, to] = addresses(frame)?;
    let transport = frame.get(ETHERNET + IP..)?;
    let number = match *frame.get(ETHERNET + 9)? {
        // It acknowledges the sequence number that the packet had, and the one that a SYN counts.
        TCP => u32::from_be_bytes(*transport.get(8..)?.first_chunk()?).wrapping_sub(1),
        // Behind the ICMP header stands the packet: its IP header, UDP's, and its number.
        _ => u32::from_be_bytes(*transport.get(8 + IP + 8..)?.first_chunk()?),
    };
    Some(Told {
        from,
        to,
        number: number.into(),
    })
}

fn addresses(frame: &[u8]) -> Option<[IpAddr; 2]> {
    let at = |at: usize| {
        let bytes: &[u8; 4] = frame.get(ETHERNET + at..)?.first_chunk()?;
        Some(IpAddr::from(Ipv4Addr::from(*bytes)))
    };
    Some([at(12)?, at(16)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{node, own_address};

    #[test]
    fn a_packet_is_read_as_it_was_parked_and_what_its_sender_is_told_names_it() {
        for number in [7, 8] {
            let packet = Packet {
                source: own_address(node(3), 1),
                destination: own_address(node(2), 0),
                from: node(3),
                interface: 12,
                number,
            };
            let parked = park(&packet, &AuthKey::default(), 9, true);
            assert_eq!(read(&parked), Some(packet));
            let ticket = ParkingTicket::read(&parked).expect("a ticket");
            assert_eq!((ticket.secret, ticket.flags), (9, ticket_flags::TELL));
            let answer = ParkingTicket::frame(&parked).and_then(signet_refusal::answer);
            let prefix = ParkingTicket::refusal(&parked).expect("a prefix");
            let answer = [prefix.as_slice(), &answer.expect("an answer")].concat();
            let told = Told {
                from: packet.destination,
                to: packet.source,
                number,
            };
            assert_eq!(read_told(&answer), Some(told));
        }
    }
}
