//! Reads packets. The only place that touches their bytes, and the socket buffer's fields.
//!
//! Every offset counts from the network header, so that devices with and without link-layer headers are alike. A read
//! beyond the end of the packet fails; nothing is guessed.

use aya_ebpf::programs::TcContext;
use signet_abi::Reason;

use self::header::{Arp, Head, Ipv4, Ipv6, Tcp, version};
use self::skb::{is_gso, load};
use crate::address::Words;
use crate::zero::zero;

mod apart;
mod header;
mod skb;

pub use self::header::{protocol, tcp};
pub use self::skb::{family, ifindex, mark, received_by};

/// IPv6 extension headers that are walked before a packet is refused.
const MAX_EXTENSIONS: usize = 6;

/// What the ethertype says.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Family {
    Arp,
    V4,
    V6,
    Other,
}

/// Five-tuple. Ports are big-endian; an ICMP echo has its identifier in both, what has no ports 0.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Tuple {
    pub source: Words,
    pub destination: Words,
    pub source_port: u16,
    pub destination_port: u16,
    pub protocol: u8,
    reserved: u8,
    room: u16,
}

/// What the transport header says about the packet's place in a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// May belong to either direction of a connection.
    Segment,
    /// Opens a connection: TCP SYN without ACK.
    Opening,
    /// Sent by the initiator: ICMP echo request.
    Forward,
    /// Sent by the responder: ICMP echo reply, TCP SYN with ACK.
    Reply,
    /// An ICMP error about another packet.
    Error,
    /// Neighbour discovery (RFC 4861) that has not been forwarded.
    Discovery,
}

/// What is known of a packet. Without padding: it is handed to a function of its own.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Packet {
    pub tuple: Tuple,
    pub kind: Kind,
    pub tcp_flags: u8,
    /// ICMP or ICMPv6 type; 0 for other protocols.
    pub icmp_type: u8,
    pub family: Family,
    /// Where the transport header starts.
    transport: u16,
    /// Whether it is all of its datagram.
    pub piece: Piece,
    /// Not 0: it has come to this host from elsewhere, so it is none of the host's own.
    pub forwarded: u8,
    /// What the pieces of a datagram have in common, as it stands in the header; 0 for a whole one.
    pub fragment_id: u32,
}

/// How much of its datagram a packet is.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Piece {
    /// All.
    Whole,
    /// The first of several, with the transport header.
    First,
    /// A later one of several, without ports of its own.
    Later,
}

const _: () = assert!(size_of::<Tuple>() == 40 && size_of::<Packet>() == 52);

/// Source and destination of an IP packet, without looking at what it carries.
#[inline(always)]
pub fn addresses(ctx: &TcContext, family: Family) -> Option<(Words, Words)> {
    match family {
        Family::V4 => {
            let ip: Ipv4 = load(ctx, 0).ok()?;
            (ip.version_ihl >> 4 == 4).then(|| (Words::from_v4(ip.source), Words::from_v4(ip.destination)))
        }
        Family::V6 => {
            let ip: Ipv6 = load(ctx, 0).ok()?;
            (version(&ip) == 6).then_some((ip.source, ip.destination))
        }
        Family::Arp | Family::Other => None,
    }
}

impl Packet {
    /// A packet of which nothing is known yet.
    #[inline(always)]
    pub fn unknown(family: Family) -> Self {
        Self {
            tuple: Tuple::empty(),
            kind: Kind::Segment,
            tcp_flags: 0,
            icmp_type: 0,
            family,
            transport: 0,
            piece: Piece::Whole,
            forwarded: 0,
            fragment_id: 0,
        }
    }

    /// Reads the headers of an IP or ARP packet. What was read before an error stays, for the report.
    #[inline(always)]
    pub fn read(&mut self, ctx: &TcContext) -> Result<(), Reason> {
        apart::read(ctx, self)
    }

    /// The tuple of the packet that an ICMP error is about; none if it cannot be told.
    #[inline(always)]
    pub fn embedded(&self, ctx: &TcContext) -> Option<Tuple> {
        apart::embedded(ctx, self)
    }

