//! A packet comes out of the tunnel: tunnel device, ingress. The device has no link-layer header.

use aya_ebpf::bindings::TC_ACT_UNSPEC;
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use signet_abi::{Direction, Reason};

use crate::{events, mark};

/// See the module.
#[classifier]
pub fn from_tunnel(ctx: TcContext) -> i32 {
    mark::set_decrypted(&ctx);
    events::count(Reason::Decrypted, Direction::Ingress, ctx.len());
    TC_ACT_UNSPEC
}
