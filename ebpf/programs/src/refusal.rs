//! What a sender is told whose packet there can be no proof for. signet-agent writes it, in the name of the one who was to have
//! the packet, and `from_parking` marks it. No policy speaks of it, so it is held to what it may be: the end of a connection, or the
//! message that there is no way to the destination, between an endpoint of this very interface and somebody else.

use signet_abi::{AuthKey, Direction, NodeId, Reason};

use crate::events::Trace;
use crate::identity;
use crate::parse::Packet;
use crate::verdict::{self, Scene};

/// Why it may not pass; [`Reason::Rejected`] says that it may.
#[inline(always)]
pub fn judge(packet: &Packet, scene: &Scene, direction: Direction, trace: &mut Trace) -> Reason {
    const REJECTED: u32 = Reason::Rejected as u32;
    const SOURCE: u32 = Reason::InvalidSourceIp as u32;
    const NOT_READY: u32 = Reason::EndpointNotReady as u32;
    const SEVERAL: u32 = Reason::SeveralIdentities as u32;
    match signet_refusal(packet, trace, scene.ifindex, scene.node.0, direction as u32) {
        REJECTED => Reason::Rejected,
        SOURCE => Reason::InvalidSourceIp,
        NOT_READY => Reason::EndpointNotReady,
        SEVERAL => Reason::SeveralIdentities,
        _ => Reason::InvalidPacket,
    }
}

/// A function that the verifier looks at once, as in `parse`. It has a stack of its own, of which the hooks have little left.
#[expect(unsafe_code, reason = "a name that stays makes the function global")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn signet_refusal(
    packet: *const Packet,
    trace: *mut Trace,
    ifindex: u32,
    node: u32,
    direction: u32,
) -> u32 {
    #[expect(unsafe_code, reason = "the verifier asks for pointers that may be null")]
    // SAFETY: `judge` is the only caller and passes references to different objects.
    let (Some(packet), Some(trace)) = (unsafe { (packet.as_ref(), trace.as_mut()) }) else {
        return Reason::InvalidPacket as u32;
    };
    let direction = if direction == Direction::Ingress as u32 {
        Direction::Ingress
    } else {
        Direction::Egress
    };
    match look(packet, trace, ifindex, NodeId(node), direction) {
        Ok(()) => Reason::Rejected as u32,
        Err(reason) => reason as u32,
    }
}

#[inline(always)]
fn look(
    packet: &Packet,
    trace: &mut Trace,
    ifindex: u32,
    node: NodeId,
    direction: Direction,
) -> Result<(), Reason> {
    if !packet.is_refusal() {
        return Err(Reason::InvalidPacket);
    }
    let (source, destination) = (packet.tuple.source, packet.tuple.destination);
    let (local, remote, unknown) = match direction {
        Direction::Ingress => (destination, source, Reason::EndpointNotReady),
        Direction::Egress => (source, destination, Reason::InvalidSourceIp),
    };
    let endpoint = identity::local(&local, ifindex, unknown)?;
    let other = identity::remote(&remote, node)?;
    let pair = AuthKey {
        local: endpoint.identity,
        remote: other.identity,
        node: other.node,
    };
    verdict::note(trace, direction, &pair, 0);
    Ok(())
}