    /// Whether it is what a sender is told that has no way to its destination: the end of a TCP connection, or "destination
    /// unreachable".
    #[inline(always)]
    pub fn is_refusal(&self) -> bool {
        let family = matches!(
            (self.family, self.tuple.protocol, self.icmp_type),
            (Family::V4, protocol::ICMP, 3) | (Family::V6, protocol::ICMPV6, 1)
        );
        let ends = self.tuple.protocol == protocol::TCP
            && self.tcp_flags & (tcp::RST | tcp::SYN | tcp::FIN) == tcp::RST;
        self.piece == Piece::Whole && (family || ends)
    }

    /// Whether it is about the groups of its link, which nobody here forwards: every IPv6 stack sends such messages by
    /// itself when an interface comes up.
    #[inline(always)]
    pub fn is_group_message(&self) -> bool {
        self.family == Family::V6
            && self.tuple.protocol == protocol::ICMPV6
            && is_group_message(self.icmp_type)
    }

    /// Whether a neighbour advertisement is about the address that it comes from, or about a link-local one (RFC 4861
    /// section 4.4).
    #[inline(always)]
    pub fn advertises_itself(&self, ctx: &TcContext) -> bool {
        apart::advertises_itself(ctx, self)
    }

    #[inline(always)]
    fn read_advertised(&self, ctx: &TcContext) -> bool {
        let about: Result<Words, Reason> = load(ctx, u32::from(self.transport) + size_of::<Head>() as u32);
        about.is_ok_and(|about| about == self.tuple.source || about.is_link_local())
    }

    /// RFC 826. The sender's address, `0.0.0.0` in a probe (RFC 5227), becomes the source.
    #[inline(always)]
    fn read_arp(&mut self, ctx: &TcContext) -> Result<(), Reason> {
        const ETHERNET: u16 = 1;
        const IPV4: u16 = 0x0800;
        const REQUEST: u16 = 1;
        const REPLY: u16 = 2;
        let arp: Arp = load(ctx, 0)?;
        let kinds = (u16::from_be(arp.hardware), u16::from_be(arp.protocol));
        let sizes = (arp.hardware_length, arp.protocol_length);
        let operation = u16::from_be(arp.operation);
        if kinds != (ETHERNET, IPV4) || sizes != (6, 4) || !matches!(operation, REQUEST | REPLY) {
            return Err(Reason::InvalidPacket);
        }
        self.tuple.source = Words::from_v4(u32::from_ne_bytes(arp.sender));
        self.tuple.destination = Words::from_v4(u32::from_ne_bytes(arp.target));
        Ok(())
    }

    /// RFC 791.
    #[inline(always)]
    fn read_v4(&mut self, ctx: &TcContext) -> Result<(), Reason> {
        let ip: Ipv4 = load(ctx, 0)?;
        let header = u32::from(ip.version_ihl & 0x0f) * 4;
        if ip.version_ihl >> 4 != 4 || header < size_of::<Ipv4>() as u32 {
            return Err(Reason::InvalidPacket);
        }
        self.tuple.source = Words::from_v4(ip.source);
        self.tuple.destination = Words::from_v4(ip.destination);
        self.tuple.protocol = ip.protocol;
        let payload = payload(ctx, u32::from(u16::from_be(ip.total_length)), header)?;
        if header > size_of::<Ipv4>() as u32 {
            apart::options(ctx)?;
        }
        self.transport = header as u16;
        // More fragments, or an offset in units of 8 bytes (RFC 791 section 3.1).
        let fragment = u16::from_be(ip.fragment);
        self.read_piece(fragment & 0x1fff, fragment & 0x2000 != 0, u32::from(ip.id));
        self.read_transport(ctx, payload, fragment & 0x1fff, 0)
    }

