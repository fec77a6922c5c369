//! A packet leaves a workload: host side of its veth, ingress.
//!
//! Marked as local, whatever it was marked with → an answer of signet-agent's passes → a later fragment takes the ports of the first → the source address is the interface's own → conntrack → egress policy → proof → lease.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use signet_abi::{Ct4Key, Ct6Key, Direction, Reason};

use crate::conntrack::Change;
use crate::events::Trace;
use crate::parse::{self, Family, Kind, Packet};
use crate::verdict::{self, Scene};
use crate::{discovery, fragment, mark, refusal};

/// See the module.
#[classifier]
pub fn from_container(ctx: TcContext) -> i32 {
    let has_waited = mark::is_returned(&ctx);
    let is_refusal = mark::is_refusal(&ctx);
    // What is not allowed to say so is dropped below.
    mark::set_local(&ctx);
    let mut packet = Packet::unknown(parse::family(&ctx));
    let mut trace = Trace::empty();
    let scene = match Scene::open(&ctx) {
        Ok(scene) if has_waited => scene.without_parking(),
        Ok(scene) => scene,
        Err(reason) => {
            return verdict::conclude(&ctx, Direction::Egress, &packet, &trace, None, Err(reason));
        }
    };
    let outcome = judge(&ctx, &scene, is_refusal, &mut packet, &mut trace);
    verdict::conclude(&ctx, Direction::Egress, &packet, &trace, Some(&scene), outcome)
}

#[inline(always)]
fn judge(
    ctx: &TcContext,
    scene: &Scene,
    is_refusal: bool,
    packet: &mut Packet,
    trace: &mut Trace,
) -> Result<Change, Reason> {
    packet.read(ctx)?;
    if is_refusal {
        return Err(refusal::judge(packet, scene, Direction::Egress, trace));
    }
    fragment::complete(packet, scene, Direction::Egress)?;
    match packet.family {
        Family::Arp => discovery::arp_from_workload(packet, scene).map(|()| Change::None),
        Family::Other => Err(Reason::UnknownL3),
        Family::V6 if packet.kind == Kind::Discovery => {
            discovery::from_workload(ctx, packet, scene).map(|()| Change::None)
        }
        Family::V4 => verdict::judge::<Ct4Key>(ctx, scene, Direction::Egress, packet, trace),
        Family::V6 => verdict::judge::<Ct6Key>(ctx, scene, Direction::Egress, packet, trace),
    }
}
