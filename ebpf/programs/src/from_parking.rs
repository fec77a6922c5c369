//! A packet has waited for its proof: parking device, ingress. What signet-agent writes into the device goes back to the hook
//! that parked it and is judged from the start. What signet-agent tells the sender of a parked packet goes the other way: back to the
//! interface that the packet came from, or out of the one that it went to. Nothing else comes in here.

use aya_ebpf::bindings::TC_ACT_SHOT;
use aya_ebpf::bindings::bpf_adj_room_mode::BPF_ADJ_ROOM_MAC;
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use signet_abi::{
    ABI_VERSION, Direction, ETHERNET_HEADER, PARKING_PREFIX, ParkingTicket, Reason, ticket_flags,
};

use crate::maps::CONFIG;
use crate::{events, mark, verdict};

/// The ticket, and the Ethernet header of the device.
const EXCESS: i32 = PARKING_PREFIX as i32;

/// See the module.
#[classifier]
pub fn from_parking(ctx: TcContext) -> i32 {
    let length = ctx.len();
    match bring_back(&ctx) {
        Some(action) => action,
        None => {
            events::count(Reason::InvalidPacket, Direction::Ingress, length);
            TC_ACT_SHOT as i32
        }
    }
}

#[inline(always)]
fn bring_back(ctx: &TcContext) -> Option<i32> {
    let config = CONFIG.get(0)?;
    let secret = config.parking_secret;
    if config.abi_version != ABI_VERSION || secret == 0 {
        return None;
    }
    let ticket: ParkingTicket = ctx.load(ETHERNET_HEADER).ok()?;
    if ticket.secret != secret {
        return None;
    }
    let ethernet: [u8; ETHERNET_HEADER] = ctx.load(PARKING_PREFIX).ok()?;
    // What follows the first Ethernet header goes: the ticket, and the frame's own header, which then takes its place.
    ctx.skb.adjust_room(-EXCESS, BPF_ADJ_ROOM_MAC, 0).ok()?;
    ctx.store(0, &ethernet, 0).ok()?;
    let left = ticket.direction == Direction::Egress as u8;
    if ticket.flags & ticket_flags::REFUSAL != 0 {
        mark::set_refusal(ctx);
        return Some(if left {
            verdict::redirect(ticket.ifindex)
        } else {
            verdict::redirect_into(ticket.ifindex)
        });
    }
    if left {
        mark::set_returned(ctx);
        Some(verdict::redirect_into(ticket.ifindex))
    } else {
        ctx.set_mark(ticket.mark);
        // The host's own packets may have any mark.
        if mark::is_refusal(ctx) {
            mark::clear(ctx);
        }
        Some(verdict::redirect(ticket.ifindex))
    }
}