    /// RFC 8200.
    #[inline(always)]
    fn read_v6(&mut self, ctx: &TcContext) -> Result<(), Reason> {
        let ip: Ipv6 = load(ctx, 0)?;
        if version(&ip) != 6 {
            return Err(Reason::InvalidPacket);
        }
        self.tuple.source = ip.source;
        self.tuple.destination = ip.destination;
        self.tuple.protocol = ip.next_header;
        if ip.source.is_v4() || ip.destination.is_v4() {
            return Err(Reason::InvalidPacket);
        }
        let fixed = size_of::<Ipv6>() as u32;
        let length = u32::from(u16::from_be(ip.payload_length));
        let payload = payload(ctx, if length == 0 { 0 } else { length + fixed }, fixed)?;
        let (transport, protocol) = match ip.next_header {
            protocol::HOP_BY_HOP | protocol::DESTINATION_OPTIONS => apart::extensions(ctx)?,
            next => (fixed, upper_layer(next)?),
        };
        let (transport, protocol, offset) = if protocol == protocol::IPV6_FRAGMENT {
            self.read_fragment_header(ctx, transport)?
        } else {
            (transport, protocol, 0)
        };
        let extensions = transport - fixed;
        if extensions > payload {
            return Err(Reason::InvalidPacket);
        }
        self.tuple.protocol = protocol;
        self.transport = transport as u16;
        self.read_transport(ctx, payload - extensions, offset, ip.hop_limit)
    }

    /// RFC 8200 section 4.5: where what follows starts, what it is, and which part of it, in units of 8 bytes. All headers stand
    /// in the first fragment (RFC 7112), so nothing but the transport header may follow.
    #[inline(always)]
    fn read_fragment_header(&mut self, ctx: &TcContext, at: u32) -> Result<(u32, u8, u16), Reason> {
        let header: Head = load(ctx, at)?;
        let [next, _] = header.first.to_ne_bytes();
        let place = u16::from_be(header.second);
        let id = u32::from(header.third) | u32::from(header.fourth) << 16;
        self.read_piece(place >> 3, place & 1 != 0, id);
        let next = match next {
            protocol::IPV6_FRAGMENT | protocol::DESTINATION_OPTIONS => {
                return Err(Reason::InvalidExtensionHeader);
            }
            next => upper_layer(next)?,
        };
        Ok((at + size_of::<Head>() as u32, next, place >> 3))
    }

    /// A fragment header on a whole packet means nothing (RFC 6946).
    #[inline(always)]
    fn read_piece(&mut self, offset: u16, more: bool, id: u32) {
        self.piece = match (offset, more) {
            (0, false) => Piece::Whole,
            (0, true) => Piece::First,
            (_, _) => Piece::Later,
        };
        if self.piece != Piece::Whole {
            self.fragment_id = id;
        }
    }

    /// What can be said of a fragment that is not the first. One that would overwrite the TCP header of the first is an attack
    /// (RFC 3128), and so is one beyond the end of every datagram. What an IPv6 piece says of its protocol means nothing, and no
    /// sender has so little room in its first one.
    #[inline(always)]
    fn read_later(&self, payload: u32, offset: u16) -> Result<(), Reason> {
        let start = u32::from(offset) * 8;
        let may_be_tcp = self.family == Family::V6 || self.tuple.protocol == protocol::TCP;
        let overwrites = may_be_tcp && start < size_of::<Tcp>() as u32;
        if overwrites || payload == 0 || start + payload > u32::from(u16::MAX) {
            return Err(Reason::InvalidPacket);
        }
        Ok(())
    }

    #[inline(always)]
    fn read_transport(
        &mut self,
        ctx: &TcContext,
        payload: u32,
        offset: u16,
        hop_limit: u8,
    ) -> Result<(), Reason> {
        if self.piece == Piece::Later {
            return self.read_later(payload, offset);
        }
        self.read_head(ctx, payload, hop_limit)?;
        // Nobody sends these in pieces (RFC 1812 section 4.3.2.3, RFC 4443 section 2.4, RFC 6980).
        if self.piece != Piece::Whole && matches!(self.kind, Kind::Error | Kind::Discovery) {
            return Err(Reason::FragmentNotSupported);
        }
        Ok(())
    }

