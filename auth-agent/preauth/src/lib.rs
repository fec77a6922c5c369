//! Which pairs are proven ahead of their traffic, in which order, and how fast. Pure: times are nanoseconds of
//! `CLOCK_BOOTTIME`, and randomness is an argument.
//!
//! [`Demand`] says which pairs policies and live endpoints make possible. The [`Planner`] chooses as many of them as its
//! [`Bounds`] let it, puts them in order (what is new first, then what was used last), and says one at a time which handshake
//! to begin ([`Planner::next`]). Whatever it decides permits nothing: a pair that it never comes to is proven by its first
//! packet, and a pair that it proves needlessly still needs a rule.

mod bounds;
mod choice;
mod demand;
mod failures;
mod pace;
mod planner;
mod queue;
mod recency;

pub use bounds::{Bounds, Fill};
pub use choice::{Choice, choose};
pub use demand::{Demand, Group, Place};
pub use failures::Cause;
pub use planner::{End, Next, Planner, Standing};
pub use recency::Recency;
