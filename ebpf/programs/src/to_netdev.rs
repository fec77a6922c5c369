//! A packet leaves for the wire: uplink, egress.
//!
//! | packet | what happens |
//! | --- | --- |
//! | the tunnel's own | passes |
//! | not IP | passes |
//! | not from a workload of this node | passes |
//! | to no workload, or one of this node | passes |
//! | to a node that cannot receive encrypted packets yet | passes, in plaintext |
//! | to a node that can | goes into the tunnel |
//! | the same, but there is no tunnel device | dropped, 195 |

use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use signet_abi::{Direction, NodeId, NodeState, Reason, flow_hooks, node_flags};

use crate::events::{self, Judged, Trace};
use crate::maps::{CONFIG, NODES};
use crate::parse::{self, Packet};
use crate::{identity, mark, verdict};

/// See the module.
#[classifier]
pub fn to_netdev(ctx: TcContext) -> i32 {
    if mark::is_tunnel(&ctx) {
        return TC_ACT_UNSPEC;
    }
    let mut packet = Packet::unknown(parse::family(&ctx));
    let mut trace = Trace::EMPTY;
    let Some(state) = encrypting_node(&ctx, &mut packet, &mut trace) else {
        return TC_ACT_UNSPEC;
    };
    let length = ctx.len();
    if state.tunnel_ifindex == 0 {
        let (reason, direction) = (Reason::Unencrypted, Direction::Egress);
        events::count(reason, direction, length);
        let (at, ifindex) = (verdict::now(), parse::ifindex(&ctx));
        let judged = Judged {
            at,
            ifindex,
            length,
            reason,
            hook: flow_hooks::TO_NETDEV,
            direction,
        };
        events::flow(&packet, &trace, &judged);
        return TC_ACT_SHOT as i32;
    }
    events::count(Reason::Encrypted, Direction::Egress, length);
    verdict::redirect(state.tunnel_ifindex)
}

/// The remote node that the packet goes to, if it comes from a workload and that node can receive it encrypted.
#[inline(always)]
fn encrypting_node(ctx: &TcContext, packet: &mut Packet, trace: &mut Trace) -> Option<NodeState> {
    (packet.tuple.source, packet.tuple.destination) = parse::addresses(ctx, packet.family)?;
    let source = identity::endpoint(&packet.tuple.source)?;
    let destination = identity::known(&packet.tuple.destination)?;
    let index = 0;
    let own = CONFIG.get(index)?.node;
    if destination.node == NodeId::NONE || destination.node == own {
        return None;
    }
    (trace.source, trace.destination) = (source.identity, destination.identity);
    trace.node = destination.node;
    #[expect(unsafe_code, reason = "map values are shared with user space")]
    // SAFETY: the value is copied at once; it is made of integers.
    let state = unsafe { NODES.get(&destination.node).copied() }?;
    (state.flags & node_flags::SEND_ENCRYPTED != 0).then_some(state)
}
