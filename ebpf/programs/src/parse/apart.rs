//! Functions that the verifier looks at once, and not once for every way to and from them ("global" functions: it
//! believes nothing about their arguments and results). That keeps what it has to look at far below its limit. Results
//! go through numbers and through memory of the caller.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::programs::TcContext;
use signet_abi::Reason;

use super::header::{Extension, Ipv4, Ipv6, protocol};
use super::skb::load;
use super::{Family, MAX_EXTENSIONS, Packet, Tuple, upper_layer};

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
    const UNKNOWN_L3: u8 = Reason::UnknownL3 as u8;
    const UNKNOWN_L4: u8 = Reason::UnknownL4 as u8;
    match number {
        OK => Ok(()),
        FRAGMENT => Err(Reason::FragmentNotSupported),
        EXTENSION => Err(Reason::InvalidExtensionHeader),
        UNKNOWN_L3 => Err(Reason::UnknownL3),
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
        Family::Arp => packet.read_arp(&ctx),
        Family::Other => Err(Reason::UnknownL3),
    };
    u32::from(number(result))
}

#[inline(always)]
pub(super) fn embedded(ctx: &TcContext, packet: &Packet) -> Option<Tuple> {
    let mut tuple = Tuple::empty();
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

#[inline(always)]
pub(super) fn advertises_itself(ctx: &TcContext, packet: &Packet) -> bool {
    signet_advertises_itself(ctx.skb.skb, packet) != 0
}

#[expect(unsafe_code, reason = "a name that stays makes the function global")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn signet_advertises_itself(skb: *mut __sk_buff, packet: *const Packet) -> u32 {
    #[expect(unsafe_code, reason = "the verifier asks for a pointer that may be null")]
    // SAFETY: `advertises_itself` is the only caller and passes a reference.
    let packet = unsafe { packet.as_ref() };
    u32::from(packet.is_some_and(|packet| packet.read_advertised(&TcContext::new(skb))))
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
    // An option that ends behind the header.
    if length_next || skip > 0 {
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
