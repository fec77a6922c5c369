//! Neighbour discovery between a workload and its own node (ARP, RFC 826; RFC 4861), which has to work before anything
//! else can.

use aya_ebpf::programs::TcContext;
use signet_abi::{Reason, SecurityIdentity};

use crate::address::Words;
use crate::identity;
use crate::parse::Packet;
use crate::verdict::Scene;

const ROUTER_SOLICITATION: u8 = 133;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;

/// ARP from a workload: it speaks for an address of its own, or for none yet.
#[inline(always)]
pub fn arp_from_workload(packet: &Packet, scene: &Scene) -> Result<(), Reason> {
    let sender = &packet.tuple.source;
    if *sender != Words::from_v4(0) {
        identity::local(sender, scene.ifindex, Reason::InvalidSourceIp)?;
    }
    Ok(())
}

/// From a workload. It may ask for routers and neighbours and answer, from an address that is its own, link-local, or
/// none yet; the message must be for its own link or node, and no answer may be about another address than the one it
/// comes from.
#[inline(always)]
pub fn from_workload(ctx: &TcContext, packet: &Packet, scene: &Scene) -> Result<(), Reason> {
    let kind = packet.icmp_type;
    if !matches!(
        kind,
        ROUTER_SOLICITATION | NEIGHBOUR_SOLICITATION | NEIGHBOUR_ADVERTISEMENT
    ) {
        return Err(Reason::UnknownL4);
    }
    let source = &packet.tuple.source;
    let nameless = *source == Words::UNSPECIFIED && kind != NEIGHBOUR_ADVERTISEMENT;
    if !nameless && !source.is_link_local() {
        identity::local(source, scene.ifindex, Reason::InvalidSourceIp)?;
    }
    if kind == NEIGHBOUR_ADVERTISEMENT && !packet.advertises_itself(ctx) {
        return Err(Reason::InvalidSourceIp);
    }
    let destination = &packet.tuple.destination;
    let near = destination.is_link_local()
        || destination.is_link_multicast()
        || identity::known(destination).is_some_and(|known| known.identity == SecurityIdentity::HOST);
    if near { Ok(()) } else { Err(Reason::UnknownL4) }
}

/// Towards a workload. Only its own node can send such a message: its hop limit shows that nobody forwarded it, and
/// no workload's message gets further than its own node.
#[inline(always)]
pub fn to_workload(packet: &Packet) -> Result<(), Reason> {
    let source = &packet.tuple.source;
    let foreign =
        |identity: SecurityIdentity| identity.is_workload() || identity == SecurityIdentity::REMOTE_NODE;
    if source.is_link_local() || *source == Words::UNSPECIFIED {
        return Ok(());
    }
    if identity::known(source).is_some_and(|known| foreign(known.identity))
        || identity::endpoint(source).is_some()
    {
        return Err(Reason::UnknownL4);
    }
    Ok(())
}
