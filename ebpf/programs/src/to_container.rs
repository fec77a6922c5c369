//! A packet reaches a workload: host side of its veth, egress.
//!
//! An answer of signet-agent's passes → the source is not one of this node's, or it left by its own interface → a later
//! fragment takes the ports of the first → the destination is the interface's own → conntrack → ingress policy → proof → lease.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use signet_abi::{Ct4Key, Ct6Key, Direction, Reason};

use crate::conntrack::Change;
use crate::events::Trace;
use crate::parse::{self, Family, Kind, Packet};
use crate::verdict::{self, Scene};
use crate::{discovery, fragment, identity, mark, refusal};

/// See the module.
#[classifier]
pub fn to_container(ctx: TcContext) -> i32 {
    let mut packet = Packet::unknown(parse::family(&ctx));
    let mut trace = Trace::empty();
    let (scene, has_waited) = match Scene::open(&ctx) {
        Ok(scene) if scene.has_waited(&ctx) => (scene.without_parking(), true),
        Ok(scene) => (scene, false),
        Err(reason) => {
            return verdict::conclude(&ctx, Direction::Ingress, &packet, &trace, None, Err(reason));
        }
    };
    let outcome = judge(&ctx, &scene, has_waited, &mut packet, &mut trace);
    verdict::conclude(&ctx, Direction::Ingress, &packet, &trace, Some(&scene), outcome)
}

#[inline(always)]
fn judge(
    ctx: &TcContext,
    scene: &Scene,
    has_waited: bool,
    packet: &mut Packet,
    trace: &mut Trace,
) -> Result<Change, Reason> {
    packet.read(ctx)?;
    if has_waited && mark::is_refusal(ctx) {
        return Err(refusal::judge(packet, scene, Direction::Ingress, trace));
    }
    // From the wire, say, out of a tunnel, or from an interface that nobody watches: its address is not enough (invariant 3).
    let source = &packet.tuple.source;
    let is_forged = match identity::endpoint(source) {
        // It was looked at before it was parked; the interface that received it is the parking device's now.
        _ if has_waited => false,
        Some(owner) => !identity::has_sent(&owner, ctx),
        None => identity::poses_as_remote(source, scene.node, ctx),
    };
    if is_forged {
        return Err(Reason::InvalidSourceIp);
    }
    packet.forwarded = u8::from(!has_waited && parse::received_by(ctx) != 0);
    fragment::complete(packet, scene, Direction::Ingress)?;
    match packet.family {
        // Only its own node can reach the interface with it.
        Family::Arp => Ok(Change::None),
        Family::Other => Err(Reason::UnknownL3),
        Family::V6 if packet.kind == Kind::Discovery => discovery::to_workload(packet).map(|()| Change::None),
        Family::V4 => verdict::judge::<Ct4Key>(ctx, scene, Direction::Ingress, packet, trace),
        Family::V6 => verdict::judge::<Ct6Key>(ctx, scene, Direction::Ingress, packet, trace),
    }
}
