//! Reads packets. The only place that touches their bytes, and the socket buffer's fields.
//!
//! Every offset counts from the network header, so that devices with and without link-layer headers are alike. A read
//! beyond the end of the packet fails; nothing is guessed.

use core::mem::MaybeUninit;

use aya_ebpf::bindings::bpf_hdr_start_off::BPF_HDR_START_NET;
use aya_ebpf::helpers::bpf_skb_load_bytes_relative;
use aya_ebpf::programs::TcContext;
use signet_abi::Reason;

use crate::address::Words;

/// IP protocol numbers that are told apart (IANA "Protocol Numbers").
pub mod protocol {
    pub const HOP_BY_HOP: u8 = 0;
    pub const ICMP: u8 = 1;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const IPV6_ROUTING: u8 = 43;
    pub const IPV6_FRAGMENT: u8 = 44;
    pub const AH: u8 = 51;
    pub const ICMPV6: u8 = 58;
    pub const NO_NEXT_HEADER: u8 = 59;
    pub const DESTINATION_OPTIONS: u8 = 60;
    pub const SCTP: u8 = 132;
    pub const MOBILITY: u8 = 135;
    pub const HIP: u8 = 139;
    pub const SHIM6: u8 = 140;
    pub const EXPERIMENT_1: u8 = 253;
    pub const EXPERIMENT_2: u8 = 254;
}

/// TCP flags (RFC 9293 section 3.1).
pub mod tcp {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const ACK: u8 = 0x10;
}

/// IPv6 extension headers that are walked before a packet is refused.
const MAX_EXTENSIONS: usize = 6;
/// Bytes made linear when a header is not: all that is ever read of a packet.
const PULL: u32 = 256;

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
    reserved: [u8; 3],
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
    transport: u32,
}

const _: () = assert!(size_of::<Tuple>() == 40 && size_of::<Packet>() == 48);

