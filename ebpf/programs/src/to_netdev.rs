//! A packet leaves for the wire: uplink, egress.
//!
//! | packet | what happens |
//! | --- | --- |
//! | the tunnel's own | passes |
//! | not IP | passes |
//! | not from a workload of this node | passes |
//! | from one, without settings of this version | dropped, 165 |
//! | it left one, and claims to come from another node's | dropped, 132 |
//! | to no workload, to a node itself, or to a workload of this node | passes |
//! | to a remote one, but it did not leave its source's own interface | dropped, 132 |
//! | to a node that cannot receive encrypted packets yet | passes, in plaintext |
//! | to a node that can | goes into the tunnel |
//! | the same, but there is no tunnel device | dropped, 195 |

use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use signet_abi::{
    ABI_VERSION, Direction, NodeId, NodeState, Reason, SecurityIdentity, flow_hooks, node_flags,
};

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
    let mut trace = Trace::empty();
    let refused = match encrypting_node(&ctx, &mut packet, &mut trace) {
        Ok(None) => return TC_ACT_UNSPEC,
        Ok(Some(NodeState {
            tunnel_ifindex: 0, ..
        })) => Reason::Unencrypted,
        Ok(Some(state)) => {
            events::count(Reason::Encrypted, Direction::Egress, ctx.len());
            return verdict::redirect(state.tunnel_ifindex);
        }
        Err(reason) => reason,
    };
    let (length, direction) = (ctx.len(), Direction::Egress);
    events::count(refused, direction, length);
    let (at, ifindex) = (verdict::now(), parse::ifindex(&ctx));
    let judged = Judged::new(at, ifindex, length, refused, flow_hooks::TO_NETDEV, direction);
    events::flow(&packet, &trace, &judged);
    TC_ACT_SHOT as i32
}

/// The remote node that the packet goes to, if it comes from a workload and that node can receive it encrypted.
/// Whether it can, nobody knows without settings of this version.
#[inline(always)]
fn encrypting_node(
    ctx: &TcContext,
    packet: &mut Packet,
    trace: &mut Trace,
) -> Result<Option<NodeState>, Reason> {
    let Some((source, destination)) = parse::addresses(ctx, packet.family) else {
        return Ok(None);
    };
    (packet.tuple.source, packet.tuple.destination) = (source, destination);
    let owner = identity::endpoint(&source);
    if owner.is_none() && !mark::is_local(ctx) {
        return Ok(None);
    }
    let index = 0;
    let config = CONFIG.get(index).ok_or(Reason::NoConfig)?;
    if config.abi_version != ABI_VERSION {
        return Err(Reason::NoConfig);
    }
    let Some(source) = owner else {
        if identity::poses_as_remote(&source, config.node, ctx) {
            return Err(Reason::InvalidSourceIp);
        }
        return Ok(None);
    };
    trace.source = source.identity;
    let Some(destination) = identity::known(&destination) else {
        return Ok(None);
    };
    // Tunnels lead to the workloads of a node, not to the node.
    let is_node = destination.identity == SecurityIdentity::REMOTE_NODE;
    if is_node || destination.node == NodeId::NONE || destination.node == config.node {
        return Ok(None);
    }
    (trace.destination, trace.node) = (destination.identity, destination.node);
    // The other node would take it for the source's.
    if !identity::has_sent(&source, ctx) {
        return Err(Reason::InvalidSourceIp);
    }
    #[expect(unsafe_code, reason = "map values are shared with user space")]
    // SAFETY: the value is copied at once; it is made of integers.
    let state = unsafe { NODES.get(&destination.node).copied() };
    Ok(state.filter(|state| state.flags & node_flags::SEND_ENCRYPTED != 0))
}
