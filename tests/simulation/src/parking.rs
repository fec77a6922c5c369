//! An agent's parking: what `parking/` of the daemon does with a device.

use signet_abi::{AuthKey, Direction, ParkingTicket, SecurityIdentity, ticket_flags};
use signet_parking::Parked;
use signet_refusal::answer;

use crate::agent::Agent;
use crate::context::Context;
use crate::frames::read;
use crate::ledger::Spared;
use crate::pairs::Signal;

impl Agent {
    /// A frame has come from the kernel programs.
    pub fn on_frame(&mut self, frame: Vec<u8>, context: &mut Context<'_>) {
        let now = context.boot();
        let Some(ticket) = ParkingTicket::read(&frame) else {
            return;
        };
        let key = AuthKey {
            local: ticket.local,
            remote: ticket.remote,
            node: ticket.node,
        };
        let proven = context
            .kernel
            .auth
            .get(&key)
            .is_some_and(|proof| proof.is_live(now));
        if proven && !self.lot.holds(&key) {
            self.lot.pass();
            context.returned.push(frame);
            return;
        }
        let parked = self.lot.park(key, ticket.remote, frame.clone(), now);
        if parked.is_err() {
            self.spare(&frame, Spared::Full, context);
            context.returned.push(frame);
        }
        for evicted in self.lot.evicted() {
            self.spare(&evicted, Spared::Evicted, context);
            context.returned.push(evicted);
        }
        if parked == Ok(Parked::First) {
            self.on_signal(key, Signal::Proof, context);
        }
    }

    /// The proof of a pair is in the kernel: its packets go back.
    pub(crate) fn release(&mut self, key: &AuthKey, context: &mut Context<'_>) {
        context.returned.extend(self.lot.release(key));
    }

    /// A pair cannot be proven now: its packets go back, and their senders are told where the rule says so.
    pub(crate) fn refuse_parked(&mut self, key: &AuthKey, context: &mut Context<'_>) {
        let refused = self.lot.refuse(key);
        self.turn_away(refused, context);
    }

    /// The same with what has waited for too long; who waits on is asked for once more.
    pub(crate) fn tick_parking(&mut self, context: &mut Context<'_>) {
        let expired = self.lot.expire(context.boot());
        self.turn_away(expired, context);
        for key in self.lot.waiting() {
            self.on_signal(key, Signal::Proof, context);
        }
    }

    fn turn_away(&mut self, frames: Vec<Vec<u8>>, context: &mut Context<'_>) {
        for frame in frames {
            let told = self.refusal(&frame, context);
            context.returned.push(frame);
            context.returned.extend(told);
        }
    }

    fn refusal(&mut self, frame: &[u8], context: &mut Context<'_>) -> Option<Vec<u8>> {
        let ticket = ParkingTicket::read(frame).filter(|ticket| ticket.flags & ticket_flags::TELL != 0)?;
        let told = ParkingTicket::frame(frame).and_then(answer)?;
        let prefix = ParkingTicket::refusal(frame)?;
        if !self.budget.allows(sender(&ticket), context.boot()) {
            self.spare(frame, Spared::Withheld, context);
            return None;
        }
        Some([prefix.as_slice(), told.as_slice()].concat())
    }

    fn spare(&self, frame: &[u8], why: Spared, context: &mut Context<'_>) {
        if let Some(packet) = read(frame) {
            context
                .truth
                .spared(self.own, packet.number, why, &self.tuning.parking);
        }
    }
}

fn sender(ticket: &ParkingTicket) -> SecurityIdentity {
    if ticket.direction == Direction::Egress as u8 {
        ticket.local
    } else {
        ticket.remote
    }
}