    #[inline(always)]
    fn read_head(&mut self, ctx: &TcContext, payload: u32, hop_limit: u8) -> Result<(), Reason> {
        match self.tuple.protocol {
            protocol::TCP => {
                if payload < size_of::<Tcp>() as u32 {
                    return Err(Reason::InvalidPacket);
                }
                let tcp: Tcp = load(ctx, u32::from(self.transport))?;
                let header = u32::from(tcp.data_offset >> 4) * 4;
                if header < size_of::<Tcp>() as u32 || header > payload {
                    return Err(Reason::InvalidPacket);
                }
                self.tuple.source_port = tcp.source_port;
                self.tuple.destination_port = tcp.destination_port;
                self.tcp_flags = tcp.flags;
                self.kind = match tcp.flags & (tcp::SYN | tcp::ACK) {
                    tcp::SYN => Kind::Opening,
                    flags if flags & tcp::SYN != 0 => Kind::Reply,
                    _ => Kind::Segment,
                };
                Ok(())
            }
            protocol::UDP | protocol::SCTP => {
                let head = self.head(ctx, payload)?;
                self.tuple.source_port = head.first;
                self.tuple.destination_port = head.second;
                Ok(())
            }
            protocol::ICMP if self.family == Family::V4 => {
                let head = self.head(ctx, payload)?;
                self.classify_icmp(&head)
            }
            protocol::ICMPV6 if self.family == Family::V6 => {
                let head = self.head(ctx, payload)?;
                self.classify_icmpv6(&head, hop_limit)
            }
            protocol::NO_NEXT_HEADER => Err(Reason::UnknownL4),
            // The other family's control protocol means nothing here (RFC 4443 section 1, RFC 792).
            protocol::ICMP | protocol::ICMPV6 => Err(Reason::UnknownL4),
            _ => Ok(()),
        }
    }

    #[inline(always)]
    fn head(&self, ctx: &TcContext, payload: u32) -> Result<Head, Reason> {
        if payload < size_of::<Head>() as u32 {
            return Err(Reason::InvalidPacket);
        }
        load(ctx, u32::from(self.transport))
    }

    /// RFC 792.
    #[inline(always)]
    fn classify_icmp(&mut self, head: &Head) -> Result<(), Reason> {
        const REDIRECT: u8 = 5;
        const ROUTER_ADVERTISEMENT: u8 = 9;
        let [kind, _] = head.first.to_ne_bytes();
        self.icmp_type = kind;
        match kind {
            0 | 8 => self.echo(head, kind == 8),
            3 | 11 | 12 => self.kind = Kind::Error,
            REDIRECT | ROUTER_ADVERTISEMENT => return Err(Reason::UnknownL4),
            _ => {}
        }
        Ok(())
    }

    /// RFC 4443, RFC 4861. Hop limit 255 proves that nobody has forwarded the message.
    #[inline(always)]
    fn classify_icmpv6(&mut self, head: &Head, hop_limit: u8) -> Result<(), Reason> {
        const REDIRECT: u8 = 137;
        let [kind, code] = head.first.to_ne_bytes();
        self.icmp_type = kind;
        match kind {
            128 | 129 => self.echo(head, kind == 128),
            1..=4 => self.kind = Kind::Error,
            133..=136 if hop_limit == 255 && code == 0 => self.kind = Kind::Discovery,
            133..=136 | REDIRECT => return Err(Reason::UnknownL4),
            kind if is_group_message(kind) => return Err(Reason::UnknownL4),
            _ => {}
        }
        Ok(())
    }

    #[inline(always)]
    fn echo(&mut self, head: &Head, request: bool) {
        self.tuple.source_port = head.third;
        self.tuple.destination_port = head.third;
        self.kind = if request { Kind::Forward } else { Kind::Reply };
    }

