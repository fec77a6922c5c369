//! The parking device: where packets wait that lack nothing but a proof.
//!
//! A TAP device that signet-meshd makes and signet-agent reads. The kernel programs send it whole frames, each behind a prefix
//! of [`PARKING_PREFIX`] bytes: the shape of an Ethernet header (zeros, and the frame's own ethertype), then a
//! [`ParkingTicket`]. The agent holds a frame until its pair is proven and writes it back as it came; `from_parking` takes
//! the prefix away and brings the frame to where it was taken from, to be judged anew.

use crate::{NodeId, SecurityIdentity, layout};

/// Name of the device.
pub const PARKING_DEVICE: &str = "sgpark0";
/// Bytes of an Ethernet header.
pub const ETHERNET_HEADER: usize = 14;
/// Bytes before a parked frame.
pub const PARKING_PREFIX: usize = ETHERNET_HEADER + size_of::<ParkingTicket>();

/// Where a parked frame came from, and which proof it waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ParkingTicket {
    /// [`crate::MeshConfig::parking_secret`]: that a kernel program wrote this, and not who sends packets through the device.
    pub secret: u64,
    /// Identity of the endpoint on this node.
    pub local: SecurityIdentity,
    /// Identity of the other side.
    pub remote: SecurityIdentity,
    /// The other side's node.
    pub node: NodeId,
    /// The endpoint's interface.
    pub ifindex: u32,
    /// `skb->mark` before it was parked.
    pub mark: u32,
    /// [`crate::Direction`] as `u8`: which hook judged it.
    pub direction: u8,
    /// [`ticket_flags`].
    pub flags: u8,
    /// Always 0.
    pub reserved: [u8; 2],
}

/// Bits of [`ParkingTicket::flags`].
pub mod ticket_flags {
    /// The rule wants the sender to be told if there can be no proof. Set by the kernel programs.
    pub const TELL: u8 = 1;
    /// This is what the sender of a parked frame is told. Set by signet-agent.
    pub const REFUSAL: u8 = 2;
    /// It waits for nothing: it is refused for good, and is here for its sender to be told. Set by the kernel programs.
    pub const REFUSED: u8 = 4;
    /// It lacks the word of the node that owns the other side's address, which may be on its way. If that does not come soon, its sender
    /// is to be told. Set by the kernel programs.
    pub const LAPSED: u8 = 8;
}

layout!(ParkingTicket, 32);

/// Where the flags stand in a ticket.
const FLAGS: usize = core::mem::offset_of!(ParkingTicket, flags);

impl ParkingTicket {
    /// Reads a ticket from the start of what the device gives; none if it is too short.
    pub fn read(frame: &[u8]) -> Option<Self> {
        let bytes: &[u8; size_of::<Self>()] = frame.get(ETHERNET_HEADER..)?.first_chunk()?;
        let word = |at: usize| -> Option<u32> {
            let bytes = bytes.get(at..)?.first_chunk()?;
            Some(u32::from_ne_bytes(*bytes))
        };
        Some(Self {
            secret: u64::from_ne_bytes(*bytes.first_chunk()?),
            local: SecurityIdentity(word(8)?),
            remote: SecurityIdentity(word(12)?),
            node: NodeId(word(16)?),
            ifindex: word(20)?,
            mark: word(24)?,
            direction: *bytes.get(28)?,
            flags: *bytes.get(29)?,
            reserved: [0; 2],
        })
    }

    /// The parked frame itself, as it was on its interface.
    pub fn frame(parked: &[u8]) -> Option<&[u8]> {
        parked.get(PARKING_PREFIX..)
    }

    /// The prefix of what the sender of `parked` is told: the same ticket, marked as such.
    pub fn refusal(parked: &[u8]) -> Option<[u8; PARKING_PREFIX]> {
        let mut prefix: [u8; PARKING_PREFIX] = *parked.first_chunk()?;
        let flags = prefix.get_mut(ETHERNET_HEADER + FLAGS)?;
        *flags = ticket_flags::REFUSAL;
        Some(prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_read_as_the_kernel_wrote_it() {
        let mut frame = [0_u8; PARKING_PREFIX + 20];
        let fields: [(usize, &[u8]); 8] = [
            (14, &7_u64.to_ne_bytes()),
            (22, &256_u32.to_ne_bytes()),
            (26, &300_u32.to_ne_bytes()),
            (30, &2_u32.to_ne_bytes()),
            (34, &9_u32.to_ne_bytes()),
            (38, &0x5147_0d00_u32.to_ne_bytes()),
            (42, &[1]),
            (43, &[ticket_flags::TELL]),
        ];
        for (at, bytes) in fields {
            frame[at..at + bytes.len()].copy_from_slice(bytes);
        }
        let ticket = ParkingTicket {
            secret: 7,
            local: SecurityIdentity(256),
            remote: SecurityIdentity(300),
            node: NodeId(2),
            ifindex: 9,
            mark: 0x5147_0d00,
            direction: 1,
            flags: ticket_flags::TELL,
            reserved: [0; 2],
        };
        assert_eq!(ParkingTicket::read(&frame), Some(ticket));
        let told = ParkingTicket::refusal(&frame).expect("long enough");
        let refusal = ParkingTicket {
            flags: ticket_flags::REFUSAL,
            ..ticket
        };
        assert_eq!(ParkingTicket::read(&told), Some(refusal));
        assert_eq!(ParkingTicket::frame(&frame).map(<[u8]>::len), Some(20));
        assert_eq!(ParkingTicket::read(&frame[..PARKING_PREFIX - 1]), None);
    }
}
