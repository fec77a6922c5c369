//! What can go wrong, and in which order it does. Pure: the same seed gives the same run.

use std::fmt;
use std::time::Duration;

use signet_lab::Role;

/// One thing that goes wrong, or is changed, while traffic flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGKILL; the supervisor starts it again at once.
    Kill(&'static str, Role),
    /// Killed, and kept down for some time.
    Hold(&'static str, Role, Duration),
    /// Two nodes do not reach one another; both reach everybody else.
    Cut(&'static str, &'static str, Duration),
    /// Nobody reaches this one.
    Isolate(&'static str, Duration),
    /// The cluster-wide toggle.
    Encrypt(bool),
    /// A new key of the CA's signs from now on.
    Rotate(&'static str),
    /// A workload's certificate is revoked, to be replaced at once.
    Revoke(&'static str),
    /// A rule that refuses comes and goes.
    Forbid,
    /// An address is given to another identity, and back.
    Swap,
}

const NODES: [&str; 3] = ["n1", "n2", "n3"];
const DAEMONS: [Role; 3] = [Role::Agent, Role::Meshd, Role::Keyd];
/// Workloads whose certificates are revoked.
const PROVEN: [&str; 4] = ["client", "web", "neighbour", "far"];
/// Longest time for which something is kept away, milliseconds.
const LONGEST: u64 = 4000;

/// What kind of faults a lane has; those of one lane come one after the other, lanes run at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    Processes,
    Network,
    Control,
}

impl Lane {
    pub(crate) const ALL: [Self; 3] = [Self::Processes, Self::Network, Self::Control];
}

/// An endless sequence of faults of one lane.
#[derive(Debug)]
pub(crate) struct Faults {
    lane: Lane,
    state: u64,
    encrypted: bool,
}

impl Faults {
    pub(crate) fn new(lane: Lane, seed: u64) -> Self {
        Self {
            lane,
            state: seed ^ (lane as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            encrypted: false,
        }
    }

    /// The next fault, and how long to rest before it.
    pub(crate) fn next(&mut self) -> (Duration, Fault) {
        let rest = Duration::from_millis(200 + self.below(1800));
        let fault = match self.lane {
            Lane::Processes => self.process(),
            Lane::Network => self.network(),
            Lane::Control => self.control(),
        };
        (rest, fault)
    }

    fn process(&mut self) -> Fault {
        let (place, role) = match self.below(10) {
            0 => ("ca", Role::Ca),
            _ => (self.one(&NODES), self.one(&DAEMONS)),
        };
        match self.below(2) {
            0 => Fault::Kill(place, role),
            _ => Fault::Hold(place, role, self.span()),
        }
    }

    fn network(&mut self) -> Fault {
        let time = self.span();
        match self.below(6) {
            0 => Fault::Isolate("ca", time),
            1 | 2 => Fault::Isolate(self.one(&NODES), time),
            _ => {
                let (one, other) = self.one(&[("n1", "n2"), ("n1", "n3"), ("n2", "n3")]);
                Fault::Cut(one, other, time)
            }
        }
    }

    fn control(&mut self) -> Fault {
        match self.below(8) {
            0 => {
                self.encrypted = !self.encrypted;
                Fault::Encrypt(self.encrypted)
            }
            1 => Fault::Rotate(self.one(&["x509", "jwt"])),
            2 | 3 => Fault::Revoke(self.one(&PROVEN)),
            4 | 5 => Fault::Forbid,
            _ => Fault::Swap,
        }
    }

    fn span(&mut self) -> Duration {
        Duration::from_millis(100 + self.below(LONGEST - 100))
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        let index = self.below(of.len() as u64);
        of[usize::try_from(index).unwrap_or(0)]
    }

    fn below(&mut self, bound: u64) -> u64 {
        // SplitMix64 (Steele, Lea, Flood, 2014).
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(place, role) => write!(f, "kill {role} of {place}"),
            Self::Hold(place, role, time) => write!(f, "keep {role} of {place} down for {time:?}"),
            Self::Cut(one, other, time) => write!(f, "cut {one} from {other} for {time:?}"),
            Self::Isolate(place, time) => write!(f, "cut {place} from everybody for {time:?}"),
            Self::Encrypt(true) => f.write_str("turn encryption on"),
            Self::Encrypt(false) => f.write_str("turn encryption off"),
            Self::Rotate(kind) => write!(f, "replace the CA's {kind} authority"),
            Self::Revoke(workload) => write!(f, "revoke the certificate of {workload}"),
            Self::Forbid => f.write_str("forbid a port, and allow it again"),
            Self::Swap => f.write_str("give an address to another identity, and back"),
        }
    }
}