    #[inline(always)]
    fn read_embedded(&self, ctx: &TcContext) -> Option<Tuple> {
        let start = u32::from(self.transport) + size_of::<Head>() as u32;
        let (mut tuple, transport) = match self.family {
            Family::V4 => {
                let ip: Ipv4 = load(ctx, start).ok()?;
                let header = u32::from(ip.version_ihl & 0x0f) * 4;
                let first = u16::from_be(ip.fragment) & 0x1fff == 0;
                if ip.version_ihl >> 4 != 4 || header < size_of::<Ipv4>() as u32 || !first {
                    return None;
                }
                (
                    tuple(
                        Words::from_v4(ip.source),
                        Words::from_v4(ip.destination),
                        ip.protocol,
                    ),
                    start + header,
                )
            }
            Family::V6 => {
                let ip: Ipv6 = load(ctx, start).ok()?;
                if version(&ip) != 6 {
                    return None;
                }
                let behind = start + size_of::<Ipv6>() as u32;
                let (transport, next) = if ip.next_header == protocol::IPV6_FRAGMENT {
                    let header: Head = load(ctx, behind).ok()?;
                    let [next, _] = header.first.to_ne_bytes();
                    if u16::from_be(header.second) >> 3 != 0 {
                        return None;
                    }
                    (behind + size_of::<Head>() as u32, next)
                } else {
                    (behind, ip.next_header)
                };
                (tuple(ip.source, ip.destination, next), transport)
            }
            Family::Arp | Family::Other => return None,
        };
        let head: Head = load(ctx, transport).ok()?;
        match tuple.protocol {
            protocol::TCP | protocol::UDP | protocol::SCTP => {
                tuple.source_port = head.first;
                tuple.destination_port = head.second;
            }
            protocol::ICMP | protocol::ICMPV6 => {
                let [kind, _] = head.first.to_ne_bytes();
                if !matches!(kind, 0 | 8 | 128 | 129) {
                    return None;
                }
                tuple.source_port = head.third;
                tuple.destination_port = head.third;
            }
            _ => {}
        }
        Some(tuple)
    }
}

/// Multicast listener discovery (RFC 2710 section 3, RFC 3810 section 5).
#[inline(always)]
fn is_group_message(icmp_type: u8) -> bool {
    matches!(icmp_type, 130..=132 | 143)
}

#[inline(always)]
fn tuple(source: Words, destination: Words, protocol: u8) -> Tuple {
    Tuple {
        source,
        destination,
        protocol,
        ..Tuple::empty()
    }
}

impl Tuple {
    /// Nothing is known yet.
    #[inline(always)]
    pub fn empty() -> Self {
        let zero = zero();
        Self {
            source: Words([zero; 4]),
            destination: Words([zero; 4]),
            source_port: zero as u16,
            destination_port: zero as u16,
            protocol: 0,
            reserved: 0,
            room: zero as u16,
        }
    }
}

/// Bytes behind a header, as the length field says. 0 stands for "too long to say" where segments are merged
/// (RFC 2675 and the kernel's own use of it for IPv4). The buffer's length may count a link-layer header: a packet that
/// lacks no more than that passes here, and the receiver's kernel refuses it.
#[inline(always)]
fn payload(ctx: &TcContext, total: u32, header: u32) -> Result<u32, Reason> {
    if total == 0 && is_gso(ctx) {
        return Ok(ctx.len());
    }
    if total < header || total > ctx.len() {
        return Err(Reason::InvalidPacket);
    }
    Ok(total - header)
}

/// The protocol that an IPv6 next-header value stands for, unless it is one more extension header.
#[inline(always)]
fn upper_layer(next: u8) -> Result<u8, Reason> {
    match next {
        // A routing header would take the packet elsewhere than where it was judged to go; the others hide what
        // follows, or nobody knows them. Hop-by-hop options stand first or nowhere (RFC 8200 section 4.1).
        protocol::HOP_BY_HOP
        | protocol::IPV6_ROUTING
        | protocol::AH
        | protocol::MOBILITY
        | protocol::HIP
        | protocol::SHIM6
        | protocol::EXPERIMENT_1
        | protocol::EXPERIMENT_2 => Err(Reason::InvalidExtensionHeader),
        next => Ok(next),
    }
}
