//! How much is proven ahead, for people.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};

use clap::ValueEnum;
use signet_preauth::Fill;
use signet_proto::agent::v1::Preauth;

/// Which pairs are proven ahead of their traffic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// None: a pair is proven when its first packet asks.
    Off,
    /// Those for which a rule of a workload of this node asks for a proof, with every workload that the rule names.
    #[default]
    Policy,
    /// Every pair of a workload of this node with any workload of the cluster, whatever the rules are now.
    All,
}

impl Mode {
    /// As the command line has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Policy => "policy",
            Self::All => "all",
        }
    }
}

/// How much is proven ahead.
#[derive(Debug, Default)]
pub struct AheadReport {
    mode: OnceLock<Mode>,
    fill: Mutex<Fill>,
    /// Handshakes that were begun ahead.
    pub(crate) started: AtomicU64,
    /// Of these, the ones that gave a proof.
    pub(crate) proven: AtomicU64,
    /// And the ones that gave none.
    pub(crate) failed: AtomicU64,
}

impl AheadReport {
    /// What the agent was started with.
    pub(crate) fn set_mode(&self, mode: Mode) {
        // It is said once.
        let _ = self.mode.set(mode);
    }

    pub(crate) fn set_fill(&self, fill: Fill) {
        *self.fill.lock().unwrap_or_else(PoisonError::into_inner) = fill;
    }

    /// Handshakes that were begun ahead and gave no proof.
    pub fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// Handshakes that were begun ahead and gave a proof.
    pub fn proven(&self) -> u64 {
        self.proven.load(Relaxed)
    }

    /// For `Status`.
    pub(crate) fn to_wire(&self) -> Preauth {
        let fill = *self.fill.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Preauth {
            mode: self.mode.get().copied().unwrap_or(Mode::Off).name().to_owned(),
            chosen: count(fill.chosen),
            left_out: fill.left_out,
            waiting: count(fill.waiting),
            backing_off: count(fill.backing_off),
            absent: count(fill.absent),
            in_flight: count(fill.in_flight),
            started: self.started.load(Relaxed),
            proven: self.proven.load(Relaxed),
            failed: self.failed.load(Relaxed),
        }
    }
}
