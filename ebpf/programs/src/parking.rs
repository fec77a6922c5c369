//! The way of a packet to the parking device, and what is needed to bring it back.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::{bpf_skb_change_head, bpf_skb_store_bytes};
use aya_ebpf::programs::TcContext;
use signet_abi::{Direction, ETHERNET_HEADER, PARKING_PREFIX, ParkingTicket, Reason};

use crate::events::Trace;
use crate::parse;
use crate::verdict::Scene;

/// Where an Ethernet header says what follows it.
const ETHERTYPE: u32 = 12;

/// Puts the prefix before the packet. It is to be redirected then; one that cannot have a prefix (too large for it) is
/// dropped as what it is, without a proof.
#[inline(always)]
pub fn stamp(ctx: &TcContext, direction: Direction, trace: &Trace, scene: &Scene) -> Reason {
    let (local, remote) = match direction {
        Direction::Ingress => (trace.destination, trace.source),
        Direction::Egress => (trace.source, trace.destination),
    };
    let ticket = ParkingTicket {
        secret: scene.parking_secret,
        local,
        remote,
        node: trace.node,
        ifindex: scene.ifindex,
        mark: parse::mark(ctx),
        direction: direction as u8,
        flags: trace.ticket.to_le_bytes()[0],
        reserved: [0; 2],
    };
    if signet_stamp(ctx.skb.skb, &raw const ticket) == 0 {
        Reason::Parked
    } else {
        Reason::AuthenticationRequired
    }
}

/// A function that the verifier looks at once, as in `parse`.
#[expect(unsafe_code, reason = "a name that stays makes the function global")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn signet_stamp(skb: *mut __sk_buff, ticket: *const ParkingTicket) -> u32 {
    #[expect(unsafe_code, reason = "the verifier asks for a pointer that may be null")]
    // SAFETY: `stamp` is the only caller and passes a reference.
    let Some(ticket) = (unsafe { ticket.as_ref() }) else {
        return 1;
    };
    #[expect(unsafe_code, reason = "the context is a raw pointer")]
    // SAFETY: the kernel hands the program a valid context; the field is readable for classifiers. It is big-endian.
    let ethertype = unsafe { (*skb).protocol as u16 };
    #[expect(unsafe_code, reason = "kernel helpers")]
    // SAFETY: the kernel checks offsets and lengths against the packet; the pointers are to values of those sizes.
    let failed = unsafe {
        bpf_skb_change_head(skb, PARKING_PREFIX as u32, 0) != 0
            || store(skb, ETHERTYPE, &ethertype) != 0
            || store(skb, ETHERNET_HEADER as u32, ticket) != 0
    };
    u32::from(failed)
}

#[expect(unsafe_code, reason = "kernel helper")]
/// # Safety
/// `skb` is the program's context.
#[inline(always)]
unsafe fn store<T>(skb: *mut __sk_buff, at: u32, value: &T) -> i64 {
    // SAFETY: the pointer is to a value of this size; the kernel checks the offset.
    unsafe { bpf_skb_store_bytes(skb, at, (&raw const *value).cast(), size_of::<T>() as u32, 0) }
}
