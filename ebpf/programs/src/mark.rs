//! Signet's bits of `skb->mark`.

use aya_ebpf::programs::TcContext;
use signet_abi::{MARK_DECRYPTED, MARK_LOCAL, MARK_MASK, MARK_REFUSAL, MARK_RETURNED, MARK_TUNNEL};

/// The part of a mark that says it is one of Signet's.
const MAGIC_MASK: u32 = 0xffff_0000;
const MAGIC: u32 = MARK_DECRYPTED & MAGIC_MASK;

const _: () = assert!(
    MARK_TUNNEL & MAGIC_MASK == MAGIC
        && MARK_LOCAL & MAGIC_MASK == MAGIC
        && MARK_RETURNED & MAGIC_MASK == MAGIC
        && MARK_REFUSAL & MAGIC_MASK == MAGIC,
    "all marks share one magic"
);

/// Takes away what only Signet itself may say of a packet. Marks of others are left alone.
#[inline(always)]
pub fn clear(ctx: &TcContext) {
    let mark = crate::parse::mark(ctx);
    if mark & MAGIC_MASK == MAGIC {
        ctx.set_mark(mark & !MARK_MASK);
    }
}

/// Notes that the packet came out of the tunnel.
#[inline(always)]
pub fn set_decrypted(ctx: &TcContext) {
    set(ctx, MARK_DECRYPTED);
}

/// Notes that the packet left a workload by its own interface.
#[inline(always)]
pub fn set_local(ctx: &TcContext) {
    set(ctx, MARK_LOCAL);
}

#[inline(always)]
fn set(ctx: &TcContext, mark: u32) {
    ctx.set_mark(crate::parse::mark(ctx) & !MARK_MASK | mark);
}

/// Notes that the packet has waited for its proof.
#[inline(always)]
pub fn set_returned(ctx: &TcContext) {
    set(ctx, MARK_RETURNED);
}

/// Whether the packet has waited for its proof.
#[inline(always)]
pub fn is_returned(ctx: &TcContext) -> bool {
    crate::parse::mark(ctx) & MARK_MASK == MARK_RETURNED
}

/// Notes that signet-agent tells a sender that its packet is refused.
#[inline(always)]
pub fn set_refusal(ctx: &TcContext) {
    set(ctx, MARK_REFUSAL);
}

/// Whether signet-agent tells a sender that its packet is refused. Nobody else sets this mark: what a workload sets goes when
/// its packet changes namespaces, what comes from the wire when it arrives.
#[inline(always)]
pub fn is_refusal(ctx: &TcContext) -> bool {
    crate::parse::mark(ctx) & MARK_MASK == MARK_REFUSAL
}

/// Whether the packet left a workload of this node by its own interface.
#[inline(always)]
pub fn is_local(ctx: &TcContext) -> bool {
    crate::parse::mark(ctx) & MARK_MASK == MARK_LOCAL
}

/// Whether the packet came out of the tunnel.
#[inline(always)]
pub fn is_decrypted(ctx: &TcContext) -> bool {
    crate::parse::mark(ctx) & MARK_MASK == MARK_DECRYPTED
}

/// Whether the packet is the tunnel's own, encrypted one.
#[inline(always)]
pub fn is_tunnel(ctx: &TcContext) -> bool {
    crate::parse::mark(ctx) & MARK_MASK == MARK_TUNNEL
}
