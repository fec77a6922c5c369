//! What an agent has around it while it handles something: its node's clocks, kernel and wire.

use std::time::{Duration, Instant};

use signet_handshake::Now;
use signet_spiffe::UnixTime;

use crate::agenda::Agenda;
use crate::dice::Dice;
use crate::kernel::Kernel;
use crate::network::Network;
use crate::truth::Truth;

/// Nanoseconds of a second.
pub const SECOND: u64 = 1_000_000_000;

/// The clocks of a node.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// The instant at which the simulation began.
    pub origin: Instant,
    /// The same, Unix seconds.
    pub unix: u64,
    /// When the node was booted, simulated ns.
    pub booted: u64,
    /// By how much its wall clock is ahead of the others, or behind them, seconds.
    pub skew: i64,
}

impl Clocks {
    /// Both clocks of a handshake.
    pub fn now(&self, at: u64) -> Now {
        Now {
            clock: self.instant(at),
            unix: UnixTime::since_unix_epoch(Duration::from_nanos(self.wall(at))),
        }
    }

    /// The wall clock, Unix ns.
    pub fn wall(&self, at: u64) -> u64 {
        let skew = self.skew.unsigned_abs().saturating_mul(SECOND);
        let wall = self.unix.saturating_mul(SECOND).saturating_add(at);
        if self.skew < 0 {
            wall.saturating_sub(skew)
        } else {
            wall.saturating_add(skew)
        }
    }

    /// When the wall clock says this, if nobody turns it, simulated ns.
    pub fn at_unix(&self, seconds: u64) -> u64 {
        let since = self.wall(0);
        seconds.saturating_mul(SECOND).saturating_sub(since)
    }

    /// A simulated time as an instant.
    pub fn instant(&self, at: u64) -> Instant {
        self.origin + Duration::from_nanos(at)
    }

    /// An instant as a simulated time.
    pub fn at(&self, instant: Instant) -> u64 {
        u64::try_from(instant.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX)
    }

    /// The node's `CLOCK_BOOTTIME`, ns. Never 0, which says "never".
    pub fn boot(&self, at: u64) -> u64 {
        at.saturating_sub(self.booted) + 1
    }

    /// A certificate's time by that clock, as the wall clock has it now.
    pub fn boot_of(&self, time: UnixTime) -> u64 {
        self.boot(self.at_unix(time.as_secs()))
    }
}

/// Messages of one node since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    /// Sent.
    pub messages: u64,
    /// Their bytes, without TLS and TCP.
    pub bytes: u64,
    /// Connections that were opened with it, from either side.
    pub sessions: u64,
    /// Pair handshakes that gave a proof on it.
    pub proofs: u64,
}

/// All of it.
#[derive(Debug)]
pub struct Context<'a> {
    /// What is to happen.
    pub agenda: &'a mut Agenda,
    /// The wire.
    pub network: &'a mut Network,
    /// Chance.
    pub dice: &'a mut Dice,
    /// The node's kernel.
    pub kernel: &'a mut Kernel,
    /// The reference model.
    pub truth: &'a mut Truth,
    /// What the node has sent.
    pub traffic: &'a mut Traffic,
    /// The node's clocks.
    pub clocks: Clocks,
    /// Packets that the agent gives back to the kernel, in order.
    pub returned: Vec<Vec<u8>>,
}

impl Context<'_> {
    /// Simulated time, ns.
    pub fn at(&self) -> u64 {
        self.agenda.now()
    }

    /// Both clocks of a handshake, now.
    pub fn now(&self) -> Now {
        self.clocks.now(self.at())
    }

    /// `CLOCK_BOOTTIME`, now.
    pub fn boot(&self) -> u64 {
        self.clocks.boot(self.at())
    }

    /// A moment of leases.
    pub fn moment(&mut self) -> signet_lease::Moment {
        signet_lease::Moment {
            clock: self.now().clock,
            boot: self.boot(),
            random: self.dice.roll(),
        }
    }
}
