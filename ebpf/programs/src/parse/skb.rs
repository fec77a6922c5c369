//! The socket buffer: its fields, and copies of its bytes.

use core::mem::MaybeUninit;

use aya_ebpf::bindings::bpf_hdr_start_off::BPF_HDR_START_NET;
use aya_ebpf::helpers::bpf_skb_load_bytes_relative;
use aya_ebpf::programs::TcContext;
use signet_abi::Reason;

use super::Family;
use super::header::{Arp, Extension, Head, Ipv4, Ipv6, Tcp};
use crate::address::Words;

/// Bytes made linear when a header is not. A header behind them is refused as if it were not there.
const PULL: u32 = 256;

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
header!(Ipv4: 20, Ipv6: 40, Extension: 2, Tcp: 20, Head: 8, Arp: 28, Words: 16, u8: 1);

/// Copies a header out of the packet.
#[inline(always)]
pub(super) fn load<T: Header>(ctx: &TcContext, offset: u32) -> Result<T, Reason> {
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

/// The interface that received the packet last (`skb->skb_iif`): routing and bridging leave it, decapsulation sets it anew.
/// 0: the packet is the host's own.
#[inline(always)]
pub fn received_by(ctx: &TcContext) -> u32 {
    #[expect(unsafe_code, reason = "the context is a raw pointer")]
    // SAFETY: as in `ifindex`.
    unsafe {
        (*ctx.skb.skb).ingress_ifindex
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
pub(super) fn is_gso(ctx: &TcContext) -> bool {
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
