//! What waits, and the way back into the kernel.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use signet_abi::{AuthKey, Direction, ParkingTicket, ticket_flags};
use signet_maps::boottime_now;
use signet_parking::{Bounds, Counts, Fill, Lot};
use signet_refusal::{Budget, Limits, answer};
use tun_rs::AsyncDevice;

use super::lapsed::Lapsed;

/// The packets that wait on this node. Clones share them.
#[derive(Clone)]
pub struct Parking(Arc<Mutex<State>>);

pub(super) struct State {
    pub(super) lot: Lot,
    /// What lacks a lease, and whose senders are told if none comes.
    pub(super) lapsed: Lapsed,
    pub(super) device: Option<Arc<AsyncDevice>>,
    /// The kernel programs know of the device.
    pub(super) known: bool,
    /// Frames that the device did not take back.
    lost: u64,
    /// How many senders may still be told that they are refused.
    budget: Budget,
    answers: Answers,
}

/// What senders were told that asked for it by their rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// That they are refused.
    pub told: u64,
    /// Nothing: too many answers.
    pub withheld: u64,
}

impl Default for Parking {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State {
            lot: Lot::new(Bounds::default()),
            lapsed: Lapsed::default(),
            device: None,
            known: false,
            lost: 0,
            budget: Budget::new(Limits::default()),
            answers: Answers::default(),
        })))
    }
}

impl std::fmt::Debug for Parking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parking")
            .field("fill", &self.fill())
            .finish_non_exhaustive()
    }
}

impl Parking {
    /// The proof of a pair is in the kernel: its packets go back, in order, to be judged anew.
    pub fn release(&self, pair: &AuthKey) {
        let mut state = self.lock();
        for frame in state.lot.release(pair) {
            state.give_back(&frame);
        }
    }

    /// A pair cannot be proven now: its packets go back, and the kernel drops them for the want of a proof. Their senders are told
    /// where the rule says so.
    pub fn refuse(&self, pair: &AuthKey) {
        let mut state = self.lock();
        for frame in state.lot.refuse(pair) {
            state.turn_away(&frame);
        }
    }

    /// Numbers of identities may mean others now: nothing waits for a proof that could still come.
    pub fn refuse_all(&self) {
        let mut state = self.lock();
        for frame in state.lot.refuse_all() {
            state.give_back(&frame);
        }
    }

    /// Pairs with packets, those that wait longest first.
    pub fn waiting(&self) -> Vec<AuthKey> {
        self.lock().lot.waiting()
    }

    /// Whether the device is open, and the kernel programs know of it. Else they drop what lacks a proof.
    pub fn is_open(&self) -> bool {
        let state = self.lock();
        state.device.is_some() && state.known
    }

    /// What waits now.
    pub fn fill(&self) -> Fill {
        self.lock().lot.fill()
    }

    /// What senders were told since the start.
    pub fn answers(&self) -> Answers {
        self.lock().answers
    }

    /// What became of packets since the start.
    pub fn counts(&self) -> Counts {
        let state = self.lock();
        let counts = state.lot.counts();
        Counts {
            released: counts.released - state.lost,
            overflowed: counts.overflowed + state.lost,
            ..counts
        }
    }

    pub(super) fn expire(&self) {
        let mut state = self.lock();
        for frame in state.lot.expire(boottime_now()) {
            state.turn_away(&frame);
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Each use leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Writes a frame back as it came. The kernel takes it at once or not at all.
    pub(super) fn give_back(&mut self, frame: &[u8]) {
        let given = self
            .device
            .as_ref()
            .is_some_and(|device| device.try_send(frame).is_ok());
        if !given {
            self.lost += 1;
        }
    }

    /// The same for one that there is no proof for. The kernel drops it; its sender is told if the rule wants it, in the name of the
    /// one who was to have it, and never more than the budget allows.
    pub(super) fn turn_away(&mut self, frame: &[u8]) {
        self.give_back(frame);
        let Some(ticket) = ParkingTicket::read(frame).filter(|ticket| ticket.flags & ticket_flags::TELL != 0)
        else {
            return;
        };
        let told = ParkingTicket::frame(frame).and_then(answer);
        let Some((told, prefix)) = told.zip(ParkingTicket::refusal(frame)) else {
            return;
        };
        let left = ticket.direction == Direction::Egress as u8;
        let sender = if left { ticket.local } else { ticket.remote };
        if !self.budget.allows(sender, boottime_now()) {
            self.answers.withheld += 1;
            return;
        }
        let bytes = [prefix.as_slice(), told.as_slice()].concat();
        let sent = self
            .device
            .as_ref()
            .is_some_and(|device| device.try_send(&bytes).is_ok());
        if sent {
            self.answers.told += 1;
        } else {
            self.answers.withheld += 1;
        }
    }
}