#[derive(Clone, Copy)]
#[repr(C)]
struct Ipv4 {
    version_ihl: u8,
    tos: u8,
    total_length: u16,
    id: u16,
    fragment: u16,
    ttl: u8,
    protocol: u8,
    checksum: u16,
    source: u32,
    destination: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Ipv6 {
    version_class_flow: u32,
    payload_length: u16,
    next_header: u8,
    hop_limit: u8,
    source: Words,
    destination: Words,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Extension {
    next_header: u8,
    /// In 8-byte units beyond the first.
    length: u8,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct Tcp {
    source_port: u16,
    destination_port: u16,
    sequence: u32,
    acknowledgement: u32,
    data_offset: u8,
    flags: u8,
    window: u16,
    checksum: u16,
    urgent: u16,
}

/// The first 8 bytes of UDP, SCTP and every ICMP message.
#[derive(Clone, Copy)]
#[repr(C)]
struct Head {
    first: u16,
    second: u16,
    third: u16,
    fourth: u16,
}

/// Headers that any bytes make up.
///
/// # Safety
/// The type is `repr(C)` and every bit pattern of its size is a value of it.
#[expect(unsafe_code, reason = "bytes from the wire become these types")]
unsafe trait Header: Copy {}

macro_rules! header {
    ($($type:ty: $size:literal),*) => {$(
        const _: () = assert!(size_of::<$type>() == $size);
        #[expect(unsafe_code, reason = "bytes from the wire become these types")]
        // SAFETY: `repr(C)`, integers only, and the asserted size leaves no padding.
        unsafe impl Header for $type {}
    )*};
}
header!(Ipv4: 20, Ipv6: 40, Extension: 2, Tcp: 20, Head: 8, [u8; 4]: 4, u8: 1);

/// Copies a header out of the packet.
#[inline(always)]
fn load<T: Header>(ctx: &TcContext, offset: u32) -> Result<T, Reason> {
    let mut header = MaybeUninit::<T>::uninit();
    if read(ctx, offset, &mut header) || (pull(ctx) && read(ctx, offset, &mut header)) {
        #[expect(unsafe_code, reason = "the helper has filled it")]
        // SAFETY: `read` returned true, so the kernel wrote all `size_of::<T>()` bytes, and `Header` says that
        // any bytes are a `T`.
        return Ok(unsafe { header.assume_init() });
    }
    Err(Reason::InvalidPacket)
}

#[inline(always)]
fn read<T: Header>(ctx: &TcContext, offset: u32, header: &mut MaybeUninit<T>) -> bool {
    let (to, length) = (header.as_mut_ptr().cast(), size_of::<T>() as u32);
    #[expect(unsafe_code, reason = "kernel helper")]
    // SAFETY: `to` points to `length` writable bytes on our stack; the kernel checks offset and length against the
    // packet and says so in its result.
    let result =
        unsafe { bpf_skb_load_bytes_relative(ctx.skb.skb.cast(), offset, to, length, BPF_HDR_START_NET) };
    result == 0
}

/// Makes the headers linear where they are not. Copies, so it is not done before it is needed.
#[inline(always)]
fn pull(ctx: &TcContext) -> bool {
    let length = ctx.len();
    ctx.pull_data(if length < PULL { length } else { PULL }).is_ok()
}

/// The interface at which the packet is seen.
#[inline(always)]
pub fn ifindex(ctx: &TcContext) -> u32 {
    #[expect(unsafe_code, reason = "the context is a raw pointer")]
    // SAFETY: the kernel hands the program a valid context; the field is readable for classifiers.
    unsafe {
        (*ctx.skb.skb).ifindex
    }
}

/// `skb->mark`.
#[inline(always)]
pub fn mark(ctx: &TcContext) -> u32 {
    #[expect(unsafe_code, reason = "the context is a raw pointer")]
    // SAFETY: as in `ifindex`.
    unsafe {
        (*ctx.skb.skb).mark
    }
}

/// Whether several segments travel in this one buffer.
#[inline(always)]
fn is_gso(ctx: &TcContext) -> bool {
    #[expect(unsafe_code, reason = "the context is a raw pointer")]
    // SAFETY: as in `ifindex`.
    let size = unsafe { (*ctx.skb.skb).gso_size };
    size != 0
}

/// Which headers follow. A VLAN tag makes it another protocol.
#[inline(always)]
pub fn family(ctx: &TcContext) -> Family {
    const IPV4: u32 = 0x0800_u16.to_be() as u32;
    const ARP: u32 = 0x0806_u16.to_be() as u32;
    const IPV6: u32 = 0x86dd_u16.to_be() as u32;
    #[expect(unsafe_code, reason = "the context is a raw pointer")]
    // SAFETY: as in `ifindex`.
    let (protocol, tagged) = unsafe { ((*ctx.skb.skb).protocol, (*ctx.skb.skb).vlan_present) };
    match protocol {
        _ if tagged != 0 => Family::Other,
        IPV4 => Family::V4,
        IPV6 => Family::V6,
        ARP => Family::Arp,
        _ => Family::Other,
    }
}

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
    pub const fn unknown(family: Family) -> Self {
        Self {
            tuple: Tuple::EMPTY,
            kind: Kind::Segment,
            tcp_flags: 0,
            icmp_type: 0,
            family,
            transport: 0,
        }
    }

    /// Reads the headers of an IP packet. What was read before an error stays, for the report.
    #[inline(always)]
    pub fn read(&mut self, ctx: &TcContext) -> Result<(), Reason> {
        apart::read(ctx, self)
    }

    /// The tuple of the packet that an ICMP error is about; none if it cannot be told.
    #[inline(always)]
    pub fn embedded(&self, ctx: &TcContext) -> Option<Tuple> {
        apart::embedded(ctx, self)
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
        // More fragments, or an offset (RFC 791 section 3.1).
        if u16::from_be(ip.fragment) & 0x3fff != 0 {
            return Err(Reason::FragmentNotSupported);
        }
        let payload = payload(ctx, u32::from(u16::from_be(ip.total_length)), header)?;
        if header > size_of::<Ipv4>() as u32 {
            apart::options(ctx)?;
        }
        self.transport = header;
        self.read_transport(ctx, payload, 0)
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
        let extensions = transport - fixed;
        if extensions > payload {
            return Err(Reason::InvalidPacket);
        }
        self.tuple.protocol = protocol;
        self.transport = transport;
        self.read_transport(ctx, payload - extensions, ip.hop_limit)
    }

    #[inline(always)]
    fn read_transport(&mut self, ctx: &TcContext, payload: u32, hop_limit: u8) -> Result<(), Reason> {
        match self.tuple.protocol {
            protocol::TCP => {
                if payload < size_of::<Tcp>() as u32 {
                    return Err(Reason::InvalidPacket);
                }
                let tcp: Tcp = load(ctx, self.transport)?;
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
        load(ctx, self.transport)
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
        let start = self.transport + size_of::<Head>() as u32;
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
                (
                    tuple(ip.source, ip.destination, ip.next_header),
                    start + size_of::<Ipv6>() as u32,
                )
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

#[inline(always)]
fn tuple(source: Words, destination: Words, protocol: u8) -> Tuple {
    Tuple {
        source,
        destination,
        protocol,
        ..Tuple::EMPTY
    }
}

impl Tuple {
    /// Nothing is known yet.
    pub const EMPTY: Self = Self {
        source: Words::UNSPECIFIED,
        destination: Words::UNSPECIFIED,
        source_port: 0,
        destination_port: 0,
        protocol: 0,
        reserved: [0; 3],
    };
}

#[inline(always)]
fn version(ip: &Ipv6) -> u8 {
    let [first, ..] = ip.version_class_flow.to_ne_bytes();
    first >> 4
}

/// Bytes behind a header, as the length field says. 0 stands for "too long to say" where segments are merged
/// (RFC 2675 and the kernel's own use of it for IPv4).
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
        protocol::IPV6_FRAGMENT => Err(Reason::FragmentNotSupported),
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

/// Functions that the verifier looks at once, and not once for every way to and from them ("global" functions: it
/// believes nothing about their arguments and results). That keeps what it has to look at far below its limit. Results
/// go through numbers and through memory of the caller.
mod apart {
    use aya_ebpf::bindings::__sk_buff;
    use aya_ebpf::programs::TcContext;
    use signet_abi::Reason;

    use super::{Extension, Family, Ipv4, Ipv6, MAX_EXTENSIONS, Packet, Tuple, load, protocol, upper_layer};

    const OK: u8 = 0;

    #[inline(always)]
    fn number(result: Result<(), Reason>) -> u8 {
        match result {
            Ok(()) => OK,
            Err(reason) => reason as u8,
        }
    }

    #[inline(always)]
    fn result(number: u8) -> Result<(), Reason> {
        const FRAGMENT: u8 = Reason::FragmentNotSupported as u8;
        const EXTENSION: u8 = Reason::InvalidExtensionHeader as u8;
        const UNKNOWN_L4: u8 = Reason::UnknownL4 as u8;
        match number {
            OK => Ok(()),
            FRAGMENT => Err(Reason::FragmentNotSupported),
            EXTENSION => Err(Reason::InvalidExtensionHeader),
            UNKNOWN_L4 => Err(Reason::UnknownL4),
            _ => Err(Reason::InvalidPacket),
        }
    }

    #[inline(always)]
    pub(super) fn read(ctx: &TcContext, packet: &mut Packet) -> Result<(), Reason> {
        result(signet_read(ctx.skb.skb, packet).to_le_bytes()[0])
    }

    #[expect(unsafe_code, reason = "a name that stays makes the function global")]
    #[unsafe(no_mangle)]
    #[inline(never)]
    extern "C" fn signet_read(skb: *mut __sk_buff, packet: *mut Packet) -> u32 {
        #[expect(unsafe_code, reason = "the verifier asks for a pointer that may be null")]
        // SAFETY: `read` is the only caller and passes an exclusive reference.
        let Some(packet) = (unsafe { packet.as_mut() }) else {
            return u32::from(Reason::InvalidPacket as u8);
        };
        let ctx = TcContext::new(skb);
        let result = match packet.family {
            Family::V4 => packet.read_v4(&ctx),
            Family::V6 => packet.read_v6(&ctx),
            Family::Arp | Family::Other => Err(Reason::InvalidPacket),
        };
        u32::from(number(result))
    }

    #[inline(always)]
    pub(super) fn embedded(ctx: &TcContext, packet: &Packet) -> Option<Tuple> {
        let mut tuple = Tuple::EMPTY;
        (signet_read_embedded(ctx.skb.skb, packet, &raw mut tuple) == u32::from(OK)).then_some(tuple)
    }

    #[expect(unsafe_code, reason = "a name that stays makes the function global")]
    #[unsafe(no_mangle)]
    #[inline(never)]
    extern "C" fn signet_read_embedded(skb: *mut __sk_buff, packet: *const Packet, tuple: *mut Tuple) -> u32 {
        #[expect(unsafe_code, reason = "the verifier asks for pointers that may be null")]
        // SAFETY: `embedded` is the only caller and passes references to different objects.
        let (Some(packet), Some(tuple)) = (unsafe { (packet.as_ref(), tuple.as_mut()) }) else {
            return 1;
        };
        match packet.read_embedded(&TcContext::new(skb)) {
            Some(embedded) => {
                *tuple = embedded;
                u32::from(OK)
            }
            None => 1,
        }
    }

    /// Refuses IPv4 source routes (RFC 791 section 3.1): they take the packet elsewhere than where it was judged to
    /// go. Other options pass.
    #[inline(always)]
    pub(super) fn options(ctx: &TcContext) -> Result<(), Reason> {
        result(signet_ipv4_options(ctx.skb.skb).to_le_bytes()[0])
    }

    #[expect(unsafe_code, reason = "a name that stays makes the function global")]
    #[unsafe(no_mangle)]
    #[inline(never)]
    extern "C" fn signet_ipv4_options(skb: *mut __sk_buff) -> u32 {
        u32::from(number(scan_options(&TcContext::new(skb))))
    }

    /// Where the transport header of an IPv6 packet with extension headers starts, and its protocol.
    #[inline(always)]
    pub(super) fn extensions(ctx: &TcContext) -> Result<(u32, u8), Reason> {
        let [low, high, protocol, fault] = signet_ipv6_extensions(ctx.skb.skb).to_le_bytes();
        result(fault)?;
        let transport = u32::from(u16::from_le_bytes([low, high]));
        if transport < size_of::<Ipv6>() as u32 {
            return Err(Reason::InvalidPacket);
        }
        Ok((transport, protocol))
    }

    /// Low half: offset of the transport header; third byte: its protocol; fourth: the reason to refuse it.
    #[expect(unsafe_code, reason = "a name that stays makes the function global")]
    #[unsafe(no_mangle)]
    #[inline(never)]
    extern "C" fn signet_ipv6_extensions(skb: *mut __sk_buff) -> u32 {
        match walk_extensions(&TcContext::new(skb)) {
            Ok(walked) => walked,
            Err(reason) => u32::from(number(Err(reason))) << 24,
        }
    }

    /// Looks at one byte after the other: with an offset that depends on what was read, the verifier would have to
    /// follow every combination of option lengths.
    #[inline(always)]
    fn scan_options(ctx: &TcContext) -> Result<(), Reason> {
        const END: u8 = 0;
        const NO_OPERATION: u8 = 1;
        const LOOSE: u8 = 131;
        const STRICT: u8 = 137;
        const MAX_BYTES: u32 = 40;
        let ip: Ipv4 = load(ctx, 0)?;
        let header = u32::from(ip.version_ihl & 0x0f) * 4;
        let mut length_next = false;
        let mut skip = 0_u8;
        for position in 0..MAX_BYTES {
            let offset = size_of::<Ipv4>() as u32 + position;
            if offset >= header {
                break;
            }
            let byte: u8 = load(ctx, offset)?;
            if length_next {
                if byte < 2 {
                    return Err(Reason::InvalidPacket);
                }
                (length_next, skip) = (false, byte - 2);
            } else if skip > 0 {
                skip -= 1;
            } else {
                match byte {
                    END => break,
                    NO_OPERATION => {}
                    LOOSE | STRICT => return Err(Reason::InvalidPacket),
                    _ => length_next = true,
                }
            }
        }
        if length_next {
            Err(Reason::InvalidPacket)
        } else {
            Ok(())
        }
    }

    #[inline(always)]
    fn walk_extensions(ctx: &TcContext) -> Result<u32, Reason> {
        let ip: Ipv6 = load(ctx, 0)?;
        let mut offset = size_of::<Ipv6>() as u32;
        let mut next = ip.next_header;
        for position in 0..=MAX_EXTENSIONS {
            let first = position == 0 && next == protocol::HOP_BY_HOP;
            if !first && next != protocol::DESTINATION_OPTIONS {
                return Ok(offset | u32::from(upper_layer(next)?) << 16);
            }
            let extension: Extension = load(ctx, offset)?;
            // At most 2 KiB each, so that the sum stays below 64 KiB.
            offset += (u32::from(extension.length) + 1) * 8;
            next = extension.next_header;
        }
        Err(Reason::InvalidExtensionHeader)
    }
}
