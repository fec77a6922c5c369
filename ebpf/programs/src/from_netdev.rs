//! A packet arrives from the wire: uplink, ingress. What only Signet may say of it is taken away.

use aya_ebpf::bindings::TC_ACT_UNSPEC;
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;

use crate::mark;

/// See the module.
#[classifier]
pub fn from_netdev(ctx: TcContext) -> i32 {
    mark::clear(&ctx);
    TC_ACT_UNSPEC
}
